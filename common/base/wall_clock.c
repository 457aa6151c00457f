/* SPDX-License-Identifier: MIT */
/* Must come before any header that declares time_t. Only this file defines it, because libraries that get a
 * time_t may have been built without it; so nothing that has a time_t in it leaves this file. */
#ifndef _TIME_BITS
#define _TIME_BITS 64
#endif

#include "common/base/wall_clock.h"

uint64_t wall_clock_now_s(void)
{
    return (uint64_t)time(NULL);
}

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t wall_clock_steady_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t wall_clock_steady_ms(void)
{
    return wall_clock_steady_ns() / 1000000;
}

uint64_t wall_clock_boot_ms(void)
{
    return read_ns(CLOCK_BOOTTIME) / 1000000;
}

bool wall_clock_local(int64_t seconds, struct tm *ret_local)
{
    time_t moment = (time_t)seconds;
    struct tm local;

    if (moment != seconds || !localtime_r(&moment, &local))
        return false;
    *ret_local = local;
    return true;
}

int64_t wall_clock_of_utc(struct tm *date)
{
    return timegm(date);
}
