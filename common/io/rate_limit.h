/* SPDX-License-Identifier: MIT */
/*
 * A limit of bytes per second that several takers share: a taker must wait until the time for the bytes taken
 * before has passed. Pure: the caller gives the time, of a clock that never goes back. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
    uint64_t rate_bytes_s; /* 0 = no limit */
    uint64_t free_at_ns;   /* when the time for the bytes taken so far has passed */
};

/* Takes `bytes`, or returns false if the taker must wait. Any number of bytes may be taken at once: the next
 * taker waits as long as they take. */
bool rate_limit_take(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes);

/* Whether rate_limit_take() would succeed. */
bool rate_limit_is_free(const struct rate_limit *limit, uint64_t now_ns);

/* How long to wait; if at all, then at least so long that waking up is worth it. */
uint64_t rate_limit_wait_us(const struct rate_limit *limit, uint64_t now_ns);
