/* SPDX-License-Identifier: MIT */
#include "daemon/decide/schedule.h"

#include <stdio.h>

#include "common/base/min_max.h"
#include "common/base/text.h"
#include "common/io/retry.h"

enum {
    /* Devices behind one router get their route back at the same moment. */
    WAKE_SPREAD_MS = 50 * 1000,
    WAKE_GAP_MS = 5 * 60 * 1000,
    /* A few in a row, because the address comes first, then the name server, then the proxy. */
    WAKE_BURST = 4,
};

void schedule_init(struct schedule *schedule, uint64_t interval_ms, uint64_t random_delay_ms)
{
    schedule->check.failures = 0;
    schedule->install.failures = 0;
    schedule->overtaken.failures = 0;
    schedule->woken_until_ms = 0;
    schedule_set(schedule, interval_ms, random_delay_ms);
}

void schedule_set(struct schedule *schedule, uint64_t interval_ms, uint64_t random_delay_ms)
{
    schedule->interval_ms = max_u64(interval_ms, 1);
    schedule->random_delay_ms = random_delay_ms;
    /* With an interval of a second nobody wants to wait ten after a failure; with one of a day the wait grows
     * to no more than a day. */
    schedule->check.first_ms = min_u64(RETRY_CHECK_FIRST_MS, schedule->interval_ms);
    schedule->check.max_ms = max_u64(min_u64(schedule->interval_ms, UINT64_MAX / 2), RETRY_CHECK_MAX_MS);
    schedule->overtaken.first_ms = schedule->check.first_ms;
    schedule->overtaken.max_ms = schedule->check.max_ms;
    schedule->install.first_ms = min_u64(RETRY_INSTALL_FIRST_MS, schedule->interval_ms);
    schedule->install.max_ms = max_u64(min_u64(schedule->interval_ms, UINT64_MAX / 2), RETRY_INSTALL_MAX_MS);
}

/* Uniform from 0 to `bound`, which is cut to 49 days so that the product fits. */
static uint64_t scale_random(uint64_t bound, uint32_t random)
{
    return (min_u64(bound, UINT32_MAX) * random) >> 32;
}

static void say_retry_after(struct schedule_next *next, uint64_t wait_ms)
{
    char wait[32];

    next->why = SCHEDULE_WHY_RETRY_AFTER;
    snprintf(next->sentence, sizeof(next->sentence), "in %s, as the server asked",
             text_format_duration(wait, sizeof(wait), wait_ms));
}

/* Plans the next try after a failure. `before` is the number of failures counted elsewhere, for the
 * sentence. */
static void back_off(struct backoff *backoff, uint64_t floor_ms, uint64_t now_ms, uint64_t retry_after_ms,
                     uint32_t random, const char *what, unsigned before, struct schedule_next *next)
{
    char wait[32];
    uint64_t wait_ms = backoff_next_ms(backoff, max_u64(retry_after_ms, floor_ms), random);

    next->at_ms = now_ms + wait_ms;
    if (retry_after_ms && wait_ms == retry_after_ms) {
        say_retry_after(next, wait_ms);
        return;
    }
    unsigned failures = backoff->failures + before;
    next->why = SCHEDULE_WHY_BACKOFF;
    snprintf(next->sentence, sizeof(next->sentence), "in %s, after %u failed %s%s in a row",
             text_format_duration(wait, sizeof(wait), wait_ms), failures, what, failures == 1 ? "" : "s");
}

static void say_interval(struct schedule_next *next, uint64_t wait_ms)
{
    char wait[32];

    next->why = SCHEDULE_WHY_INTERVAL;
    snprintf(next->sentence, sizeof(next->sentence), "in %s, as Interval= says",
             text_format_duration(wait, sizeof(wait), wait_ms));
}

static void say_start(struct schedule_next *next, uint64_t wait_ms)
{
    char wait[32];

    next->why = SCHEDULE_WHY_START;
    snprintf(next->sentence, sizeof(next->sentence), "in %s, the first since the start",
             text_format_duration(wait, sizeof(wait), wait_ms));
}

bool schedule_shorten(const struct schedule *schedule, struct schedule_next *next, uint64_t now_ms,
                      uint32_t random)
{
    uint64_t wait_ms = scale_random(schedule->random_delay_ms, random);

    if (next->why == SCHEDULE_WHY_RETRY_AFTER)
        return false;
    if (next->why != SCHEDULE_WHY_START)
        wait_ms += schedule->interval_ms;
    if (now_ms + wait_ms >= next->at_ms)
        return false;
    next->at_ms = now_ms + wait_ms;
    if (next->why == SCHEDULE_WHY_START)
        say_start(next, wait_ms);
    else
        say_interval(next, wait_ms);
    return true;
}

