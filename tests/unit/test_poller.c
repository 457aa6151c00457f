/* SPDX-License-Identifier: MIT */
/* daemon/parts/poller on a real loop. That a route wakes it is tests/integration/test_wake.py. */
#include "daemon/parts/poller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/wall_clock.h"

enum { HOUR_MS = 60 * 60 * 1000, MINUTE_MS = 60 * 1000 };

#define NEVER_MS (UINT64_MAX / 2)

struct scene {
    struct event_base *base;
    struct poller *poller;
    unsigned due;
};

static void on_due(void *owner)
{
    struct scene *scene = owner;

    scene->due++;
    event_base_loopbreak(scene->base);
}

static void on_clock_set(void *owner)
{
}

static const struct poller_events poller_events = {.due = on_due, .clock_set = on_clock_set};

/* A look an hour, the first one at once. */
static int scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct poller_settings settings = {.interval_ms = HOUR_MS};
    struct error error;

    scene->base = settings.base = event_base_new();
    assert_true(poller_new(&settings, &poller_events, scene, &scene->poller, &error));
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;

    poller_free(scene->poller);
    event_base_free(scene->base);
    free(scene);
    return 0;
}

/* Waits for the check that is due at once. */
static void run(struct scene *scene)
{
    unsigned before = scene->due;

    event_base_dispatch(scene->base);
    assert_int_equal(scene->due, before + 1);
    poller_begin(scene->poller);
}

static void assert_rests(struct scene *scene)
{
    unsigned before = scene->due;

    event_base_loop(scene->base, EVLOOP_NONBLOCK);
    assert_int_equal(scene->due, before);
}

static void assert_next_is_in(struct scene *scene, uint64_t from_s, uint64_t wait_s)
{
    uint64_t next_s = poller_next_s(scene->poller);

    assert_in_range(next_s, from_s + wait_s - 1, wall_clock_now_s() + wait_s);
    assert_rests(scene);
}

static void answer(struct scene *scene, uint64_t retry_after_ms)
{
    poller_note(scene->poller, SCHEDULE_RESULT_ANSWERED, retry_after_ms, ERROR_NONE);
    poller_plan(scene->poller, NEVER_MS);
}

static void test_nothing_comes_unplanned(void **state)
{
    struct scene *scene = *state;

    assert_rests(scene);
    assert_int_equal(poller_next_s(scene->poller), 0);
    poller_plan(scene->poller, NEVER_MS);
    run(scene);
    assert_rests(scene);
    poller_look_anew(scene->poller);
    poller_plan(scene->poller, NEVER_MS);
    poller_stop(scene->poller);
    assert_rests(scene);
}

static void test_an_answer_is_worth_an_interval(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    poller_plan(scene->poller, NEVER_MS);
    run(scene);
    answer(scene, 0);
    assert_next_is_in(scene, now_s, 3600);
    poller_stop(scene->poller);
    assert_int_equal(poller_next_s(scene->poller), 0);
    assert_rests(scene);
}

/* A check that an operator asked for, say, and that ended without a word. */
static void test_what_was_planned_stands(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    answer(scene, 2 * HOUR_MS);
    poller_stop(scene->poller);
    poller_plan(scene->poller, NEVER_MS);
    assert_next_is_in(scene, now_s, 7200);
}

static void test_what_was_not_made_use_of_counts_as_an_answer(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    poller_plan(scene->poller, NEVER_MS);
    run(scene);
    poller_plan(scene->poller, NEVER_MS);
    assert_next_is_in(scene, now_s, 3600);
}

static void test_the_last_word_counts_once(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    poller_note(scene->poller, SCHEDULE_RESULT_CHECK_FAILED, 0, ERROR_NETWORK);
    poller_note(scene->poller, SCHEDULE_RESULT_ANSWERED, 3 * HOUR_MS, ERROR_NONE);
    poller_plan(scene->poller, NEVER_MS);
    assert_next_is_in(scene, now_s, 3 * 3600);
    poller_note(scene->poller, SCHEDULE_RESULT_STARTED, 0, ERROR_NONE);
    poller_plan(scene->poller, NEVER_MS);
    run(scene);
    poller_plan(scene->poller, NEVER_MS);
    assert_next_is_in(scene, now_s, 3600);
}

static void test_the_end_of_a_hold(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    poller_note(scene->poller, SCHEDULE_RESULT_ANSWERED, 0, ERROR_NONE);
    poller_plan(scene->poller, 10 * MINUTE_MS);
    assert_next_is_in(scene, now_s, 600);
    answer(scene, 0);
    poller_follow_hold(scene->poller, 20 * MINUTE_MS);
    assert_next_is_in(scene, now_s, 1200);
    poller_stop(scene->poller);
    poller_follow_hold(scene->poller, 0);
    assert_int_equal(poller_next_s(scene->poller), 0);
    assert_rests(scene);
}

static void test_a_shorter_interval(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    poller_set_interval(scene->poller, 30 * MINUTE_MS, 0);
    assert_int_equal(poller_next_s(scene->poller), 0);
    answer(scene, 0);
    assert_next_is_in(scene, now_s, 1800);
    poller_set_interval(scene->poller, HOUR_MS, 0);
    assert_next_is_in(scene, now_s, 1800);
    poller_set_interval(scene->poller, 5 * MINUTE_MS, 0);
    assert_next_is_in(scene, now_s, 300);
}

static void test_to_look_at_once(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    answer(scene, 0);
    poller_look_at_once(scene->poller);
    run(scene);
    answer(scene, 2 * HOUR_MS);
    poller_look_at_once(scene->poller);
    assert_next_is_in(scene, now_s, 7200);
    poller_look_anew(scene->poller);
    run(scene);
}

static void test_to_look_while_nothing_is_planned(void **state)
{
    struct scene *scene = *state;
    uint64_t now_s = wall_clock_now_s();

    answer(scene, 0);
    poller_stop(scene->poller);
    poller_look_at_once(scene->poller);
    assert_rests(scene);
    poller_plan(scene->poller, NEVER_MS);
    assert_next_is_in(scene, now_s, 3600);
    poller_stop(scene->poller);
    poller_look_anew(scene->poller);
    assert_rests(scene);
    poller_plan(scene->poller, NEVER_MS);
    run(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_comes_unplanned, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_is_worth_an_interval, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_was_planned_stands, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_was_not_made_use_of_counts_as_an_answer, scene_setup,
                                        scene_teardown),
        cmocka_unit_test_setup_teardown(test_the_last_word_counts_once, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_the_end_of_a_hold, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_shorter_interval, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_to_look_at_once, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_to_look_while_nothing_is_planned, scene_setup, scene_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
