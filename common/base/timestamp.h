/* SPDX-License-Identifier: MIT */
/*
 * Points in time in one of the forms of RFC 3339, in UTC with whole seconds: "2026-11-22T13:39:09Z". Never
 * blocks; any thread.
 */
#pragma once

#include <stdint.h>

enum {
    TIMESTAMP_TEXT_SIZE = 21, /* with its terminating zero */
};

/* The last second of the year 9999: later times cannot be written in RFC 3339. */
#define TIMESTAMP_MAX UINT64_C(253402300799)

/* Reads exactly the form above into Unix time; returns 0, or -EINVAL with *ret_seconds untouched, also for a
 * date that does not exist or is before 1970. A leap second is read as the second after it. */
int timestamp_parse(const char *text, uint64_t *ret_seconds);

/* Writes Unix time in the form above, later times as TIMESTAMP_MAX. Returns ret_text. */
char *timestamp_format(char ret_text[TIMESTAMP_TEXT_SIZE], uint64_t seconds);
