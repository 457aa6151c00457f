/* SPDX-License-Identifier: MIT */
#include "daemon/decide/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { MINUTE_MS = 60 * 1000 };

static struct schedule_next plan(struct schedule *schedule, enum schedule_result result,
                                 uint64_t retry_after_ms, uint32_t random)
{
    struct schedule_next next;

    schedule_plan(schedule, result, 1000, retry_after_ms, random, &next);
    assert_true(next.at_ms >= 1000);
    assert_true(strlen(next.sentence) > 0);
    next.at_ms -= 1000;
    return next;
}

static void test_start_comes_within_the_random_delay(void **state)
{
    struct schedule schedule;

    schedule_init(&schedule, 5 * MINUTE_MS, 30000);
    assert_int_equal(plan(&schedule, SCHEDULE_RESULT_STARTED, 0, 0).at_ms, 0);
    assert_int_equal(plan(&schedule, SCHEDULE_RESULT_STARTED, 0, UINT32_MAX / 2 + 1).at_ms, 15000);
    struct schedule_next next = plan(&schedule, SCHEDULE_RESULT_STARTED, 0, UINT32_MAX);
    assert_true(next.at_ms > 29900 && next.at_ms <= 30000);
    assert_int_equal(next.why, SCHEDULE_WHY_START);
}

static void test_a_second_try_waits_for_nothing(void **state)
{
    struct schedule schedule;

    schedule_init(&schedule, 60 * MINUTE_MS, 6 * MINUTE_MS);
    struct schedule_next next = plan(&schedule, SCHEDULE_RESULT_SECOND_TRY, 0, UINT32_MAX);
    assert_int_equal(next.at_ms, 0);
    assert_int_equal(next.why, SCHEDULE_WHY_SECOND_TRY);
    /* What comes of it is followed by the interval as ever. */
    next = plan(&schedule, SCHEDULE_RESULT_ANSWERED, 0, 0);
    assert_int_equal(next.at_ms, 60 * MINUTE_MS);
}

static void test_interval_and_jitter(void **state)
{
    struct schedule schedule;

    schedule_init(&schedule, 5 * MINUTE_MS, 30000);
    struct schedule_next next = plan(&schedule, SCHEDULE_RESULT_ANSWERED, 0, 0);
    assert_int_equal(next.at_ms, 5 * MINUTE_MS);
    assert_int_equal(next.why, SCHEDULE_WHY_INTERVAL);
    next = plan(&schedule, SCHEDULE_RESULT_ANSWERED, 0, UINT32_MAX);
    assert_true(next.at_ms > 5 * MINUTE_MS + 29900 && next.at_ms <= 5 * MINUTE_MS + 30000);
    next = plan(&schedule, SCHEDULE_RESULT_ANSWERED, 20 * MINUTE_MS, 0);
    assert_int_equal(next.at_ms, 20 * MINUTE_MS);
    assert_int_equal(next.why, SCHEDULE_WHY_RETRY_AFTER);
}

static void test_an_end_of_a_hold_brings_a_look_forward(void **state)
{
    struct schedule schedule;
    struct schedule_next next;

    schedule_init(&schedule, 5 * MINUTE_MS, 0);
    schedule_plan(&schedule, SCHEDULE_RESULT_ANSWERED, 1000, 0, 0, &next);
    schedule_bring_forward(&next, 1000, 1000 + 6 * MINUTE_MS);
    assert_int_equal(next.at_ms, 1000 + 5 * MINUTE_MS);
    schedule_bring_forward(&next, 1000, 1000 + MINUTE_MS);
    assert_int_equal(next.at_ms, 1000 + MINUTE_MS);
    assert_int_equal(next.why, SCHEDULE_WHY_RELEASED);
    assert_non_null(strstr(next.sentence, "in 1min"));

    /* A server that wants to be left alone is. */
    schedule_plan(&schedule, SCHEDULE_RESULT_ANSWERED, 1000, 20 * MINUTE_MS, 0, &next);
    schedule_bring_forward(&next, 1000, 1000 + MINUTE_MS);
    assert_int_equal(next.at_ms, 1000 + 20 * MINUTE_MS);
    schedule_plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 1000, 0, UINT32_MAX, &next);
    uint64_t planned_ms = next.at_ms;
    schedule_bring_forward(&next, 1000, 1001);
    assert_true(next.at_ms == planned_ms);
}

