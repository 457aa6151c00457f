/* SPDX-License-Identifier: MIT */
/*
 * The wall clock in 64 bits: where time_t has 32, time() fails from January 2038 on, and a board without a
 * battery may well begin in 2099; localtime_r() and timegm() know no later dates either. Here they do,
 * wherever the C library can (glibc from 2.34). A test holds the tree to these. Nothing blocks but the
 * reading of the time zone's file, which the C library does at its first use; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Unix time in seconds. */
uint64_t wall_clock_now_s(void);

/* Milliseconds on a clock that nobody sets and that only runs on, from some moment: for waits and deadlines.
 */
uint64_t wall_clock_steady_ms(void);

/* wall_clock_steady_ms() in nanoseconds, for rates. CLOCK_MONOTONIC, by which service managers count, too. */
uint64_t wall_clock_steady_ns(void);

/* In milliseconds again, on a clock that also runs while the machine sleeps. */
uint64_t wall_clock_boot_ms(void);

/* The moment `seconds` of Unix time as this machine's time zone shows it; false, with *ret_local untouched,
 * where the C library cannot tell. */
bool wall_clock_local(int64_t seconds, struct tm *ret_local);

/* Unix time of a date in UTC; its fields may be put right, as by timegm(). -1 where the C library cannot
 * tell. */
int64_t wall_clock_of_utc(struct tm *date);
