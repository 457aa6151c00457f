/* SPDX-License-Identifier: MIT */
/*
 * Points in time as RFC 3339 writes them, in UTC with whole seconds: "2026-11-22T13:39:09Z". Never blocks;
 * any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    TIMESTAMP_TEXT_SIZE = 21, /* with its terminating zero */
};

/* The last second of the year 9999: what comes later has no RFC 3339 form. */
#define TIMESTAMP_MAX UINT64_C(253402300799)

/* Reads exactly the form above into Unix seconds; returns 0 or -EINVAL (also for a date that does not exist,
 * or before 1970), in which case *ret_seconds is untouched. A leap second is read as the second after it. */
int timestamp_parse(const char *text, uint64_t *ret_seconds);

/* Writes Unix seconds in the form above; values past TIMESTAMP_MAX are written as TIMESTAMP_MAX. Returns
 * ret_text. */
char *timestamp_format(char ret_text[TIMESTAMP_TEXT_SIZE], uint64_t seconds);
