/* SPDX-License-Identifier: MIT */
#include "common/io/rate_limit.h"

#define SECOND_NS UINT64_C(1000000000)
#define STEP_US   UINT64_C(20000) /* fifty wake-ups a second are enough for any rate */
#define SAVED_NS                                                                                             \
    (UINT64_C(40) * 1000000)          /* unused time that may be caught up on: two steps, for late wake-ups */
#define BYTES_MAX (UINT64_C(1) << 32) /* keeps the product below 2^64 */

bool rate_limit_is_free(const struct rate_limit *limit, uint64_t now_ns)
{
    return limit->rate_bytes_s == 0 || limit->free_at_ns <= now_ns;
}

bool rate_limit_take(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes)
{
    if (!rate_limit_is_free(limit, now_ns))
        return false;
    if (limit->rate_bytes_s == 0)
        return true;

    uint64_t saved_from_ns = now_ns > SAVED_NS ? now_ns - SAVED_NS : 0;
    if (limit->free_at_ns < saved_from_ns)
        limit->free_at_ns = saved_from_ns;
    limit->free_at_ns += (bytes < BYTES_MAX ? bytes : BYTES_MAX) * SECOND_NS / limit->rate_bytes_s;
    return true;
}

uint64_t rate_limit_wait_us(const struct rate_limit *limit, uint64_t now_ns)
{
    if (rate_limit_is_free(limit, now_ns))
        return 0;

    uint64_t wait_us = (limit->free_at_ns - now_ns) / 1000 + 1;
    return wait_us > STEP_US ? wait_us : STEP_US;
}
