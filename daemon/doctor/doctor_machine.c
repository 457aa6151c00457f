/* SPDX-License-Identifier: MIT */
/* Looks at clock, memory, health checks, reboot and watchdog. See daemon/doctor/doctor_private.h. */
#include "daemon/doctor/doctor_private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/base/timestamp.h"
#include "common/base/version.h"
#include "common/base/wall_clock.h"
#include "daemon/host/logind.h"
#include "daemon/parts/health.h"

/* An update may take 24 MiB, see tests/integration/test_limits.py; the rest of the system needs some as
 * well. */
#define MEMORY_BYTES_MIN (UINT64_C(32) * 1024 * 1024)

enum {
    UNITS_TIMEOUT_MS = 3000,
    SMALL_FILE_MAX = 64 * 1024,
};

/* If the release was made after now, the clock is behind: certificates would not be valid yet, and releases
 * would not expire. */
void doctor_look_at_clock(struct doctor *doctor)
{
    uint64_t now_s = wall_clock_now_s();
    char now[TIMESTAMP_TEXT_SIZE], created[TIMESTAMP_TEXT_SIZE];
    struct timex state = {.modes = 0};

    timestamp_format(now, now_s);
    if (now_s < version_time_s())
        doctor_tell(
            doctor, "clock", BOOT_LEVEL_FAILURE,
            "it is %s here, earlier than this program was made: set the clock, and see to it that it is set at "
            "each start (systemd-timesyncd)",
            now);
    else if (doctor->release_created_s > now_s)
        doctor_tell(
            doctor, "clock", BOOT_LEVEL_FAILURE,
            "it is %s here, and the release on offer was made at %s: set the clock, and see to it that it "
            "is set at each start (systemd-timesyncd)",
            now, timestamp_format(created, doctor->release_created_s));
    else if (adjtimex(&state) == TIME_ERROR || (state.status & STA_UNSYNC))
        doctor_tell(
            doctor, "clock", BOOT_LEVEL_WARNING,
            "it is %s here, and nothing keeps the clock right: certificates and the expiry of releases need "
            "one that is (systemd-timesyncd)",
            now);
    else
        doctor_tell(doctor, "clock", BOOT_LEVEL_OK, "it is %s, and something keeps the clock right", now);
}

static uint64_t find_available_bytes(void)
{
    CLEANUP_FREE char *text = file_read_text(SMALL_FILE_MAX, "/proc/meminfo");
    const char *line = text ? strstr(text, "MemAvailable:") : NULL;
    uint64_t kib;

    return line && sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1 ? kib * 1024 : 0;
}

void doctor_look_at_memory(struct doctor *doctor)
{
    uint64_t bytes = find_available_bytes();
    char available[16];

    text_format_bytes(available, sizeof(available), bytes);
    if (!bytes)
        doctor_tell(doctor, "memory", BOOT_LEVEL_WARNING,
                    "the kernel does not say how much memory is available");
    else if (bytes < MEMORY_BYTES_MIN)
        doctor_tell(doctor, "memory", BOOT_LEVEL_WARNING,
                    "%s are available, and an update may take 24 MiB: fewer Connections= need less",
                    available);
    else
        doctor_tell(doctor, "memory", BOOT_LEVEL_OK, "%s are available", available);
}

/* --- health checks --- */

static void on_units(void *owner, const struct health_verdict *verdict)
{
    struct doctor *doctor = owner;

    loop_end(doctor->base);
    if (verdict->good)
        doctor_tell(doctor, "health-units", BOOT_LEVEL_OK, "the units that Units= names are active");
    else
        doctor_tell(
            doctor, "health-units", BOOT_LEVEL_WARNING,
            "a trial would not pass as things are: %s; start it, or take it out of Units=", verdict->reason);
}

