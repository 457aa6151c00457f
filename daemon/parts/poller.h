/* SPDX-License-Identifier: MIT */
/*
 * When the server is asked next: keeps the schedule and a timer that also counts the time the machine
 * sleeps, and notices what may let a failed check succeed sooner: a new route, or a clock that was set.
 * The result of a check is passed in by poller_note(), and the next poller_plan() uses it. Nothing blocks;
 * the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "daemon/decide/schedule.h"

struct event_base;
struct poller;

struct poller_settings {
    struct event_base *base;
    uint64_t interval_ms, random_delay_ms; /* as for schedule_init() */
};

/* Called from the loop, never from within a function of the poller, which may be called here but not freed.
 */
struct poller_events {
    /* The next check is due; no other one comes until poller_plan(). */
    void (*due)(void *owner);
    /* Somebody set the clock. */
    void (*clock_set)(void *owner);
};

/* Nothing is planned yet; the first plan is that of a start. If the kernel does not report routes, that is
 * only logged. */
bool poller_new(const struct poller_settings *settings, const struct poller_events *events, void *owner,
                struct poller **ret_poller, struct error *error);

/* NULL is fine. Returns NULL. */
struct poller *poller_free(struct poller *poller);

/* Call when a check begins: only routes and clock changes from now on count for it. */
void poller_begin(struct poller *poller);

/* Notes how a check or an installation ended, or why there is to be a new check. `retry_after_ms` is the
 * server's wish, 0 = none; `failure` is what went wrong, ERROR_NONE = nothing. The last note before
 * poller_plan() counts. */
void poller_note(struct poller *poller, enum schedule_result result, uint64_t retry_after_ms,
                 enum error_kind failure);

/* Plans the next check by what was noted, and sets the timer. If nothing was noted, the old plan stands,
 * unless its time has passed. In `hold_ms` what holds the release ends by itself, UINT64_MAX / 2 = never; a
 * regular check then comes at that time at the latest. */
void poller_plan(struct poller *poller, uint64_t hold_ms);

/* No check until poller_plan(). */
void poller_stop(struct poller *poller);

/* New settings: a planned check comes earlier if they say so, never later. */
void poller_set_interval(struct poller *poller, uint64_t interval_ms, uint64_t random_delay_ms);

/* Makes the planned check due at once, unless the server asked for the wait. */
void poller_look_at_once(struct poller *poller);

/* The server is now asked in another way, so earlier failures, and waits that the server asked for, do not
 * count any more: a check is due at once, or as soon as one is planned. */
void poller_look_anew(struct poller *poller);

/* What holds the release now ends in `hold_ms`, other than poller_plan() was told: brings a regular check
 * forward to that time. */
void poller_follow_hold(struct poller *poller, uint64_t hold_ms);

/* Unix time of the next check, for people; 0 = none is planned. */
uint64_t poller_next_s(const struct poller *poller);

/* When and why the check planned last comes, as a clause. */
const char *poller_next_why(const struct poller *poller);
