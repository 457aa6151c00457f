/* SPDX-License-Identifier: MIT */
/* daemon/host/logind against a real D-Bus daemon; logind itself needs a machine to reboot, so a process of
 * the test's own answers for it on that bus, as its versions do. The real one is met in tests/system. */
#include "daemon/host/logind.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef HAVE_SYSTEMD

#include <systemd/sd-bus.h>

struct inhibitor {
    const char *what, *who, *why, *mode;
};

/* How this logind behaves. */
struct stand_in {
    const struct inhibitor *inhibitors;
    size_t count;
    uint64_t known_flags; /* of RebootWithFlags(); 0 = it has no such method */
    bool refuses;         /* to reboot */
    bool silent;          /* never answers */
};

struct scene {
    char folder[64];
    pid_t bus, logind;
};

static void write_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void write_trace(const char *format, ...)
{
    va_list args;
    FILE *file = fopen(getenv("TRACE"), "a");

    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    fclose(file);
}

static int on_list(sd_bus_message *message, void *owner, sd_bus_error *error)
{
    const struct stand_in *self = owner;
    sd_bus_message *reply;

    if (self->silent)
        return 1;
    sd_bus_message_new_method_return(message, &reply);
    sd_bus_message_open_container(reply, 'a', "(ssssuu)");
    for (size_t i = 0; i < self->count; i++)
        sd_bus_message_append(reply, "(ssssuu)", self->inhibitors[i].what, self->inhibitors[i].who,
                              self->inhibitors[i].why, self->inhibitors[i].mode, 1000, 4321);
    sd_bus_message_close_container(reply);
    int result = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return result;
}

static int on_reboot_with_flags(sd_bus_message *message, void *owner, sd_bus_error *error)
{
    const struct stand_in *self = owner;
    uint64_t flags;

    sd_bus_message_read(message, "t", &flags);
    write_trace("flags %u\n", (unsigned)flags);
    if (!self->known_flags)
        return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_METHOD, "Unknown method RebootWithFlags");
    if (flags & ~self->known_flags)
        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Invalid flags parameter");
    if (self->refuses)
        return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
                                "Access denied due to active block inhibitor");
    return sd_bus_reply_method_return(message, "");
}

static int on_reboot(sd_bus_message *message, void *owner, sd_bus_error *error)
{
    int interactive;

    sd_bus_message_read(message, "b", &interactive);
    write_trace("reboot %d\n", interactive);
    return sd_bus_reply_method_return(message, "");
}

