/* SPDX-License-Identifier: MIT */
/*
 * How long to wait before trying again: exponential backoff with full jitter, and never less than a server's
 * Retry-After. The bounds stand in common/io/retry.h. Never blocks; any thread.
 */
#pragma once

#include <stdint.h>

struct backoff {
    uint64_t first_ms; /* bound of the first wait */
    uint64_t max_ms;   /* bound of the longest wait */
    unsigned failures; /* in a row; 0 after backoff_reset() */
};

/* Counts one more failure and returns the wait in milliseconds: uniformly chosen by `random` from 0 to
 * min(max_ms, first_ms * 2^failures), but at least retry_after_ms. */
uint64_t backoff_next_ms(struct backoff *backoff, uint64_t retry_after_ms, uint32_t random);

/* backoff_next_ms() with a random number from the kernel. Soon after boot the kernel may have none yet: then
 * it is the longest wait, so that a server is not asked without a pause. */
uint64_t backoff_draw_ms(struct backoff *backoff, uint64_t retry_after_ms);

/* Something worked: the next wait starts from the first bound again. */
void backoff_reset(struct backoff *backoff);
