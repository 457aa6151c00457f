/* SPDX-License-Identifier: MIT */
/* Standard error that takes no more (cli/tell.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/tell.h"

static void fill(int fd)
{
    static const char zeros[4096];

    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (write(fd, zeros, sizeof(zeros)) > 0)
        ;
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
}

static void test_what_does_not_go_is_dropped(void **state)
{
    char text[70000], back[4096];
    int ends[2];

    memset(text, 'x', sizeof(text));
    assert_int_equal(pipe(ends), 0);
    assert_true(tell_now(ends[1], "a line\n", 7));
    assert_int_equal(read(ends[0], back, sizeof(back)), 7);
    fill(ends[1]);
    assert_false(tell_now(ends[1], "a line\n", 7));
    assert_int_equal(read(ends[0], back, sizeof(back)), sizeof(back));
    /* A piece goes where there is room again, and the rest is not waited for. */
    assert_false(tell_now(ends[1], text, sizeof(text)));
    close(ends[0]);
    close(ends[1]);
    assert_false(tell_now(-1, "a line\n", 7));
}

static void on_alarm(int number)
{
}

/* In a child, whose standard error is a full pipe; returns what it ended with. */
static int in_child(void (*run)(void))
{
    int ends[2], status;

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        fill(STDERR_FILENO);
        run();
        _exit(7);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
    close(ends[1]);
    return status;
}

static void tell_in_a_hurry(void)
{
    tell_set_patient(false);
    tell("nobody reads this\n");
}

static void tell_until_a_signal(void)
{
    /* Again and again, for the first may come before it waits. */
    const struct itimerval often = {{.tv_usec = 10000}, {.tv_usec = 10000}};

    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    tell("nobody reads this either\n");
}

static void test_nobody_reads(void **state)
{
    int status = in_child(tell_in_a_hurry);

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    status = in_child(tell_until_a_signal);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_does_not_go_is_dropped),
        cmocka_unit_test(test_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
