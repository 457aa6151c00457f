/* SPDX-License-Identifier: MIT */
/*
 * Clocks, in 64 bits. If time_t has 32 bits, time(), localtime_r() and timegm() end in January 2038, and the
 * clock of a board without a battery may start at any date. The functions here know later times if the C
 * library does (glibc since 2.34); tests/unit/test_includes.py makes sure that all of moonsinter uses them.
 * Never blocks, except that the C library reads the file of the time zone when it is first needed. Any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Unix time in seconds. */
uint64_t wall_clock_now_s(void);

/* Milliseconds on a clock that cannot be set (CLOCK_MONOTONIC), for waits and deadlines. */
uint64_t wall_clock_steady_ms(void);

/* The same clock in nanoseconds: for rates, and for systemd, which goes by CLOCK_MONOTONIC as well. */
uint64_t wall_clock_steady_ns(void);

/* Milliseconds since the boot, on a clock that also runs while the machine sleeps (CLOCK_BOOTTIME). */
uint64_t wall_clock_boot_ms(void);

/* Unix time as date and time in this machine's time zone; false, with *ret_local untouched, if the C library
 * cannot tell. */
bool wall_clock_local(int64_t seconds, struct tm *ret_local);

/* Unix time of a date in UTC; -1 if the C library cannot tell. Normalizes the fields as timegm() does. */
int64_t wall_clock_of_utc(struct tm *date);
