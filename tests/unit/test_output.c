/* SPDX-License-Identifier: MIT */
/* What is said to whoever reads standard output, when nobody does (cli/output.c). Each case runs in a child
 * of its own, for standard output is the process's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "cli/output.h"
#include "common/base/alloc.h"

/* Runs `run` with a pipe as standard output, of which nothing is read before `run` has written a byte to
 * `ready`; what it returned, and all that came out. */
static int in_child(int (*run)(int ready), char **ret_text, size_t *ret_size)
{
    int output[2], ready[2], status;
    size_t size = 0, room = 1 << 20;
    char *text = alloc_zeroed(room), byte;

    assert_int_equal(pipe(output) | pipe(ready), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(output[1], STDOUT_FILENO);
        close(output[0]);
        close(output[1]);
        close(ready[0]);
        _exit(run(ready[1]));
    }
    close(output[1]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    for (ssize_t got = 1; got > 0; size += got > 0 ? (size_t)got : 0) {
        if (size == room)
            assert_non_null(text = realloc(text, room *= 2));
        got = read(output[0], text + size, room - size);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    close(output[0]);
    close(ready[0]);
    *ret_text = text;
    *ret_size = size;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char line[] = "{\"event\":\"skip_chunk\",\"value\":12345678}\n";

static int say_much(int ready)
{
    for (int i = 0; i < 50000; i++)
        output_add_line(line, sizeof(line) - 1);
    output_write("last\n", 5);
    return write(ready, "x", 1) == 1 && output_finish(true) ? 7 : 8;
}

static void test_what_nobody_reads_yet_waits(void **state)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    assert_int_equal(in_child(say_much, &text, &size), 7);
    assert_int_equal(size, 50000 * (sizeof(line) - 1) + 5);
    assert_memory_equal(text, line, sizeof(line) - 1);
    assert_memory_equal(text + size - 5, "last\n", 5);
}

static int say_too_much(int ready)
{
    for (size_t i = 0; i < 2 * (size_t)OUTPUT_WAITING_MAX / sizeof(line); i++)
        output_add_line(line, sizeof(line) - 1);
    output_write("last\n", 5);
    return write(ready, "x", 1) == 1 && output_finish(true) ? 7 : 8;
}

/* Whole lines are left out, the last event never is, and it is no success. */
static void test_what_waits_is_bounded(void **state)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    assert_int_equal(in_child(say_too_much, &text, &size), 8);
    assert_in_range(size, OUTPUT_WAITING_MAX - 100, OUTPUT_WAITING_MAX + 5);
    assert_int_equal((size - 5) % (sizeof(line) - 1), 0);
    assert_memory_equal(text + size - 5, "last\n", 5);
}

static int leave(int ready)
{
    for (int i = 0; i < 50000; i++)
        output_add_line(line, sizeof(line) - 1);
    bool is_whole = output_finish(false);
    return write(ready, "x", 1) == 1 && !is_whole ? 7 : 8;
}

static void test_who_does_not_wait_leaves(void **state)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    assert_int_equal(in_child(leave, &text, &size), 7);
    assert_in_range(size, 1, 1 << 20);
}

static int say_to_nobody(int ready)
{
    close(STDOUT_FILENO);
    output_write("x", 1);
    bool is_whole = output_finish(true);
    return write(ready, "x", 1) == 1 && !is_whole ? 7 : 8;
}

static void test_a_closed_output_takes_nothing(void **state)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    assert_int_equal(in_child(say_to_nobody, &text, &size), 7);
    assert_int_equal(size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_nobody_reads_yet_waits),
        cmocka_unit_test(test_what_waits_is_bounded),
        cmocka_unit_test(test_who_does_not_wait_leaves),
        cmocka_unit_test(test_a_closed_output_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
