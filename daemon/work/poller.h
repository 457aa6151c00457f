/* SPDX-License-Identifier: MIT */
/*
 * When the server is asked next: keeps the schedule, a timer that counts time asleep as well, and an ear for
 * what lets a check that failed succeed sooner, a new route or a clock that was set. Whoever learns what
 * became of a check says so by poller_note(), and the next poller_plan() goes by it. Nothing blocks; the
 * loop's thread only.
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
    /* The time of the next check has come; none comes after it until poller_plan(). */
    void (*due)(void *owner);
    /* Somebody set the clock: what goes by the time of day is another matter now. */
    void (*clock_set)(void *owner);
};

/* Nothing is planned yet, and the first plan is that of a start. A kernel that does not tell of routes costs
 * a warning and some waiting. */
bool poller_new(const struct poller_settings *settings, const struct poller_events *events, void *owner,
                struct poller **ret_poller, struct error *error);

/* NULL is fine. Returns NULL. */
struct poller *poller_free(struct poller *poller);

/* A check begins: a route or a clock that comes from now on may help it. */
void poller_begin(struct poller *poller);

/* What became of it, or why there is something new to look for. retry_after_ms is the server's wish, 0 =
 * none; `failure` is what went wrong, ERROR_NONE where nothing did. The last word before poller_plan()
 * counts.
 */
void poller_note(struct poller *poller, enum schedule_result result, uint64_t retry_after_ms,
                 enum error_kind failure);

/* Sets the timer by what was noted. Where nothing was, what was planned stands, unless its time has passed.
 * What holds the release ends in hold_ms by itself, UINT64_MAX / 2 = never: it is looked for then at the
 * latest. */
void poller_plan(struct poller *poller, uint64_t hold_ms);

/* No check until poller_plan(). */
void poller_stop(struct poller *poller);

/* Other settings: where a check is planned, it comes earlier if they say so, never later. */
void poller_set_interval(struct poller *poller, uint64_t interval_ms, uint64_t random_delay_ms);

/* The planned check is due at once, unless the server asked for the wait. */
void poller_look_at_once(struct poller *poller);

/* The server is asked in another way than before, so what failed, or what the server asked for, counts no
 * more: a check is due at once, or as soon as one is planned. */
void poller_look_anew(struct poller *poller);

/* What holds the release ends at another time than was said to poller_plan(), in hold_ms: the planned check
 * comes then where that is earlier. */
void poller_follow_hold(struct poller *poller, uint64_t hold_ms);

/* Unix time of the next check, for people; 0 = none is planned. */
uint64_t poller_next_s(const struct poller *poller);

/* When and why, as a clause; of the last check that was planned. */
const char *poller_next_why(const struct poller *poller);
