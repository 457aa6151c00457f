/* SPDX-License-Identifier: MIT */
/*
 * clang-tidy and cppcheck look at one source at a time. This says what they would have to know of the others;
 * tests/lint/run puts it before each source, and no compiler reads it.
 */
#pragma once

#include <getopt.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"

/* These return false, whatever they are given. Without that, each failure might be taken for a success that
 * left its outputs untouched. */
#define error_set(...)       (error_set(__VA_ARGS__), false)
#define error_set_errno(...) (error_set_errno(__VA_ARGS__), false)
#define error_prefix(...)    (error_prefix(__VA_ARGS__), false)

/* The analyzer knows nothing of __attribute__((cleanup)), and would call memory leaked that CLEANUP_FREE
 * frees. What somebody else holds as well is no leak, and its use after free() is still found. Leaks are left
 * to LeakSanitizer. */
void assumed_held(void *memory);

static inline void *assumed_malloc(size_t size)
{
    void *memory = malloc(size);
    assumed_held(memory);
    return memory;
}

static inline void *assumed_calloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assumed_held(memory);
    return memory;
}

#define malloc assumed_malloc
#define calloc assumed_calloc

/*
 * These are not on the list of what threads must not call:
 * getopt_long(): the command reads its arguments before it has threads.
 * strerror(): has a buffer for each thread in glibc 2.32 and later, and a constant text in musl.
 * sleep(): is only a danger to who uses alarm().
 * getgrnam(): is asked once, at the daemon's start.
 */
extern __typeof__(getopt_long) assumed_getopt_long;
extern __typeof__(strerror) assumed_strerror;
extern __typeof__(sleep) assumed_sleep;
extern __typeof__(getgrnam) assumed_getgrnam;
#define getopt_long assumed_getopt_long
#define strerror    assumed_strerror
#define sleep       assumed_sleep
#define getgrnam    assumed_getgrnam