static int on_parameter(sd_bus_message *message, void *owner, sd_bus_error *error)
{
    const char *text;

    sd_bus_message_read(message, "s", &text);
    write_trace("parameter %s\n", text);
    return sd_bus_reply_method_return(message, "");
}

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("ListInhibitors", "", "a(ssssuu)", on_list, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("RebootWithFlags", "t", "", on_reboot_with_flags, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Reboot", "b", "", on_reboot, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("SetRebootParameter", "s", "", on_parameter, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

__attribute__((noreturn)) static void serve(struct stand_in *self, int ready)
{
    sd_bus *bus;

    if (sd_bus_open_system(&bus) < 0 ||
        sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
                                 vtable, self) < 0 ||
        sd_bus_request_name(bus, "org.freedesktop.login1", 0) < 0 || write(ready, "+", 1) != 1)
        _exit(1);
    while (sd_bus_process(bus, NULL) > 0 || sd_bus_wait(bus, UINT64_MAX) >= 0)
        continue;
    _exit(0);
}

static void start_logind(struct scene *scene, struct stand_in self)
{
    int fds[2];
    char byte;

    assert_int_equal(pipe(fds), 0);
    scene->logind = fork();
    if (scene->logind == 0)
        serve(&self, fds[1]);
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
}

static void end_process(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

/* The socket is there before anybody listens at it. */
static bool is_listening(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    bool listening = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return listening;
}

static int scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    char path[128], address[256];

    strcpy(scene->folder, "/tmp/test-logind-XXXXXX");
    if (!mkdtemp(scene->folder))
        return -1;
    snprintf(path, sizeof(path), "%s/bus.conf", scene->folder);
    FILE *file = fopen(path, "w");
    fprintf(
        file,
        "<busconfig><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
        "<policy context='default'><allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/></policy>"
        "</busconfig>",
        scene->folder);
    fclose(file);
    snprintf(address, sizeof(address), "--config-file=%s", path);
    scene->bus = fork();
    if (scene->bus == 0) {
        execlp("dbus-daemon", "dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", address, (char *)NULL);
        _exit(127);
    }
    snprintf(address, sizeof(address), "unix:path=%s/bus", scene->folder);
    setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
    snprintf(path, sizeof(path), "%s/trace", scene->folder);
    setenv("TRACE", path, 1);
    *state = scene;
    snprintf(path, sizeof(path), "%s/bus", scene->folder);
    for (int i = 0; i < 3000 && !is_listening(path); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    return is_listening(path) ? 0 : -1;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;
    char command[128];

    end_process(&scene->logind);
    end_process(&scene->bus);
    snprintf(command, sizeof(command), "rm -r %s", scene->folder);
    free(scene);
    return system(command);
}

static void expect_trace(const char *expected)
{
    char text[256] = "";
    FILE *file = fopen(getenv("TRACE"), "r");

    if (file) {
        text[fread(text, 1, sizeof(text) - 1, file)] = 0;
        fclose(file);
        unlink(getenv("TRACE"));
    }
    assert_string_equal(text, expected);
}

static void test_who_holds_it_off_is_named(void **state)
{
    static const struct inhibitor inhibitors[] = {
        {"sleep:idle", "Player", "a film runs", "block"},
        {"shutdown", "Package manager", "it is slow", "delay"},
        {"shutdown", "Somebody", "weakly", "block-weak"},
        {"handle-power-key:shutdownx", "Desk", "no", "block"},
        {"sleep:shutdown:idle", "Flasher", "the camera's firmware is written", "block"},
    };
    struct scene *scene = *state;
    struct error error = {0};

    start_logind(scene, (struct stand_in){.inhibitors = inhibitors, .count = 5, .known_flags = 1});
    assert_int_equal(logind_find_inhibitor(&error), LOGIND_ANSWER_INHIBITED);
    assert_string_equal(
        error.message,
        "Flasher (process 4321, user 1000) holds off shutdowns: the camera's firmware is written");
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_int_equal(logind_reboot(NULL, true, &error), LOGIND_ANSWER_INHIBITED);
    assert_non_null(strstr(error.message, "Flasher"));
    expect_trace("");
    /* Falling back does not ask; this version knows no flag for that, and old Reboot() means it. */
    assert_int_equal(logind_reboot(NULL, false, &error), LOGIND_ANSWER_YES);
    expect_trace("flags 16\nreboot 0\n");
    end_process(&scene->logind);

    start_logind(scene, (struct stand_in){.inhibitors = inhibitors, .count = 4, .known_flags = 1});
    assert_int_equal(logind_find_inhibitor(&error), LOGIND_ANSWER_YES);
    assert_int_equal(logind_reboot(NULL, true, &error), LOGIND_ANSWER_YES);
    expect_trace("flags 1\n");
}

static void test_rebooting(void **state)
{
    struct scene *scene = *state;
    struct error error = {0};

    start_logind(scene, (struct stand_in){.known_flags = 1 | 16});
    assert_int_equal(logind_reboot("0 tryboot", true, &error), LOGIND_ANSWER_YES);
    expect_trace("parameter 0 tryboot\nflags 1\n");
    assert_int_equal(logind_reboot(NULL, false, &error), LOGIND_ANSWER_YES);
    expect_trace("flags 16\n");
    end_process(&scene->logind);

    start_logind(scene, (struct stand_in){.known_flags = 0});
    assert_int_equal(logind_reboot(NULL, true, &error), LOGIND_ANSWER_YES);
    expect_trace("flags 1\nreboot 0\n");
    end_process(&scene->logind);

    /* Somebody came in between. */
    start_logind(scene, (struct stand_in){.known_flags = 1, .refuses = true});
    assert_int_equal(logind_reboot(NULL, true, &error), LOGIND_ANSWER_FAILED);
    assert_non_null(strstr(error.message, "Access denied due to active block inhibitor"));
}

static void test_without_logind(void **state)
{
    struct scene *scene = *state;
    struct error error = {0};

    assert_int_equal(logind_find_inhibitor(&error), LOGIND_ANSWER_ABSENT);
    assert_int_equal(logind_reboot("0 tryboot", true, &error), LOGIND_ANSWER_ABSENT);
    assert_int_equal(logind_reboot(NULL, false, &error), LOGIND_ANSWER_ABSENT);
    end_process(&scene->bus);
    assert_int_equal(logind_find_inhibitor(&error), LOGIND_ANSWER_ABSENT);
    assert_non_null(strstr(error.message, "no D-Bus system bus"));
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere", 1);
    assert_int_equal(logind_reboot(NULL, true, &error), LOGIND_ANSWER_ABSENT);
}

static void test_one_that_does_not_answer_is_not_waited_for(void **state)
{
    struct scene *scene = *state;
    struct error error = {0};
    time_t begin = time(NULL);

    start_logind(scene, (struct stand_in){.silent = true});
    assert_int_equal(logind_find_inhibitor(&error), LOGIND_ANSWER_FAILED);
    assert_true(time(NULL) - begin < 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_holds_it_off_is_named, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_rebooting, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_without_logind, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_one_that_does_not_answer_is_not_waited_for, scene_setup,
                                        scene_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void test_without_libsystemd(void **state)
{
    struct error error;

    assert_int_equal(logind_find_inhibitor(&error), LOGIND_ANSWER_ABSENT);
    assert_int_equal(logind_reboot(NULL, true, &error), LOGIND_ANSWER_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_without_libsystemd)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
