/* SPDX-License-Identifier: MIT */
/*
 * When to look at the server next, and why then: interval, random delay, backoff after failures, Retry-After.
 * Pure: the clock (CLOCK_BOOTTIME in milliseconds, so that a suspended machine looks when it wakes) and the
 * random numbers come from the caller. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/io/backoff.h"

enum schedule_result {
    SCHEDULE_RESULT_STARTED,    /* nothing was asked yet */
    SCHEDULE_RESULT_SECOND_TRY, /* nor here; an installed release is armed once more if it is still offered */
    SCHEDULE_RESULT_CHANGED,    /* nor here; another answer is to be had than the last one, by new settings */
    SCHEDULE_RESULT_ANSWERED,   /* the server was asked and answered, whatever came of it */
    SCHEDULE_RESULT_CHECK_FAILED,   /* it did not answer usefully */
    SCHEDULE_RESULT_INSTALL_FAILED, /* the answer was fine, installing it was not: costs far more to try again
                                     */
    SCHEDULE_RESULT_OVERTAKEN, /* likewise, for the server has another release by now: looking is all it takes
                                */
};

enum schedule_why {
    SCHEDULE_WHY_START,
    SCHEDULE_WHY_SECOND_TRY,
    SCHEDULE_WHY_CHANGED,
    SCHEDULE_WHY_WOKEN,
    SCHEDULE_WHY_INTERVAL,
    SCHEDULE_WHY_BACKOFF,
    SCHEDULE_WHY_RETRY_AFTER,
    SCHEDULE_WHY_RELEASED,
};

struct schedule {
    uint64_t interval_ms;
    uint64_t random_delay_ms; /* a check comes up to so much later, so that a fleet does not come at once */
    struct backoff check;
    struct backoff install;
    struct backoff overtaken; /* installations, too */
    uint64_t woken_until_ms;  /* CLOCK_BOOTTIME: when all looks that were brought forward are paid for */
};

struct schedule_next {
    uint64_t at_ms; /* CLOCK_BOOTTIME */
    enum schedule_why why;
    bool may_wake; /* what failed may go as soon as there is a route, or a clock that is right */
    char sentence[128];
};

/* A fresh schedule; interval_ms at least 1. */
void schedule_init(struct schedule *schedule, uint64_t interval_ms, uint64_t random_delay_ms);

/* New settings; failures counted so far stay counted. */
void schedule_set(struct schedule *schedule, uint64_t interval_ms, uint64_t random_delay_ms);

/* After schedule_set(): what was planned comes earlier where the new interval says so, and never later; what
 * the server asked for stands. Returns whether it moved. */
bool schedule_shorten(const struct schedule *schedule, struct schedule_next *next, uint64_t now_ms,
                      uint32_t random);

/* Looks at `at_ms` already where that is before what the interval says: what holds the release ends then. A
 * wait that the server asked for, or that failures make longer, stands. */
void schedule_bring_forward(struct schedule_next *next, uint64_t now_ms, uint64_t at_ms);

/* A route or the clock came: where the next look waits after a failure that may be over now, it comes within
 * the next minute, `random` of it. A few times in a row, then once in an interval (5 minutes at most): a
 * route that flaps must not turn this device into a burden. Returns whether it moved. */
bool schedule_wake(struct schedule *schedule, struct schedule_next *next, uint64_t now_ms, uint32_t random);

/* Counts `result` and says when the next check is due. retry_after_ms is the server's wish, 0 = none; it is
 * obeyed also where the server answered. `random` is uniform over all 32 bits. */
void schedule_plan(struct schedule *schedule, enum schedule_result result, uint64_t now_ms,
                   uint64_t retry_after_ms, uint32_t random, struct schedule_next *ret_next);
