/* SPDX-License-Identifier: MIT */
#include "common/io/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/wall_clock.h"

struct scene {
    struct event_base *base;
    struct timer *timer, *other;
    unsigned calls, calls_wanted;
    bool running_in_callback;
};

static void setup(struct scene *scene, timer_fn fn)
{
    *scene = (struct scene){.base = event_base_new()};
    scene->timer = timer_new(scene->base, fn, scene);
}

static void teardown(struct scene *scene)
{
    assert_null(timer_free(scene->timer));
    event_base_free(scene->base);
}

static void on_timer(void *owner)
{
    struct scene *scene = owner;

    scene->calls++;
    scene->running_in_callback = timer_is_running(scene->timer);
    if (scene->calls < scene->calls_wanted)
        timer_start(scene->timer, 1);
}

/* The loop ends by itself where nothing runs any more, so a second call would be seen. */
static void test_calls_back_once_and_not_before_its_time(void **state)
{
    struct scene scene;
    uint64_t begun_ms = wall_clock_steady_ms();

    setup(&scene, on_timer);
    assert_false(timer_is_running(scene.timer));
    timer_start(scene.timer, 1050);
    assert_true(timer_is_running(scene.timer));
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 1);
    assert_true(wall_clock_steady_ms() - begun_ms >= 1049);
    assert_false(scene.running_in_callback);
    assert_false(timer_is_running(scene.timer));
    teardown(&scene);
}

static void test_is_started_anew_from_its_callback(void **state)
{
    struct scene scene;

    setup(&scene, on_timer);
    scene.calls_wanted = 3;
    timer_start(scene.timer, 0);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 3);
    teardown(&scene);
}

static void test_counts_from_its_last_start(void **state)
{
    struct scene scene;
    uint64_t begun_ms = wall_clock_steady_ms();

    setup(&scene, on_timer);
    timer_start(scene.timer, 0);
    timer_start(scene.timer, 60);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 1);
    assert_true(wall_clock_steady_ms() - begun_ms >= 59);
    teardown(&scene);
}

static void test_does_not_call_back_once_stopped(void **state)
{
    struct scene scene;

    setup(&scene, on_timer);
    timer_stop(scene.timer);
    timer_start(scene.timer, 0);
    timer_stop(scene.timer);
    assert_false(timer_is_running(scene.timer));
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 0);
    teardown(&scene);
}

static void on_timer_stop_other(void *owner)
{
    struct scene *scene = owner;

    on_timer(scene);
    timer_stop(scene->timer);
    timer_stop(scene->other);
}

/* Both are due in the same turn of the loop, and whichever comes first stops the other. */
static void test_does_not_call_back_once_stopped_by_another_that_is_due(void **state)
{
    struct scene scene;

    setup(&scene, on_timer_stop_other);
    scene.other = timer_new(scene.base, on_timer_stop_other, &scene);
    timer_start(scene.timer, 0);
    timer_start(scene.other, 0);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 1);
    timer_free(scene.other);
    teardown(&scene);
}

static void on_timer_free(void *owner)
{
    struct scene *scene = owner;

    scene->calls++;
    scene->timer = timer_free(scene->timer);
}

static void test_is_freed_in_its_callback_and_while_it_runs(void **state)
{
    struct scene scene;

    setup(&scene, on_timer_free);
    timer_start(scene.timer, 0);
    scene.other = timer_new(scene.base, on_timer_free, &scene);
    timer_start(scene.other, 0);
    scene.other = timer_free(scene.other);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 1);
    teardown(&scene);
}

/* However long: no sum of it with the clock turns round, which would call back at once. */
static void test_a_delay_without_end_does_not_come(void **state)
{
    struct scene scene;

    setup(&scene, on_timer);
    scene.other = timer_new(scene.base, on_timer, &scene);
    timer_start(scene.other, UINT64_MAX);
    timer_start(scene.timer, 20);
    event_base_loop(scene.base, EVLOOP_ONCE);
    assert_int_equal(scene.calls, 1);
    assert_true(timer_is_running(scene.other));
    timer_free(scene.other);
    teardown(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_back_once_and_not_before_its_time),
        cmocka_unit_test(test_is_started_anew_from_its_callback),
        cmocka_unit_test(test_counts_from_its_last_start),
        cmocka_unit_test(test_does_not_call_back_once_stopped),
        cmocka_unit_test(test_does_not_call_back_once_stopped_by_another_that_is_due),
        cmocka_unit_test(test_is_freed_in_its_callback_and_while_it_runs),
        cmocka_unit_test(test_a_delay_without_end_does_not_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
