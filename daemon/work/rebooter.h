/* SPDX-License-Identifier: MIT */
/*
 * The way to a reboot: asks logind who holds it off, and to do it, one question at a time and on a pool
 * thread; asks the service manager or the init where there is no logind; says where the machine does not go
 * down. Keeps what holds the reboot off, and when that is to be judged again. Whether it may be made is not
 * decided here. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/io/pool.h"
#include "daemon/decide/policy.h"
#include "daemon/host/process.h"

struct event_base;
struct rebooter;

struct rebooter_settings {
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
};

/* Called from the loop, never from within a function of the rebooter, which may be called here but not freed.
 */
struct rebooter_events {
    /* The answer to rebooter_ask(): who objects, as a sentence, or why that is not known; NULL = nobody. */
    void (*answered)(void *owner, const char *why);
    /* What holds the reboot off may have ended: it is to be judged again. */
    void (*judge)(void *owner);
    /* The reboot that was ordered does not come. */
    void (*failed)(void *owner, const struct error *error);
    /* logind is not being asked any more; before what comes of the answer. */
    void (*idle)(void *owner);
};

/* Of what is not freed before it. */
struct rebooter *rebooter_new(const struct rebooter_settings *settings, const struct rebooter_events *events,
                              void *owner);

/* After the pool and the programs, so that nothing of it is under way. NULL is fine. Returns NULL. */
struct rebooter *rebooter_free(struct rebooter *rebooter);

/* Asks logind who holds off a shutdown, unless it is being asked already; ends in `answered`, or in a reboot
 * that was ordered meanwhile. */
void rebooter_ask(struct rebooter *rebooter);

/* Whether logind is being asked. */
bool rebooter_is_busy(const struct rebooter *rebooter);

/* What holds the reboot off from now on; an empty verdict where nothing does. Returns whether that is another
 * one than before. */
bool rebooter_hold(struct rebooter *rebooter, const struct policy_verdict *verdict);
const struct policy_verdict *rebooter_verdict(const struct rebooter *rebooter);

/* `judge` comes when the first of what holds the reboot off ends by itself, within a minute in any case. */
void rebooter_judge_later(struct rebooter *rebooter);

/* `judge` comes in a minute. */
void rebooter_retry_later(struct rebooter *rebooter);

/* Reboots the machine. `argument` is for its firmware, NULL = none, and stays until the rebooter is freed.
 * With `heed_inhibitors`, only where nobody holds it off; without, also where logind fails. The end is a
 * machine that goes down, or `failed`. */
void rebooter_reboot(struct rebooter *rebooter, const char *argument, bool heed_inhibitors);
