/* SPDX-License-Identifier: MIT */
#include "daemon/decide/window.h"

#include <assert.h>
#include <time.h>

#include "common/base/wall_clock.h"

enum {
    MINUTE_S = 60,
    DAY_S = 24 * 60 * MINUTE_S,
    /* How many days around today to search. Back: a window may last into the next day, and one that is leaped
     * over where a zone changes its date opens late. Ahead: the rarest window comes once a week. */
    DAYS_BACK = 2,
    DAYS_AHEAD = 8,
};

struct span {
    int64_t begin_s, end_s; /* Unix time */
};

/* Seconds by which the local clock is ahead of UTC at `time_s`. */
static int64_t offset_at(int64_t time_s)
{
    struct tm local;

    return wall_clock_local(time_s, &local) ? local.tm_gmtoff : 0;
}

/* The first and the last moment at which the local clock shows `wall_s`, which is counted as if it were UTC;
 * they differ in a repeated hour. False if the clock leaps over `wall_s`; then both are the moment of the
 * leap. */
static bool find_moments(int64_t wall_s, int64_t *ret_first_s, int64_t *ret_last_s)
{
    /* The offsets a day before and a day after are those on the two sides of a change that is near; without a
     * change they are equal. */
    int64_t before = wall_s - offset_at(wall_s - DAY_S), after = wall_s - offset_at(wall_s + DAY_S);
    int64_t low = before < after ? before : after, high = before < after ? after : before;
    bool low_fits = low + offset_at(low) == wall_s, high_fits = high + offset_at(high) == wall_s;

    if (low_fits || high_fits) {
        *ret_first_s = low_fits ? low : high;
        *ret_last_s = high_fits ? high : low;
        return true;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (middle + offset_at(middle) < wall_s)
            low = middle;
        else
            high = middle;
    }
    *ret_first_s = *ret_last_s = high;
    return false;
}

/* The window on the day that begins at `day_s`, which is counted as if the local clock were UTC. */
static struct span find_span(const struct config_window *window, int64_t day_s)
{
    bool next_day = window->end_min <= window->begin_min;
    int64_t begin_wall_s = day_s + (int64_t)window->begin_min * MINUTE_S;
    int64_t end_wall_s = day_s + (int64_t)window->end_min * MINUTE_S + (next_day ? DAY_S : 0);
    struct span span;
    int64_t ignored;

    if (find_moments(begin_wall_s, &span.begin_s, &ignored))
        find_moments(end_wall_s, &ignored, &span.end_s);
    else
        span.end_s = span.begin_s + (end_wall_s - begin_wall_s);
    return span;
}

/* From days since 1970-01-01, a Thursday, to a weekday with Monday = 0, as struct config_window counts. */
static unsigned weekday_of(int64_t day)
{
    return (unsigned)((day + 3) % 7);
}

bool window_find(const struct config_window *windows, size_t count, uint64_t now_s, uint64_t *ret_until_s)
{
    int64_t now = (int64_t)now_s, closes_s = 0, opens_s = 0;

    assert(count > 0);
    tzset();
    int64_t today = (now + offset_at(now)) / DAY_S;
    for (int64_t day = today > DAYS_BACK ? today - DAYS_BACK : 0; day <= today + DAYS_AHEAD; day++)
        for (size_t i = 0; i < count; i++) {
            if (!(windows[i].days & 1u << weekday_of(day)))
                continue;
            struct span span = find_span(&windows[i], day * DAY_S);
            if (span.begin_s <= now && now < span.end_s && span.end_s > closes_s)
                closes_s = span.end_s;
            if (span.begin_s > now && (!opens_s || span.begin_s < opens_s))
                opens_s = span.begin_s;
        }
    *ret_until_s = (uint64_t)(closes_s ? closes_s : opens_s);
    return closes_s != 0;
}
