/* SPDX-License-Identifier: MIT */
/*
 * When to ask the server next, and why then: interval, random delay, backoff after failures, Retry-After.
 * Pure: the clock (CLOCK_BOOTTIME in milliseconds, so that a suspended machine looks when it wakes) and
 * the random numbers come from the caller. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/io/backoff.h"

enum schedule_result {
    SCHEDULE_RESULT_STARTED,      /* nothing was asked yet */
    SCHEDULE_RESULT_SECOND_TRY,   /* nothing was asked; an installed release is armed once more if it is still
                                     offered */
    SCHEDULE_RESULT_CHANGED,      /* nothing was asked; with new settings the answer may be another one */
    SCHEDULE_RESULT_ANSWERED,     /* the server was asked and answered, whatever came of it */
    SCHEDULE_RESULT_CHECK_FAILED, /* it did not answer usefully */
    SCHEDULE_RESULT_INSTALL_FAILED, /* the answer was fine, the installation failed: to try again costs far
                                       more */
    SCHEDULE_RESULT_OVERTAKEN,      /* the installation failed because the server has another release by now:
                                       another check is enough */
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
    uint64_t
        random_delay_ms; /* a check comes up to this much later, so that a fleet does not come all at once */
    struct backoff check;
    struct backoff install;
    struct backoff overtaken; /* installations that were overtaken by a newer release */
    uint64_t woken_until_ms;  /* CLOCK_BOOTTIME: until then, checks brought forward by schedule_wake() use up
                                 its allowance */
};

struct schedule_next {
    uint64_t at_ms; /* CLOCK_BOOTTIME */
    enum schedule_why why;
    bool may_wake; /* what failed may succeed as soon as there is a route, or a clock that is right */
    char sentence[128];
};

/* A fresh schedule; interval_ms at least 1. */
void schedule_init(struct schedule *schedule, uint64_t interval_ms, uint64_t random_delay_ms);

/* New settings; failures counted so far stay counted. */
void schedule_set(struct schedule *schedule, uint64_t interval_ms, uint64_t random_delay_ms);

/* After schedule_set(): brings the planned check forward if the new interval says so; never makes it later. A
 * wait that the server asked for stands. Returns whether the check moved. */
bool schedule_shorten(const struct schedule *schedule, struct schedule_next *next, uint64_t now_ms,
                      uint32_t random);

/* Brings a check planned by the interval forward to `at_ms`, when what holds the release ends. A wait that
 * the server asked for, or that follows a failure, stands. */
void schedule_bring_forward(struct schedule_next *next, uint64_t now_ms, uint64_t at_ms);

/* There is a new route, or the clock was set: a check that waits after a failure comes within the next
 * minute, at a moment chosen by `random`. This works a few times in a row, then once in an interval (of 5
 * minutes at most), so that a flapping route does not make this device a burden. Returns whether the check
 * moved. */
bool schedule_wake(struct schedule *schedule, struct schedule_next *next, uint64_t now_ms, uint32_t random);

/* Counts `result` and says when the next check is due. retry_after_ms is the server's wish, 0 = none; it is
 * obeyed also where the server answered. `random` is uniform over all 32 bits. */
void schedule_plan(struct schedule *schedule, enum schedule_result result, uint64_t now_ms,
                   uint64_t retry_after_ms, uint32_t random, struct schedule_next *ret_next);
