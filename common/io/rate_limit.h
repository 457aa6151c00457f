/* SPDX-License-Identifier: MIT */
/*
 * A limit of bytes per second that many takers share: whoever comes before the bytes already taken are paid
 * for has to wait. Pure: the time comes from the caller, from a clock that never goes back. One thread at a
 * time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
    uint64_t rate_bytes_s; /* 0 = no limit */
    uint64_t free_at_ns;   /* when the bytes taken so far are paid for */
};

/* Takes `bytes`, or returns false where it has to wait. Any number of bytes may be taken at once: who comes
 * next waits for as long as they take. */
bool rate_limit_take(struct rate_limit *limit, uint64_t now_ns, uint64_t bytes);

/* Whether rate_limit_take() would succeed. */
bool rate_limit_is_free(const struct rate_limit *limit, uint64_t now_ns);

/* For how long to wait, in a step that is worth waking up for. */
uint64_t rate_limit_wait_us(const struct rate_limit *limit, uint64_t now_ns);