/* moonsinter-verdict.service holds boot-complete.target back until there is a verdict. */
static void look_for_circle(struct doctor *doctor)
{
    static const char *const links[] = {
        "/etc/systemd/system/boot-complete.target.requires/moonsinter-verdict.service",
        "/usr/lib/systemd/system/boot-complete.target.requires/moonsinter-verdict.service",
        "/lib/systemd/system/boot-complete.target.requires/moonsinter-verdict.service",
    };
    bool enabled = false, named = false;

    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        enabled |= faccessat(AT_FDCWD, links[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    for (size_t i = 0; doctor->config->health_units[i]; i++)
        named |= strstr(doctor->config->health_units[i], "boot-complete.target") != NULL;
    if (enabled && named)
        doctor_tell(
            doctor, "boot-complete", BOOT_LEVEL_FAILURE,
            "Units= waits for boot-complete.target, which waits for moonsinter-verdict.service, which waits "
            "for the verdict: no trial can pass; disable that service or take the target out of Units=");
}

/* Judges the units as a trial would, but runs no health check programs, since those may change things. */
static void ask_units(struct doctor *doctor)
{
    const struct health_options options = {
        .base = doctor->base,
        .pool = doctor->pool,
        .processes = doctor->processes,
        .folder = "/nonexistent",
        .folder_optional = true,
        .units = (const char *const *)doctor->config->health_units,
        .timeout_ms = UNITS_TIMEOUT_MS,
    };
    struct health *health = health_start(&options, on_units, doctor);

    loop_run(doctor->base);
    health_free(health);
}

void doctor_look_at_health_checks(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    struct health_list list = {.count = 0};
    struct error error;

    if (!health_list_read(config->health_checks, config->health_checks_optional, &list, &error))
        doctor_tell(doctor, "health-checks", BOOT_LEVEL_FAILURE, "a trial would fail: %s", error.message);
    else if (list.count)
        doctor_tell(doctor, "health-checks", BOOT_LEVEL_OK, "%s holds %zu programs that judge a new slot",
                    config->health_checks, list.count);
    else if (!config->health_units[0] && !config->health_server)
        doctor_tell(
            doctor, "health-checks", BOOT_LEVEL_WARNING,
            "nothing judges a new slot but that moonsinterd runs in it: put programs into %s, or name units "
            "in [Health] Units=",
            config->health_checks);
    if (list.not_executable)
        doctor_tell(doctor, "health-checks", BOOT_LEVEL_WARNING,
                    "%s may not be executed, so it judges nothing: chmod 755 it, or put it elsewhere",
                    list.not_executable);
    bool as_units = list.count && access("/run/systemd/system", F_OK) == 0;
    if (as_units && access("/usr/bin/systemd-run", X_OK) < 0 && access("/bin/systemd-run", X_OK) < 0)
        doctor_tell(
            doctor, "health-checks", BOOT_LEVEL_FAILURE,
            "a trial would fail: systemd starts the programs, by systemd-run, which is not installed");
    if (as_units && access("/run/dbus/system_bus_socket", F_OK) < 0)
        doctor_tell(
            doctor, "health-checks", BOOT_LEVEL_FAILURE,
            "a trial would fail: systemd starts the programs, by systemd-run, and that needs the D-Bus system "
            "bus, which is not there; install dbus");
    health_list_finish(&list);
    look_for_circle(doctor);
    if (config->health_units[0])
        ask_units(doctor);
}

/* --- reboot --- */

/* By what the kernel says, if it was built to tell. */
static void look_at_watchdog(struct doctor *doctor)
{
    CLEANUP_FREE char *state = file_read_text(SMALL_FILE_MAX, "/sys/class/watchdog/watchdog0/state");

    if (access("/sys/class/watchdog/watchdog0", F_OK) < 0)
        doctor_tell(
            doctor, "watchdog", BOOT_LEVEL_WARNING,
            "the kernel knows no hardware watchdog, so a slot that hangs is left only when somebody cuts the "
            "power");
    else if (!state)
        doctor_tell(
            doctor, "watchdog", BOOT_LEVEL_WARNING,
            "there is a hardware watchdog, and the kernel does not say whether it is running: see to it that "
            "RuntimeWatchdogSec= is set in /etc/systemd/system.conf");
    else if (strncmp(state, "active", strlen("active")) != 0)
        doctor_tell(doctor, "watchdog", BOOT_LEVEL_WARNING,
                    "there is a hardware watchdog, and it is not running: set RuntimeWatchdogSec=1min in "
                    "/etc/systemd/system.conf, so that a slot that hangs is left");
    else
        doctor_tell(doctor, "watchdog", BOOT_LEVEL_OK, "a hardware watchdog is running");
}

void doctor_look_at_reboot(struct doctor *doctor)
{
    const struct boot_abilities *abilities = doctor->boot ? boot_get_abilities(doctor->boot) : NULL;
    bool has_systemd = access("/run/systemd/system", F_OK) == 0;
    struct error error = {0};

    if (abilities && abilities->in_place_reboot)
        return;
    switch (logind_find_inhibitor(&error)) {
    case LOGIND_ANSWER_YES:
        doctor_tell(doctor, "reboot", BOOT_LEVEL_OK,
                    "systemd-logind reboots the machine, and nobody holds it off");
        break;
    case LOGIND_ANSWER_INHIBITED:
        doctor_tell(doctor, "reboot", BOOT_LEVEL_WARNING, "an update would wait for its reboot: %s",
                    error.message);
        break;
    case LOGIND_ANSWER_FAILED:
        doctor_tell(doctor, "reboot", BOOT_LEVEL_FAILURE, "the machine cannot be rebooted by moonsinterd: %s",
                    error.message);
        break;
    case LOGIND_ANSWER_ABSENT:
        if (abilities && abilities->reboot_argument && !has_systemd)
            doctor_tell(
                doctor, "reboot", BOOT_LEVEL_FAILURE,
                "there is no systemd to reboot with the argument \"%s\", which this boot loader needs",
                abilities->reboot_argument);
        else
            doctor_tell(
                doctor, "reboot", BOOT_LEVEL_WARNING,
                "there is no systemd-logind (%s), so the machine is rebooted by `%s` and programs cannot hold "
                "that off",
                error.message, has_systemd ? "systemctl reboot" : "reboot");
        break;
    }
    if (abilities && abilities->reboot_argument && doctor->config->mode != CONFIG_MODE_REBOOT)
        doctor_tell(doctor, "reboot", BOOT_LEVEL_WARNING,
                    "a plain reboot does not try an update, for the firmware has to be told: run moonsinter "
                    "reboot or systemctl reboot --reboot-argument=\"%s\", or set Mode=reboot",
                    abilities->reboot_argument);
    look_at_watchdog(doctor);
}
