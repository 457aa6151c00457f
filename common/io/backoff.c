/* SPDX-License-Identifier: MIT */
#include "common/io/backoff.h"

#include <sys/random.h>

/* floor(value * random / 2^32), without a product that could overflow. */
static uint64_t scale(uint64_t value, uint32_t random)
{
    return (value >> 32) * random + (((value & UINT32_MAX) * random) >> 32);
}

uint64_t backoff_next_ms(struct backoff *backoff, uint64_t retry_after_ms, uint32_t random)
{
    uint64_t bound = backoff->max_ms;

    /* first_ms << failures could overflow, so max_ms is shifted right instead, to see whether the doubled
     * bound is within the longest. */
    if (backoff->failures < 64 && backoff->first_ms <= backoff->max_ms >> backoff->failures)
        bound = backoff->first_ms << backoff->failures;
    if (backoff->failures < UINT32_MAX)
        backoff->failures++;

    uint64_t wait_ms = scale(bound < UINT64_MAX ? bound + 1 : bound, random);
    return wait_ms > retry_after_ms ? wait_ms : retry_after_ms;
}

uint64_t backoff_draw_ms(struct backoff *backoff, uint64_t retry_after_ms)
{
    uint32_t random;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = UINT32_MAX;
    return backoff_next_ms(backoff, retry_after_ms, random);
}

void backoff_reset(struct backoff *backoff)
{
    backoff->failures = 0;
}
