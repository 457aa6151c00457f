/* SPDX-License-Identifier: MIT */
#include "daemon/decide/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/timestamp.h"
#include "daemon/config/config_value.h"

/* Time zones as rules, so that the test needs no files of them. */
#define BERLIN    "CET-1CEST,M3.5.0,M10.5.0/3"
#define NEW_YORK  "EST5EDT,M3.2.0,M11.1.0"
#define LORD_HOWE "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"
#define HAVANA    "CST5CDT,M3.2.0/0,M11.1.0/1"
#define UTC       "UTC0"

struct window_case {
    const char *zone;
    const char *windows; /* separated by ';' */
    const char *now;     /* UTC */
    bool open;
    const char *until; /* UTC */
};

static const struct window_case cases[] = {
    /* An ordinary night. 2026-11-28 is a Saturday. */
    {UTC, "02:00-04:00", "2026-11-25T01:59:59Z", false, "2026-11-25T02:00:00Z"},
    {UTC, "02:00-04:00", "2026-11-25T02:00:00Z", true, "2026-11-25T04:00:00Z"},
    {UTC, "02:00-04:00", "2026-11-25T03:59:59Z", true, "2026-11-25T04:00:00Z"},
    {UTC, "02:00-04:00", "2026-11-25T04:00:00Z", false, "2026-11-26T02:00:00Z"},
    {UTC, "Sat,Sun 02:00-04:00", "2026-11-25T03:00:00Z", false, "2026-11-28T02:00:00Z"},
    {UTC, "Sat,Sun 02:00-04:00", "2026-11-28T03:00:00Z", true, "2026-11-28T04:00:00Z"},
    {UTC, "Sat,Sun 02:00-04:00", "2026-11-29T04:00:00Z", false, "2026-12-05T02:00:00Z"},
    {UTC, "Sat 00:00-24:00", "2026-11-28T23:59:59Z", true, "2026-11-29T00:00:00Z"},
    {UTC, "Sat 02:00-04:00", "2026-11-28T04:00:00Z", false, "2026-12-05T02:00:00Z"},
    /* Over midnight: it is the first day's. */
    {UTC, "Fri 22:00-06:00", "2026-11-28T05:59:59Z", true, "2026-11-28T06:00:00Z"},
    {UTC, "Fri 22:00-06:00", "2026-11-28T22:30:00Z", false, "2026-12-04T22:00:00Z"},
    {UTC, "Fri 22:00-06:00", "2026-11-27T05:00:00Z", false, "2026-11-27T22:00:00Z"},
    {UTC, "Sun 22:00-06:00", "2026-11-30T01:00:00Z", true, "2026-11-30T06:00:00Z"},
    {UTC, "22:00-00:00", "2026-11-28T23:00:00Z", true, "2026-11-29T00:00:00Z"},
    /* Several: the next of all, the longest of those that are open. */
    {UTC, "Sat 02:00-04:00;Wed 12:00-13:00", "2026-11-25T11:00:00Z", false, "2026-11-25T12:00:00Z"},
    {UTC, "Sat 02:00-04:00;Wed 12:00-13:00", "2026-11-25T13:00:00Z", false, "2026-11-28T02:00:00Z"},
    {UTC, "02:00-04:00;03:00-05:00", "2026-11-25T03:30:00Z", true, "2026-11-25T05:00:00Z"},
    /* Local time, winter and summer, and where the local day is not UTC's. */
    {BERLIN, "02:00-04:00", "2026-01-10T01:00:00Z", true, "2026-01-10T03:00:00Z"},
    {BERLIN, "02:00-04:00", "2026-07-10T01:00:00Z", true, "2026-07-10T02:00:00Z"},
    {BERLIN, "Sun 00:30-01:00", "2026-01-10T23:30:00Z", true, "2026-01-11T00:00:00Z"},
    {NEW_YORK, "Sat 22:00-23:00", "2026-01-11T03:30:00Z", true, "2026-01-11T04:00:00Z"},
    /* Berlin leaps from 02:00 to 03:00 at 2026-03-29T01:00Z. */
    {BERLIN, "02:00-04:00", "2026-03-29T00:59:59Z", false, "2026-03-29T01:00:00Z"},
    {BERLIN, "01:30-03:30", "2026-03-29T01:00:00Z", true, "2026-03-29T01:30:00Z"},
    {BERLIN, "01:30-02:30", "2026-03-29T00:59:59Z", true, "2026-03-29T01:00:00Z"},
    {BERLIN, "01:30-02:30", "2026-03-29T01:00:00Z", false, "2026-03-29T23:30:00Z"},
    {BERLIN, "Sun 02:15-02:45", "2026-03-29T00:30:00Z", false, "2026-03-29T01:00:00Z"},
    {BERLIN, "Sun 02:15-02:45", "2026-03-29T01:00:00Z", true, "2026-03-29T01:30:00Z"},
    {BERLIN, "Sun 02:15-02:45", "2026-03-29T01:30:00Z", false, "2026-04-05T00:15:00Z"},
    {BERLIN, "Sun 03:00-04:00", "2026-03-29T00:59:00Z", false, "2026-03-29T01:00:00Z"},
    {BERLIN, "Sat 22:00-06:00", "2026-03-29T03:59:59Z", true, "2026-03-29T04:00:00Z"},
    /* Berlin shows 02:00 to 03:00 twice on 2026-10-25, from 00:00Z and from 01:00Z. */
    {BERLIN, "02:00-03:00", "2026-10-25T00:00:00Z", true, "2026-10-25T02:00:00Z"},
    {BERLIN, "02:00-03:00", "2026-10-25T01:59:59Z", true, "2026-10-25T02:00:00Z"},
    {BERLIN, "02:00-03:00", "2026-10-25T02:00:00Z", false, "2026-10-26T01:00:00Z"},
    {BERLIN, "02:15-02:45", "2026-10-25T00:14:59Z", false, "2026-10-25T00:15:00Z"},
    {BERLIN, "02:15-02:45", "2026-10-25T01:44:59Z", true, "2026-10-25T01:45:00Z"},
    {BERLIN, "Sat 22:00-06:00", "2026-10-25T04:59:59Z", true, "2026-10-25T05:00:00Z"},
    /* Half an hour, on the other half of the globe; and a leap at midnight that takes the day's begin. */
    {LORD_HOWE, "02:15-02:20", "2026-10-03T15:29:00Z", false, "2026-10-03T15:30:00Z"},
    {LORD_HOWE, "02:15-02:20", "2026-10-03T15:34:59Z", true, "2026-10-03T15:35:00Z"},
    {LORD_HOWE, "01:30-02:00", "2026-04-04T14:59:00Z", true, "2026-04-04T15:30:00Z"},
    {HAVANA, "Sun 00:00-00:30", "2026-03-08T05:10:00Z", true, "2026-03-08T05:30:00Z"},
    /* The first day there is. */
    {BERLIN, "Thu 00:00-06:00", "1970-01-01T00:00:00Z", true, "1970-01-01T05:00:00Z"},
};