static void test_a_new_interval_only_makes_it_earlier(void **state)
{
    struct schedule schedule;
    struct schedule_next next, planned;

    schedule_init(&schedule, 60 * MINUTE_MS, 0);
    schedule_plan(&schedule, SCHEDULE_RESULT_ANSWERED, 1000, 0, 0, &next);
    planned = next;
    schedule_set(&schedule, 120 * MINUTE_MS, 0);
    assert_false(schedule_shorten(&schedule, &next, 2000, 0));
    assert_memory_equal(&next, &planned, sizeof(next));
    schedule_set(&schedule, 5 * MINUTE_MS, MINUTE_MS);
    assert_true(schedule_shorten(&schedule, &next, 2000, UINT32_MAX / 2 + 1));
    assert_int_equal(next.at_ms, 2000 + 5 * MINUTE_MS + MINUTE_MS / 2);
    assert_int_equal(next.why, SCHEDULE_WHY_INTERVAL);
    /* Again and again, it is never put off. */
    assert_false(schedule_shorten(&schedule, &next, 3 * MINUTE_MS, UINT32_MAX));

    /* The first one is not an interval away. */
    schedule_set(&schedule, 60 * MINUTE_MS, 10 * MINUTE_MS);
    schedule_plan(&schedule, SCHEDULE_RESULT_STARTED, 1000, 0, UINT32_MAX, &next);
    schedule_set(&schedule, 60 * MINUTE_MS, MINUTE_MS);
    assert_true(schedule_shorten(&schedule, &next, 1000, 0));
    assert_int_equal(next.at_ms, 1000);
    assert_int_equal(next.why, SCHEDULE_WHY_START);

    /* The server's wish stands, and failures end by the interval at the latest. */
    schedule_plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 1000, 30 * MINUTE_MS, 0, &next);
    schedule_set(&schedule, 1000, 0);
    assert_false(schedule_shorten(&schedule, &next, 1000, 0));
    for (int i = 0; i < 20; i++)
        schedule_plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 1000, 0, UINT32_MAX, &next);
    assert_true(schedule_shorten(&schedule, &next, 1000, 0));
    assert_int_equal(next.at_ms, 2000);
}

static void test_changed_settings_are_tried_at_once(void **state)
{
    struct schedule schedule;

    schedule_init(&schedule, 5 * MINUTE_MS, MINUTE_MS);
    struct schedule_next next = plan(&schedule, SCHEDULE_RESULT_CHANGED, 0, UINT32_MAX);
    assert_int_equal(next.at_ms, 0);
    assert_int_equal(next.why, SCHEDULE_WHY_CHANGED);
}

/* After so many failures that the next look is about an hour away. */
static void fail_for_a_night(struct schedule *schedule, uint64_t now_ms, struct schedule_next *next)
{
    for (int i = 0; i < 100; i++)
        schedule_plan(schedule, SCHEDULE_RESULT_CHECK_FAILED, now_ms, 0, UINT32_MAX, next);
}

static void test_a_route_ends_the_wait_within_a_minute(void **state)
{
    struct schedule schedule;
    struct schedule_next next;

    schedule_init(&schedule, 5 * MINUTE_MS, 0);
    fail_for_a_night(&schedule, 1000, &next);
    assert_true(next.at_ms > 50 * MINUTE_MS);
    assert_true(schedule_wake(&schedule, &next, 1000, UINT32_MAX));
    assert_true(next.at_ms > 1000 && next.at_ms < 1000 + MINUTE_MS);
    assert_int_equal(next.why, SCHEDULE_WHY_WOKEN);
    /* It is on its way already. */
    assert_false(schedule_wake(&schedule, &next, 1000, 0));

    /* Each device at its own moment, and none sooner than one that looks every second looks anyway. */
    fail_for_a_night(&schedule, 1000, &next);
    assert_true(schedule_wake(&schedule, &next, 1000, 0));
    assert_int_equal(next.at_ms, 1000);
    schedule_init(&schedule, 1000, 0);
    fail_for_a_night(&schedule, 1000, &next);
    assert_true(schedule_wake(&schedule, &next, 1000, UINT32_MAX));
    assert_true(next.at_ms <= 2000);
}

