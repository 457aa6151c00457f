/* SPDX-License-Identifier: MIT */
#include "daemon/decide/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { MINUTE_MS = 60 * 1000, DAY_MS = 24 * 60 * MINUTE_MS };

static struct record_release release_of(char digit, uint64_t serial, bool is_signed)
{
    struct record_release release = {.has_serial = serial != 0, .serial = serial, .is_signed = is_signed};

    memset(release.sha256, digit, sizeof(release.sha256) - 1);
    return release;
}

/* Polls once a minute for a day, the offers in turn; returns how many were looked at. */
static unsigned count_looks(struct turns *turns, const struct record_release *offers, size_t count)
{
    unsigned looks = 0;

    for (uint64_t now_ms = DAY_MS, poll = 0; now_ms < 2 * (uint64_t)DAY_MS; now_ms += MINUTE_MS, poll++) {
        const struct record_release *offered = &offers[poll % count];
        if (turns_wait_ms(turns, offered, now_ms, MINUTE_MS))
            continue;
        turns_note(turns, offered, now_ms);
        looks++;
    }
    return looks;
}

static void test_two_in_turn_cost_little(void **state)
{
    struct turns turns = {0}, unsigned_turns = {0};
    struct record_release replayed[] = {release_of('6', 6, true), release_of('7', 7, true)};
    struct record_release others[] = {release_of('a', 0, false), release_of('b', 0, false),
                                      release_of('c', 0, false)};

    /* 1,440 polls. The same as last time may be looked at, as it is held or was installed. */
    turns_note(&turns, &replayed[0], DAY_MS);
    assert_int_equal(turns_wait_ms(&turns, &replayed[0], DAY_MS, MINUTE_MS), 0);
    for (unsigned i = 0; i < 1440; i++) {
        const struct record_release *offered = &replayed[i % 2];
        if (!turns_wait_ms(&turns, offered, DAY_MS + i * (uint64_t)MINUTE_MS, MINUTE_MS) &&
            !record_release_is_same(&turns.last, offered))
            turns_note(&turns, offered, DAY_MS + i * (uint64_t)MINUTE_MS);
    }
    assert_true(turns.count > 4 && turns.count < 20);
    assert_true(count_looks(&unsigned_turns, others, 3) < 500);
    assert_true(unsigned_turns.count < 20);
}

static void test_new_releases_never_wait(void **state)
{
    struct turns turns = {0};

    for (uint64_t serial = 1; serial < 100; serial++) {
        struct record_release release = release_of((char)('0' + serial % 10), serial, true);
        assert_int_equal(turns_wait_ms(&turns, &release, serial * MINUTE_MS, MINUTE_MS), 0);
        turns_note(&turns, &release, serial * MINUTE_MS);
    }
    assert_int_equal(turns.count, 0);
}

/* Of a publisher without serials; but there is an end to it. */
static void test_releases_never_seen_before(void **state)
{
    struct turns turns = {0};

    for (unsigned i = 0; i < 200; i++) {
        struct record_release release = release_of((char)('!' + i % 90), 0, false);
        release.sha256[0] = (char)('a' + i / 90);
        uint64_t wait_ms = turns_wait_ms(&turns, &release, DAY_MS, MINUTE_MS);
        assert_true(i > 24 || !wait_ms);
        turns_note(&turns, &release, DAY_MS);
    }
    assert_int_equal(turns.count, 199 / 8);
}

static void test_it_is_forgotten(void **state)
{
    struct turns turns = {0};
    struct record_release a = release_of('a', 0, false), b = release_of('b', 0, false);

    for (unsigned i = 0; i < 10; i++)
        turns_note(&turns, i % 2 ? &a : &b, DAY_MS);
    assert_int_equal(turns_wait_ms(&turns, &b, DAY_MS, MINUTE_MS), 16 * MINUTE_MS);
    assert_int_equal(turns_wait_ms(&turns, &b, DAY_MS + 15 * MINUTE_MS, MINUTE_MS), MINUTE_MS);
    assert_int_equal(turns_wait_ms(&turns, &b, DAY_MS + 16 * MINUTE_MS, MINUTE_MS), 0);
    /* Whoever looks once a day waits no longer than that. */
    assert_int_equal(turns_wait_ms(&turns, &b, DAY_MS, 7 * (uint64_t)DAY_MS), 7 * (uint64_t)DAY_MS);
    assert_int_equal(turns_wait_ms(&turns, &a, DAY_MS, MINUTE_MS), 0);
    turns_note(&turns, &b, 2 * (uint64_t)DAY_MS);
    assert_int_equal(turns.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_in_turn_cost_little),
        cmocka_unit_test(test_new_releases_never_wait),
        cmocka_unit_test(test_releases_never_seen_before),
        cmocka_unit_test(test_it_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
