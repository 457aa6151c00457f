/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "daemon/boot/child.h"

enum { PATIENT_MS = 60 * 1000 };

static bool run_script(const char *script, unsigned timeout_ms, struct child_result *ret_result,
                       struct error *error)
{
    const char *arguments[] = {"/bin/sh", "-c", script, "sh", "one", "two words", NULL};

    return child_run(arguments, timeout_ms, ret_result, error);
}

static void test_output_and_status(void **state)
{
    struct child_result result;
    struct error error;

    assert_true(run_script("echo \"$1,$2\"; cat; echo oh no >&2; exit 7", PATIENT_MS, &result, &error));
    assert_int_equal(result.status, 7);
    assert_string_equal(result.output, "one,two words\n");
    assert_string_equal(result.complaint, "oh no\n");
    assert_true(run_script("kill -TERM $$", PATIENT_MS, &result, &error));
    assert_int_equal(result.status, 128 + 15);
}

/* In an emulator of programs (qemu-user) a child does not share the memory through which posix_spawn() learns
 * that there was nothing to run. */
static bool spawn_tells(char *program)
{
    char *arguments[] = {program, NULL};
    pid_t pid;

    if (posix_spawn(&pid, program, NULL, NULL, arguments, NULL) != 0)
        return true;
    waitpid(pid, NULL, 0);
    return false;
}

static void test_no_such_program(void **state)
{
    char program[] = "/nowhere/program";
    const char *arguments[] = {program, NULL};
    struct child_result result;
    struct error error;

    if (!spawn_tells(program))
        skip();
    assert_false(child_run(arguments, PATIENT_MS, &result, &error));
    assert_non_null(strstr(error.message, "cannot run /nowhere/program: No such file"));
}

static void test_bounds(void **state)
{
    struct child_result result;
    struct error error;

    assert_true(run_script("head -c 4095 /dev/zero | tr '\\0' x", PATIENT_MS, &result, &error));
    assert_int_equal(strlen(result.output), CHILD_OUTPUT_SIZE - 1);
    assert_false(run_script("head -c 4096 /dev/zero | tr '\\0' x", PATIENT_MS, &result, &error));
    assert_non_null(strstr(error.message, "writes more than 4095 bytes"));
    assert_false(run_script("yes", PATIENT_MS, &result, &error));
    /* Complaints may be long, and only their beginning is kept. */
    assert_true(run_script("head -c 100000 /dev/zero | tr '\\0' x >&2", PATIENT_MS, &result, &error));
    assert_int_equal(strlen(result.complaint), CHILD_OUTPUT_SIZE - 1);
}

/* Also where it ignores what it can, and with a child of its own that holds the output open. */
static void test_hanging(void **state)
{
    struct child_result result;
    struct timespec begin, end;
    struct error error;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_false(run_script("trap '' TERM INT HUP; sleep 1000", 300, &result, &error));
    assert_non_null(strstr(error.message, "did not end within"));
    assert_false(run_script("yes >&2", 300, &result, &error));
    assert_true(run_script("sleep 1000 & echo done", PATIENT_MS, &result, &error));
    assert_string_equal(result.output, "done\n");
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < PATIENT_MS / 1000);
}

/* What the service manager meant for the daemon alone reaches no program of a loader. */
static void test_the_service_managers_words_stay_here(void **state)
{
    struct child_result result;
    struct error error;

    setenv("NOTIFY_SOCKET", "/run/nowhere", 1);
    setenv("WATCHDOG_USEC", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("MOONSINTER_TEST_WORD", "kept", 1);
    assert_true(run_script("echo \"$NOTIFY_SOCKET$WATCHDOG_USEC$LISTEN_FDS,$MOONSINTER_TEST_WORD\"",
                           PATIENT_MS, &result, &error));
    assert_string_equal(result.output, ",kept\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_status),
        cmocka_unit_test(test_no_such_program),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_hanging),
        cmocka_unit_test(test_the_service_managers_words_stay_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
