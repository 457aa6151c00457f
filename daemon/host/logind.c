/* SPDX-License-Identifier: MIT */
#include "daemon/host/logind.h"

#ifdef HAVE_SYSTEMD

#include <inttypes.h>
#include <string.h>
#include <systemd/sd-bus.h>

enum { TIMEOUT_US = 5 * 1000 * 1000 };

/* Of logind's RebootWithFlags(), from org.freedesktop.login1(5). */
#define FLAG_ROOT_CHECK_INHIBITORS (UINT64_C(1) << 0)
#define FLAG_SKIP_INHIBITORS       (UINT64_C(1) << 4)

static const char name[] = "org.freedesktop.login1";
static const char path[] = "/org/freedesktop/login1";
static const char manager[] = "org.freedesktop.login1.Manager";

/* Whether the bus itself answered that there is no such service, or that it cannot be started. */
static bool is_absent(const sd_bus_error *problem)
{
    static const char *const names[] = {SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                                        "org.freedesktop.DBus.Error.Spawn.ServiceNotFound",
                                        "org.freedesktop.systemd1.NoSuchUnit"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (sd_bus_error_has_name(problem, names[i]))
            return true;
    return false;
}

static enum logind_answer fail(const char *what, int result, sd_bus_error *problem, struct error *error)
{
    enum logind_answer answer = is_absent(problem) ? LOGIND_ANSWER_ABSENT : LOGIND_ANSWER_FAILED;

    error_set(error, ERROR_SYSTEM, "systemd-logind did not %s: %s", what,
              problem->message ? problem->message : strerror(-result));
    sd_bus_error_free(problem);
    return answer;
}

static enum logind_answer connect_bus(sd_bus **ret_bus, struct error *error)
{
    int result = sd_bus_open_system(ret_bus);

    if (result < 0) {
        error_set_errno(error, result, "there is no D-Bus system bus");
        return LOGIND_ANSWER_ABSENT;
    }
    sd_bus_set_method_call_timeout(*ret_bus, TIMEOUT_US);
    return LOGIND_ANSWER_YES;
}

/* Whether `what` is in a list like "shutdown:sleep". */
static bool is_in_list(const char *list, const char *what)
{
    size_t length = strlen(what);

    for (; list; list = strchr(list, ':') ? strchr(list, ':') + 1 : NULL)
        if (strncmp(list, what, length) == 0 && (list[length] == ':' || list[length] == 0))
            return true;
    return false;
}

/* Finds the first inhibitor that objects, in a list of (what, who, why, mode, uid, pid). */
static int read_inhibitors(sd_bus_message *reply, bool *ret_found, struct error *error)
{
    const char *what, *who, *why, *mode;
    uint32_t uid, pid;
    int result = sd_bus_message_enter_container(reply, SD_BUS_TYPE_ARRAY, "(ssssuu)");

    *ret_found = false;
    while (result >= 0 && !*ret_found) {
        result = sd_bus_message_read(reply, "(ssssuu)", &what, &who, &why, &mode, &uid, &pid);
        if (result <= 0)
            break;
        /* "block-weak", in newer versions, holds off users but not the system's services. */
        *ret_found = strcmp(mode, "block") == 0 && is_in_list(what, "shutdown");
        if (*ret_found)
            error_set(error, ERROR_REFUSED,
                      "%.100s (process %" PRIu32 ", user %" PRIu32 ") holds off shutdowns: %.150s", who, pid,
                      uid, why);
    }
    return result;
}

static enum logind_answer find_inhibitor(sd_bus *bus, struct error *error)
{
    sd_bus_error problem = SD_BUS_ERROR_NULL;
    sd_bus_message *reply = NULL;
    bool found = false;
    int result = sd_bus_call_method(bus, name, path, manager, "ListInhibitors", &problem, &reply, NULL);

    if (result >= 0)
        result = read_inhibitors(reply, &found, error);
    sd_bus_message_unref(reply);
    if (result < 0)
        return fail("say who holds off shutdowns", result, &problem, error);
    return found ? LOGIND_ANSWER_INHIBITED : LOGIND_ANSWER_YES;
}

enum logind_answer logind_find_inhibitor(struct error *error)
{
    sd_bus *bus = NULL;
    enum logind_answer answer = connect_bus(&bus, error);

    if (answer == LOGIND_ANSWER_YES)
        answer = find_inhibitor(bus, error);
    sd_bus_flush_close_unref(bus);
    return answer;
}

/* Older versions of logind heed inhibitors for root only with a flag, newer ones by default. One that does
 * not know the flag, or no flags at all, refuses the call; then Reboot() is what is left. */
static enum logind_answer ask_reboot(sd_bus *bus, bool heed_inhibitors, struct error *error)
{
    sd_bus_error problem = SD_BUS_ERROR_NULL;
    uint64_t flags = heed_inhibitors ? FLAG_ROOT_CHECK_INHIBITORS : FLAG_SKIP_INHIBITORS;
    int result = sd_bus_call_method(bus, name, path, manager, "RebootWithFlags", &problem, NULL, "t", flags);

    if (result < 0 && (sd_bus_error_has_name(&problem, SD_BUS_ERROR_UNKNOWN_METHOD) ||
                       sd_bus_error_has_name(&problem, SD_BUS_ERROR_INVALID_ARGS))) {
        sd_bus_error_free(&problem);
        result = sd_bus_call_method(bus, name, path, manager, "Reboot", &problem, NULL, "b", 0);
    }
    return result < 0 ? fail("reboot", result, &problem, error) : LOGIND_ANSWER_YES;
}

static enum logind_answer set_argument(sd_bus *bus, const char *argument, struct error *error)
{
    sd_bus_error problem = SD_BUS_ERROR_NULL;
    int result =
        sd_bus_call_method(bus, name, path, manager, "SetRebootParameter", &problem, NULL, "s", argument);

    return result < 0 ? fail("take the firmware's reboot argument", result, &problem, error)
                      : LOGIND_ANSWER_YES;
}

enum logind_answer logind_reboot(const char *argument, bool heed_inhibitors, struct error *error)
{
    sd_bus *bus = NULL;
    enum logind_answer answer = connect_bus(&bus, error);

    /* The list is asked for first, to name who objects; from RebootWithFlags() logind only says that somebody
     * does. */
    if (answer == LOGIND_ANSWER_YES && heed_inhibitors)
        answer = find_inhibitor(bus, error);
    if (answer == LOGIND_ANSWER_YES && argument)
        answer = set_argument(bus, argument, error);
    if (answer == LOGIND_ANSWER_YES)
        answer = ask_reboot(bus, heed_inhibitors, error);
    sd_bus_flush_close_unref(bus);
    return answer;
}

#else

enum logind_answer logind_find_inhibitor(struct error *error)
{
    error_set(error, ERROR_SYSTEM, "this moonsinterd was built without libsystemd");
    return LOGIND_ANSWER_ABSENT;
}

enum logind_answer logind_reboot(const char *argument, bool heed_inhibitors, struct error *error)
{
    return logind_find_inhibitor(error);
}

#endif