static void test_only_a_failure_is_woken(void **state)
{
    struct schedule schedule;
    struct schedule_next next;

    schedule_init(&schedule, 60 * MINUTE_MS, 0);
    schedule_plan(&schedule, SCHEDULE_RESULT_ANSWERED, 1000, 0, 0, &next);
    assert_false(schedule_wake(&schedule, &next, 1000, 0));
    schedule_plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 1000, 30 * MINUTE_MS, 0, &next);
    assert_int_equal(next.why, SCHEDULE_WHY_RETRY_AFTER);
    assert_false(schedule_wake(&schedule, &next, 1000, 0));
    for (int i = 0; i < 20; i++)
        schedule_plan(&schedule, SCHEDULE_RESULT_INSTALL_FAILED, 1000, 0, UINT32_MAX, &next);
    assert_false(schedule_wake(&schedule, &next, 1000, 0));
    /* Unless the caller knows that the network was at fault. */
    next.may_wake = true;
    assert_true(schedule_wake(&schedule, &next, 1000, 0));
    /* What is due sooner stays. */
    schedule_plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 1000, 0, 0, &next);
    schedule_set(&schedule, 60 * MINUTE_MS, 0);
    next.at_ms = 1001;
    assert_false(schedule_wake(&schedule, &next, 1000, UINT32_MAX));
}

/* A cable with a loose contact, all night: every failing look is followed by another route. */
static void test_a_route_that_flaps_is_bounded(void **state)
{
    struct schedule schedule;
    struct schedule_next next;
    unsigned looks = 0;
    uint64_t now_ms = 1000, end_ms = now_ms + 8 * 60 * MINUTE_MS;

    schedule_init(&schedule, 5 * MINUTE_MS, 0);
    fail_for_a_night(&schedule, now_ms, &next);
    while (now_ms < end_ms) {
        schedule_wake(&schedule, &next, now_ms, 0);
        now_ms = next.at_ms;
        schedule_plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, now_ms, 0, UINT32_MAX, &next);
        looks++;
    }
    /* A burst, and then no more than Interval= would have it. */
    assert_true(looks <= 8 * 60 / 5 + 8);
    /* And what comes after a quiet while is followed within a minute again. */
    now_ms += 20 * MINUTE_MS;
    fail_for_a_night(&schedule, now_ms, &next);
    assert_true(schedule_wake(&schedule, &next, now_ms, UINT32_MAX));
    assert_true(next.at_ms < now_ms + MINUTE_MS);
}

static void test_backoff_grows_and_ends(void **state)
{
    struct schedule schedule;
    uint64_t last = 0;

    schedule_init(&schedule, 5 * MINUTE_MS, 0);
    for (int i = 0; i < 100; i++) {
        struct schedule_next next = plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 0, UINT32_MAX);
        assert_true(next.at_ms >= last && next.at_ms >= 2000 && next.at_ms <= 60 * MINUTE_MS);
        assert_int_equal(next.why, SCHEDULE_WHY_BACKOFF);
        last = next.at_ms;
    }
    assert_true(last > 50 * MINUTE_MS);
    plan(&schedule, SCHEDULE_RESULT_ANSWERED, 0, 0);
    assert_true(plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 0, UINT32_MAX).at_ms < MINUTE_MS);
}

static void test_a_failed_check_obeys_the_server(void **state)
{
    struct schedule schedule;

    schedule_init(&schedule, 5 * MINUTE_MS, 0);
    struct schedule_next next = plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 7 * MINUTE_MS, 12345);
    assert_int_equal(next.at_ms, 7 * MINUTE_MS);
    assert_int_equal(next.why, SCHEDULE_WHY_RETRY_AFTER);
}