static size_t parse_windows(const char *text, struct config_window *ret_windows)
{
    char copy[128], *rest = copy;
    size_t count = 0;

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *one; (one = strsep(&rest, ";"));)
        assert_null(config_value_parse_window(one, &ret_windows[count++]));
    return count;
}

static uint64_t parse_time(const char *text)
{
    uint64_t seconds = 0;

    assert_int_equal(timestamp_parse(text, &seconds), 0);
    return seconds;
}

static void test_the_table(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct window_case *c = &cases[i];
        struct config_window windows[4];
        size_t count = parse_windows(c->windows, windows);
        char shown[TIMESTAMP_TEXT_SIZE];
        uint64_t until_s = 0;

        setenv("TZ", c->zone, 1);
        bool open = window_find(windows, count, parse_time(c->now), &until_s);
        timestamp_format(shown, until_s);
        if (open != c->open || strcmp(shown, c->until) != 0)
            fail_msg("%s, %s at %s: %s until %s, not %s until %s", c->zone, c->windows, c->now,
                     open ? "open" : "closed", shown, c->open ? "open" : "closed", c->until);
    }
}

/* Over the two weeks around a change, minute by minute: what is said about later is what is said then. */
static void check_agreement(const char *zone, const char *text, const char *from)
{
    struct config_window windows[4];
    size_t count = parse_windows(text, windows);
    uint64_t begin_s = parse_time(from), until_s, before_s = 0;
    bool before = false;

    setenv("TZ", zone, 1);
    for (uint64_t now_s = begin_s; now_s < begin_s + 14 * 24 * 3600; now_s += 60) {
        bool open = window_find(windows, count, now_s, &until_s);
        assert_true(until_s > now_s);
        /* One that closes may be followed by another at once; one that is closed opens when it was said. */
        bool fits = open == before ? before || now_s < before_s : now_s >= before_s;
        if (now_s > begin_s && !fits)
            fail_msg("%s, %s: at %llu it is %s, and before that was said to last until %llu", zone, text,
                     (unsigned long long)now_s, open ? "open" : "closed", (unsigned long long)before_s);
        before = open;
        before_s = until_s;
    }
}

static void test_what_is_foretold_comes(void **state)
{
    check_agreement(BERLIN, "Sun 02:15-02:45;Sat 22:00-02:30", "2026-03-22T00:00:00Z");
    check_agreement(BERLIN, "02:15-02:45;Mon..Fri 22:00-06:00", "2026-10-18T00:00:00Z");
    check_agreement(LORD_HOWE, "02:00-02:20;Sun 01:45-02:15", "2026-09-27T00:00:00Z");
    check_agreement(NEW_YORK, "Sat,Sun 01:30-02:30", "2026-10-25T00:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_what_is_foretold_comes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
