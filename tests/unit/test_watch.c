/* SPDX-License-Identifier: MIT */
#include "common/io/watch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/io/loop.h"
#include "common/io/timer.h"

struct scene {
    struct event_base *base;
    struct watch *watch;
    int ends[2]; /* of a pipe */
    unsigned calls, calls_wanted;
    int number;
};

static void setup(struct scene *scene)
{
    *scene = (struct scene){.calls_wanted = 1};
    assert_true(loop_new(&scene->base, NULL));
    assert_int_equal(pipe2(scene->ends, O_CLOEXEC | O_NONBLOCK), 0);
}

static void teardown(struct scene *scene)
{
    assert_null(watch_free(scene->watch));
    loop_free(scene->base);
    close(scene->ends[0]);
    close(scene->ends[1]);
}

static void on_ready(void *owner, int number)
{
    struct scene *scene = owner;

    scene->number = number;
    if (++scene->calls == scene->calls_wanted)
        watch_stop(scene->watch);
}

/* What nobody reads is told of again; the loop ends when nothing is watched any more. */
static void test_bytes_are_told_of_until_it_is_stopped(void **state)
{
    struct scene scene;

    setup(&scene);
    scene.calls_wanted = 3;
    scene.watch = watch_new(scene.base, WATCH_READABLE, scene.ends[0], on_ready, &scene);
    assert_true(watch_start(scene.watch));
    loop_run_ready(scene.base);
    assert_int_equal(scene.calls, 0);
    assert_int_equal(write(scene.ends[1], "x", 1), 1);
    loop_run(scene.base);
    assert_int_equal(scene.calls, 3);
    assert_int_equal(scene.number, scene.ends[0]);
    teardown(&scene);
}

static void test_room_is_told_of(void **state)
{
    struct scene scene;

    setup(&scene);
    scene.watch = watch_new(scene.base, WATCH_WRITABLE, scene.ends[1], on_ready, &scene);
    assert_true(watch_start(scene.watch));
    loop_run(scene.base);
    assert_int_equal(scene.calls, 1);
    teardown(&scene);
}

static void test_nothing_is_watched_before_it_is_started(void **state)
{
    struct scene scene;

    setup(&scene);
    scene.watch = watch_new(scene.base, WATCH_WRITABLE, scene.ends[1], on_ready, &scene);
    watch_stop(scene.watch);
    loop_run(scene.base);
    assert_int_equal(scene.calls, 0);
    teardown(&scene);
}

static void on_first_ready(void *owner, int number)
{
    struct scene *scene = owner;

    scene->calls++;
    watch_stop(scene->watch);
}

static void on_pause_over(void *owner)
{
    struct scene *scene = owner;

    assert_true(watch_start(scene->watch));
}

static void test_is_started_again(void **state)
{
    struct scene scene;

    setup(&scene);
    scene.watch = watch_new(scene.base, WATCH_WRITABLE, scene.ends[1], on_first_ready, &scene);
    struct timer *pause = timer_new(scene.base, on_pause_over, &scene);
    assert_true(watch_start(scene.watch));
    timer_start(pause, 1);
    loop_run(scene.base);
    assert_int_equal(scene.calls, 2);
    timer_free(pause);
    teardown(&scene);
}

static void on_ready_free(void *owner, int number)
{
    struct scene *scene = owner;

    scene->calls++;
    scene->watch = watch_free(scene->watch);
}

static void test_is_freed_in_its_callback(void **state)
{
    struct scene scene;

    setup(&scene);
    scene.watch = watch_new(scene.base, WATCH_WRITABLE, scene.ends[1], on_ready_free, &scene);
    assert_true(watch_start(scene.watch));
    loop_run(scene.base);
    assert_int_equal(scene.calls, 1);
    teardown(&scene);
}

static void on_signal(void *owner, int number)
{
    struct scene *scene = owner;

    on_ready(owner, number);
    loop_end(scene->base);
}

static void test_a_signal_is_told_of_and_left_to_itself_again(void **state)
{
    struct scene scene;
    struct sigaction action;

    setup(&scene);
    scene.watch = watch_new(scene.base, WATCH_SIGNAL, SIGUSR1, on_signal, &scene);
    assert_true(watch_start(scene.watch));
    assert_int_equal(raise(SIGUSR1), 0);
    loop_run(scene.base);
    assert_int_equal(scene.calls, 1);
    assert_int_equal(scene.number, SIGUSR1);
    assert_int_equal(sigaction(SIGUSR1, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
    teardown(&scene);
}

static void test_a_regular_file_cannot_be_watched(void **state)
{
    struct scene scene;
    char path[] = "/tmp/moonsinter-watch-XXXXXX";

    setup(&scene);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    scene.watch = watch_new(scene.base, WATCH_WRITABLE, fd, on_ready, &scene);
    assert_false(watch_start(scene.watch));
    loop_run(scene.base);
    assert_int_equal(scene.calls, 0);
    teardown(&scene);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_told_of_until_it_is_stopped),
        cmocka_unit_test(test_room_is_told_of),
        cmocka_unit_test(test_nothing_is_watched_before_it_is_started),
        cmocka_unit_test(test_is_started_again),
        cmocka_unit_test(test_is_freed_in_its_callback),
        cmocka_unit_test(test_a_signal_is_told_of_and_left_to_itself_again),
        cmocka_unit_test(test_a_regular_file_cannot_be_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