bool schedule_wake(struct schedule *schedule, struct schedule_next *next, uint64_t now_ms, uint32_t random)
{
    uint64_t gap_ms = min_u64(WAKE_GAP_MS, schedule->interval_ms), burst_ms = (WAKE_BURST - 1) * gap_ms;
    uint64_t free_ms = schedule->woken_until_ms > burst_ms ? schedule->woken_until_ms - burst_ms : 0;
    uint64_t at_ms =
        max_u64(now_ms, free_ms) + scale_random(min_u64(WAKE_SPREAD_MS, schedule->interval_ms), random);
    char wait[32];

    if (!next->may_wake || at_ms >= next->at_ms)
        return false;
    schedule->woken_until_ms = max_u64(schedule->woken_until_ms, now_ms) + gap_ms;
    next->at_ms = at_ms;
    next->why = SCHEDULE_WHY_WOKEN;
    next->may_wake = false;
    snprintf(next->sentence, sizeof(next->sentence), "in %s, for a route or the clock came",
             text_format_duration(wait, sizeof(wait), at_ms - now_ms));
    return true;
}

void schedule_bring_forward(struct schedule_next *next, uint64_t now_ms, uint64_t at_ms)
{
    char wait[32];

    if (next->why != SCHEDULE_WHY_INTERVAL || at_ms >= next->at_ms)
        return;
    next->at_ms = at_ms;
    next->why = SCHEDULE_WHY_RELEASED;
    text_format_duration(wait, sizeof(wait), at_ms - now_ms);
    snprintf(next->sentence, sizeof(next->sentence), "in %s, when what holds the release ends", wait);
}

void schedule_plan(struct schedule *schedule, enum schedule_result result, uint64_t now_ms,
                   uint64_t retry_after_ms, uint32_t random, struct schedule_next *ret_next)
{
    uint64_t wait_ms = scale_random(schedule->random_delay_ms, random);

    ret_next->may_wake = false;
    switch (result) {
    case SCHEDULE_RESULT_STARTED:
        ret_next->at_ms = now_ms + wait_ms;
        say_start(ret_next, wait_ms);
        return;
    case SCHEDULE_RESULT_SECOND_TRY:
        /* No delay: the devices of a fleet do not end their trials at the same moment, and the answer is
         * small. */
        ret_next->at_ms = now_ms;
        ret_next->why = SCHEDULE_WHY_SECOND_TRY;
        snprintf(ret_next->sentence, sizeof(ret_next->sentence), "at once, for the second try");
        return;
    case SCHEDULE_RESULT_CHANGED:
        /* Somebody has just changed the settings and wants to see whether they work. */
        ret_next->at_ms = now_ms;
        ret_next->why = SCHEDULE_WHY_CHANGED;
        snprintf(ret_next->sentence, sizeof(ret_next->sentence), "at once, for the settings changed");
        return;
    case SCHEDULE_RESULT_ANSWERED:
        backoff_reset(&schedule->check);
        backoff_reset(&schedule->install);
        backoff_reset(&schedule->overtaken);
        wait_ms += schedule->interval_ms;
        ret_next->at_ms = now_ms + max_u64(wait_ms, retry_after_ms);
        if (wait_ms < retry_after_ms)
            say_retry_after(ret_next, retry_after_ms);
        else
            say_interval(ret_next, wait_ms);
        return;
    case SCHEDULE_RESULT_CHECK_FAILED:
        back_off(&schedule->check, min_u64(RETRY_CHECK_FLOOR_MS, schedule->check.first_ms), now_ms,
                 retry_after_ms, random, "check", 0, ret_next);
        ret_next->may_wake = ret_next->why == SCHEDULE_WHY_BACKOFF;
        return;
    case SCHEDULE_RESULT_INSTALL_FAILED:
        backoff_reset(&schedule->check);
        back_off(&schedule->install, min_u64(RETRY_INSTALL_FLOOR_MS, schedule->install.first_ms), now_ms,
                 retry_after_ms, random, "installation", schedule->overtaken.failures, ret_next);
        return;
    case SCHEDULE_RESULT_OVERTAKEN:
        backoff_reset(&schedule->check);
        back_off(&schedule->overtaken, min_u64(RETRY_CHECK_FLOOR_MS, schedule->overtaken.first_ms), now_ms,
                 retry_after_ms, random, "installation", schedule->install.failures, ret_next);
        return;
    }
}
