/* SPDX-License-Identifier: MIT */
#include "common/io/later.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/io/timer.h"

struct scene {
    struct event_base *base;
    struct later *later;
    struct timer *timer;
    unsigned calls, calls_wanted;
    bool in_callback;
};

static void on_later(void *owner)
{
    struct scene *scene = owner;

    assert_false(scene->in_callback);
    if (++scene->calls < scene->calls_wanted)
        later_call(scene->later);
}

static void on_timer(void *owner)
{
    struct scene *scene = owner;

    scene->in_callback = true;
    later_call(scene->later);
    later_call(scene->later);
    scene->in_callback = false;
}

static void setup(struct scene *scene, later_fn fn)
{
    *scene = (struct scene){.base = event_base_new()};
    scene->later = later_new(scene->base, fn, scene);
    scene->timer = timer_new(scene->base, on_timer, scene);
}

static void teardown(struct scene *scene)
{
    assert_null(later_free(scene->later));
    timer_free(scene->timer);
    event_base_free(scene->base);
}

static void test_is_called_once_and_after_the_callback_that_asks(void **state)
{
    struct scene scene;

    setup(&scene, on_later);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 0);
    timer_start(scene.timer, 0);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 1);
    teardown(&scene);
}

/* From outside of the loop it is not called before the loop runs, and that does not wait for anything else.
 */
static void test_is_asked_for_before_the_loop_runs(void **state)
{
    struct scene scene;

    setup(&scene, on_later);
    timer_start(scene.timer, UINT64_MAX);
    later_call(scene.later);
    assert_int_equal(scene.calls, 0);
    event_base_loop(scene.base, EVLOOP_ONCE);
    assert_int_equal(scene.calls, 1);
    teardown(&scene);
}

static void test_is_asked_for_anew_from_its_callback(void **state)
{
    struct scene scene;

    setup(&scene, on_later);
    scene.calls_wanted = 3;
    later_call(scene.later);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 3);
    teardown(&scene);
}

static void test_is_not_called_once_freed(void **state)
{
    struct scene scene;

    setup(&scene, on_later);
    struct later *other = later_new(scene.base, on_later, &scene);
    later_call(other);
    later_free(other);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 0);
    teardown(&scene);
}

static void on_later_free(void *owner)
{
    struct scene *scene = owner;

    scene->calls++;
    scene->later = later_free(scene->later);
}

static void test_is_freed_in_its_callback(void **state)
{
    struct scene scene;

    setup(&scene, on_later_free);
    later_call(scene.later);
    event_base_dispatch(scene.base);
    assert_int_equal(scene.calls, 1);
    teardown(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_called_once_and_after_the_callback_that_asks),
        cmocka_unit_test(test_is_asked_for_before_the_loop_runs),
        cmocka_unit_test(test_is_asked_for_anew_from_its_callback),
        cmocka_unit_test(test_is_not_called_once_freed),
        cmocka_unit_test(test_is_freed_in_its_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
