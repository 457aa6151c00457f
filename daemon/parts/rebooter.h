/* SPDX-License-Identifier: MIT */
/*
 * Makes the reboot: asks logind who holds it off, and then to reboot, one call at a time on a pool thread;
 * without logind it asks the service manager or the init. Reports a machine that does not go down. Keeps
 * the verdict on what holds the reboot off, and when to judge again; the decision itself is made
 * elsewhere. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/io/pool.h"
#include "daemon/decide/policy.h"
#include "daemon/host/process.h"

struct event_base;
struct rebooter;

struct rebooter_deps {
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
};

/* Called from the loop, never from within a function of the rebooter, which may be called here but not freed.
 */
struct rebooter_events {
    /* The answer to rebooter_ask(): a sentence that says who objects, or why that is not known; NULL = nobody
     * objects. */
    void (*answered)(void *owner, const char *why);
    /* It is time to judge again whether the reboot is still held off. */
    void (*judge)(void *owner);
    /* The ordered reboot failed. */
    void (*failed)(void *owner, const struct error *error);
    /* The call to logind is over; comes before `answered` or `failed`. */
    void (*idle)(void *owner);
};

/* What `deps` points at has to live longer than the rebooter. */
struct rebooter *rebooter_new(const struct rebooter_deps *deps, const struct rebooter_events *events,
                              void *owner);

/* Free the pool and the processes first, so that nothing is under way. NULL is fine. Returns NULL. */
struct rebooter *rebooter_free(struct rebooter *rebooter);

/* Asks logind who holds off a shutdown, unless it is being asked already. Ends in `answered`, or in the
 * reboot if one was ordered meanwhile. */
void rebooter_ask(struct rebooter *rebooter);

/* Whether logind is being asked. */
bool rebooter_is_busy(const struct rebooter *rebooter);

/* Sets the verdict on what holds the reboot off; an empty one = nothing does. Returns whether it differs from
 * the one before. */
bool rebooter_hold(struct rebooter *rebooter, const struct policy_verdict *verdict);
const struct policy_verdict *rebooter_verdict(const struct rebooter *rebooter);

/* Sends `judge` when the first reason of the verdict ends by itself, but within a minute in any case. */
void rebooter_judge_later(struct rebooter *rebooter);

/* Sends `judge` in a minute. */
void rebooter_retry_later(struct rebooter *rebooter);

/* Reboots the machine. `argument` is for its firmware, NULL = none, and has to live until the rebooter is
 * freed. With `heed_inhibitors` only if nobody holds it off; without, even if logind fails. Ends with the
 * machine going down, or in `failed`. */
void rebooter_reboot(struct rebooter *rebooter, const char *argument, bool heed_inhibitors);
