/* SPDX-License-Identifier: MIT */
/*
 * A program run to its end, bounded in time and output. The caller waits: pool threads, or before the loop
 * runs. The program gets nothing to read, and is in a process group of its own, which is killed with it.
 * Programs that run beside the loop are in daemon/host/process.h: nothing may wait for those, not even for
 * their loading, so they cannot be started by posix_spawn(), which is used here and tells at once whether
 * a program can be executed.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

enum { CHILD_OUTPUT_SIZE = 4096 }; /* bytes of either stream, with a zero behind it */

struct child_result {
    int status;                        /* exit status, or 128 and the signal's number */
    char output[CHILD_OUTPUT_SIZE];    /* what it wrote; more than fits is an error */
    char complaint[CHILD_OUTPUT_SIZE]; /* what it wrote to standard error; the end is cut if it is too long */
};

/* Runs arguments[0] (a path) with `arguments`, NULL-terminated. False if it cannot be started, takes longer
 * than `timeout_ms` or writes too much; any exit status counts as success. */
bool child_run(const char *const *arguments, unsigned timeout_ms, struct child_result *ret_result,
               struct error *error);