static void test_installations_are_retried_far_less_often(void **state)
{
    struct schedule schedule;
    uint64_t at_ms = 0;

    schedule_init(&schedule, 5 * MINUTE_MS, 0);
    for (int i = 0; i < 20; i++)
        at_ms = plan(&schedule, SCHEDULE_RESULT_INSTALL_FAILED, 0, UINT32_MAX).at_ms;
    assert_true(at_ms > 5 * 60 * MINUTE_MS && at_ms <= 6 * 60 * MINUTE_MS);
    assert_true(plan(&schedule, SCHEDULE_RESULT_INSTALL_FAILED, 0, 0).at_ms >= 10000);
}

/* Where the server has another release by now, it is looked at soon; but it was installations that failed. */
static void test_what_failed_is_what_is_said(void **state)
{
    struct schedule schedule;
    struct schedule_next next;

    schedule_init(&schedule, 60 * MINUTE_MS, 0);
    plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 0, 0);
    next = plan(&schedule, SCHEDULE_RESULT_OVERTAKEN, 0, UINT32_MAX);
    assert_true(next.at_ms < MINUTE_MS);
    assert_int_equal(next.why, SCHEDULE_WHY_BACKOFF);
    assert_non_null(strstr(next.sentence, "1 failed installation in a row"));
    next = plan(&schedule, SCHEDULE_RESULT_INSTALL_FAILED, 0, 0);
    assert_non_null(strstr(next.sentence, "2 failed installations in a row"));
    next = plan(&schedule, SCHEDULE_RESULT_OVERTAKEN, 0, 0);
    assert_non_null(strstr(next.sentence, "3 failed installations in a row"));
    next = plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 0, 0);
    assert_non_null(strstr(next.sentence, "1 failed check in a row"));
    plan(&schedule, SCHEDULE_RESULT_ANSWERED, 0, 0);
    next = plan(&schedule, SCHEDULE_RESULT_OVERTAKEN, 0, 0);
    assert_non_null(strstr(next.sentence, "1 failed installation in a row"));
    /* The server's wish counts there, too. */
    next = plan(&schedule, SCHEDULE_RESULT_OVERTAKEN, 10 * MINUTE_MS, 0);
    assert_int_equal(next.at_ms, 10 * MINUTE_MS);
    assert_int_equal(next.why, SCHEDULE_WHY_RETRY_AFTER);
    next = plan(&schedule, SCHEDULE_RESULT_INSTALL_FAILED, 10 * MINUTE_MS, 0);
    assert_int_equal(next.at_ms, 10 * MINUTE_MS);
}

static void test_a_short_interval_is_a_short_backoff(void **state)
{
    struct schedule schedule;

    schedule_init(&schedule, 200, 0);
    assert_true(plan(&schedule, SCHEDULE_RESULT_CHECK_FAILED, 0, 0).at_ms <= 200);
    schedule_set(&schedule, 0, UINT64_MAX);
    plan(&schedule, SCHEDULE_RESULT_ANSWERED, 0, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_comes_within_the_random_delay),
        cmocka_unit_test(test_a_second_try_waits_for_nothing),
        cmocka_unit_test(test_interval_and_jitter),
        cmocka_unit_test(test_an_end_of_a_hold_brings_a_look_forward),
        cmocka_unit_test(test_a_new_interval_only_makes_it_earlier),
        cmocka_unit_test(test_changed_settings_are_tried_at_once),
        cmocka_unit_test(test_a_route_ends_the_wait_within_a_minute),
        cmocka_unit_test(test_only_a_failure_is_woken),
        cmocka_unit_test(test_a_route_that_flaps_is_bounded),
        cmocka_unit_test(test_backoff_grows_and_ends),
        cmocka_unit_test(test_a_failed_check_obeys_the_server),
        cmocka_unit_test(test_installations_are_retried_far_less_often),
        cmocka_unit_test(test_what_failed_is_what_is_said),
        cmocka_unit_test(test_a_short_interval_is_a_short_backoff),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
