/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/face/notify.h"

#ifdef HAVE_SYSTEMD
#include <fcntl.h>
#include <sys/wait.h>
#endif

/* A stand-in for the service manager. */
static int manager_fd;

static int manager_setup(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];

    snprintf(name, sizeof(name), "moonsinter-test-notify-%d", (int)getpid());
    /* An abstract socket: nothing to clean up. */
    memcpy(address.sun_path + 1, name, strlen(name));
    manager_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(manager_fd >= 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    assert_int_equal(bind(manager_fd, (struct sockaddr *)&address, size), 0);
    memmove(name + 1, name, strlen(name) + 1);
    name[0] = '@';
    setenv("NOTIFY_SOCKET", name, 1);
    return 0;
}

static int manager_teardown(void **state)
{
    close(manager_fd);
    unsetenv("NOTIFY_SOCKET");
    return 0;
}

static void assert_told(const char *expected)
{
    char message[512];
    ssize_t got = recv(manager_fd, message, sizeof(message) - 1, 0);

    assert_true(got >= 0);
    message[got] = 0;
    assert_string_equal(message, expected);
}

static void test_messages(void **state)
{
    notify_ready("idle");
    assert_told("READY=1\nSTATUS=idle");
    notify_ready(NULL);
    assert_told("READY=1");
    notify_status("one\nREADY=1\rtwo");
    assert_told("STATUS=one READY=1 two");
    notify_stopping("stopping");
    assert_told("STOPPING=1\nSTATUS=stopping");
    notify_watchdog();
    assert_told("WATCHDOG=1");
}

static void test_reloading_carries_the_clock(void **state)
{
    char message[512];

    notify_reloading();
    ssize_t got = recv(manager_fd, message, sizeof(message) - 1, 0);
    assert_true(got > 0);
    message[got] = 0;
    assert_int_equal(strncmp(message, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    assert_true(strtoull(message + 27, NULL, 10) > 0);
}

static void assert_told_of_a_reload(void)
{
    char message[512];
    ssize_t got = recv(manager_fd, message, sizeof(message) - 1, 0);

    assert_true(got > 0);
    message[got] = 0;
    assert_int_equal(strncmp(message, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
}

static unsigned count_filling(void)
{
    unsigned count = 0;
    char message[512];

    while (recv(manager_fd, message, 4, MSG_PEEK) == 4 && memcmp(message, "FILL", 4) == 0) {
        recv(manager_fd, message, sizeof(message), 0);
        count++;
    }
    return count;
}

static void count_waiting(void *owner)
{
    ++*(unsigned *)owner;
}

/* Makes the manager one that does not read. */
static void fill_queue(void)
{
    struct sockaddr_un address;
    socklen_t size = sizeof(address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(getsockname(manager_fd, (struct sockaddr *)&address, &size), 0);
    while (sendto(fd, "FILL", 4, 0, (struct sockaddr *)&address, size) == 4)
        ;
    close(fd);
}

/* Nobody waits for a manager that is stuck; when it reads again, it is told what is so then. */
static void test_a_full_queue(void **state)
{
    unsigned waits = 0;

    notify_on_waiting(count_waiting, &waits);
    fill_queue();
    notify_ready("starting");
    assert_int_equal(waits, 1);
    assert_false(notify_flush());
    notify_status("checking");
    notify_watchdog();
    notify_watchdog();
    notify_status("installing");
    assert_int_equal(waits, 5);
    assert_true(count_filling() > 0);
    assert_true(notify_flush());
    assert_told("READY=1\nSTATUS=installing\nWATCHDOG=1");
    assert_int_equal(recv(manager_fd, &waits, 1, 0), -1);
    assert_true(notify_flush());
    assert_int_equal(recv(manager_fd, &waits, 1, 0), -1);
    notify_on_waiting(NULL, NULL);
}

static void test_a_reload_while_the_queue_is_full(void **state)
{
    fill_queue();
    notify_ready(NULL);
    for (int i = 0; i < 3; i++) {
        notify_reloading();
        notify_ready("reloaded");
    }
    notify_reloading();
    notify_ready("idle");
    notify_stopping("stopping");
    count_filling();
    assert_true(notify_flush());
    assert_told("READY=1\nSTATUS=stopping");
    assert_told_of_a_reload();
    assert_told("READY=1");
    assert_told("STOPPING=1");
    assert_true(notify_flush());
}

static void test_a_manager_that_is_gone(void **state)
{
    close(manager_fd);
    notify_ready("nobody listens");
    assert_true(notify_flush());
    setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
    notify_ready(NULL);
    assert_true(notify_flush());
    manager_fd = -1;
}

static void test_no_manager(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    notify_ready("nobody listens");
    notify_watchdog();
}

#ifdef HAVE_SYSTEMD

static void test_watchdog_interval(void **state)
{
    char pid[16];

    unsetenv("WATCHDOG_USEC");
    assert_int_equal(notify_watchdog_interval_ms(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_interval_ms(), 30000);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_interval_ms(), 0);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* What a manager does before exec: descriptors from 3 on, and two variables. */
static void hand_over(int count, int fd)
{
    char text[16];

    for (int i = 0; i < count; i++)
        assert_int_equal(dup2(fd, 3 + i), 3 + i);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof(text), "%d", count);
    setenv("LISTEN_FDS", text, 1);
}

/* Runs in a child, which may overwrite descriptors as it likes; returns 0, or the number of what failed. */
static int take_in_child(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct error error = {0};
    int fd = -2;

    int listening = fcntl(socket(AF_UNIX, SOCK_STREAM, 0), F_DUPFD, 20);
    if (bind(listening, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 || listen(listening, 1) < 0)
        return 1;

    if (!notify_take_listen_fd(&fd, &error) || fd != -1)
        return 2;
    hand_over(1, listening);
    if (!notify_take_listen_fd(&fd, &error) || fd != 3 || !(fcntl(3, F_GETFD) & FD_CLOEXEC))
        return 3;
    if (!notify_take_listen_fd(&fd, &error) || fd != -1)
        return 4;
    hand_over(2, listening);
    if (notify_take_listen_fd(&fd, &error) || !strstr(error.message, "2 sockets"))
        return 5;
    return 0;
}

static void test_listen_fd(void **state)
{
    int status;

    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(take_in_child());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#else

static void test_no_watchdog_and_no_socket(void **state)
{
    struct error error = {0};
    int fd = -2;

    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(notify_watchdog_interval_ms(), 0);
    unsetenv("WATCHDOG_USEC");
    assert_true(notify_take_listen_fd(&fd, &error));
    assert_int_equal(fd, -1);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages, manager_setup, manager_teardown),
        cmocka_unit_test_setup_teardown(test_reloading_carries_the_clock, manager_setup, manager_teardown),
        cmocka_unit_test_setup_teardown(test_a_full_queue, manager_setup, manager_teardown),
        cmocka_unit_test_setup_teardown(test_a_reload_while_the_queue_is_full, manager_setup,
                                        manager_teardown),
        cmocka_unit_test_setup_teardown(test_a_manager_that_is_gone, manager_setup, manager_teardown),
        cmocka_unit_test(test_no_manager),
#ifdef HAVE_SYSTEMD
        cmocka_unit_test(test_watchdog_interval),
        cmocka_unit_test(test_listen_fd),
#else
        cmocka_unit_test(test_no_watchdog_and_no_socket),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
