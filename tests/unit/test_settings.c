/* SPDX-License-Identifier: MIT */
#include "daemon/parts/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "tests/unit/config_scene.h"

#define HOURLY  MINIMAL "[Update]\nInterval=1h\n"
#define OTHER_A "[Update]\nUrl=http://host/rootfs.img\n[Slots]\nA=/dev/sda4\nB=/dev/sda3\n"

struct fixture {
    struct scene *scene;
    struct config_request request;
    struct event_base *base;
    struct pool *pool;
    struct settings *settings;
    unsigned read;
    bool loaded;
};

static void on_read(void *owner, bool loaded)
{
    struct fixture *fixture = owner;

    fixture->read++;
    fixture->loaded = loaded;
}

static int setup(void **state)
{
    static const struct settings_events events = {.read = on_read};
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));

    scene_set_up((void **)&fixture->scene);
    scene_put_file(fixture->scene, ETC, MINIMAL);
    assert_true(scene_load(fixture->scene));
    fixture->request.root = fixture->scene->root;
    fixture->base = event_base_new();
    assert_true(pool_new(fixture->base, 1, &fixture->pool, NULL));
    struct settings_deps deps = {.pool = fixture->pool, .request = &fixture->request};
    fixture->settings = settings_new(&deps, &events, fixture, fixture->scene->config);
    fixture->scene->config = NULL;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    pool_free(fixture->pool);
    assert_null(settings_free(fixture->settings));
    event_base_free(fixture->base);
    scene_tear_down((void **)&fixture->scene);
    free(fixture);
    return 0;
}

static void run_until_idle(struct fixture *fixture)
{
    while (settings_is_busy(fixture->settings))
        event_base_loop(fixture->base, EVLOOP_ONCE);
}

static void reload(struct fixture *fixture, const char *text)
{
    scene_put_file(fixture->scene, ETC, text);
    settings_reload(fixture->settings);
    run_until_idle(fixture);
}

static void test_new_settings_wait_until_they_are_taken(void **state)
{
    struct fixture *fixture = *state;

    assert_null(settings_next(fixture->settings));
    reload(fixture, HOURLY);
    assert_true(fixture->loaded);
    const struct config *next = settings_next(fixture->settings);
    assert_int_equal(next->interval_ms, 3600 * 1000);
    settings_take(fixture->settings);
    assert_null(settings_next(fixture->settings));
}

static void test_settings_with_a_mistake_are_not_for_taking(void **state)
{
    struct fixture *fixture = *state;

    reload(fixture, "[Update]\nUrl=\n");
    assert_int_equal(fixture->read, 1);
    assert_false(fixture->loaded);
    assert_null(settings_next(fixture->settings));
    /* Nor do they take the place of those that wait. */
    reload(fixture, HOURLY);
    reload(fixture, "[Update]\nUrl=\n");
    assert_false(fixture->loaded);
    assert_non_null(settings_next(fixture->settings));
    settings_drop(fixture->settings);
    assert_null(settings_next(fixture->settings));
}

/* What was read before the second word came may be older than it. */
static void test_a_second_reload_reads_once_more(void **state)
{
    struct fixture *fixture = *state;

    scene_put_file(fixture->scene, ETC, HOURLY);
    settings_reload(fixture->settings);
    settings_reload(fixture->settings);
    settings_reload(fixture->settings);
    run_until_idle(fixture);
    assert_int_equal(fixture->read, 1);
    assert_true(fixture->loaded);
    reload(fixture, HOURLY);
    assert_int_equal(fixture->read, 2);
}

static void test_what_takes_a_restart(void **state)
{
    struct fixture *fixture = *state;

    reload(fixture, MINIMAL "[Update]\nInterval=1h\n");
    assert_false(settings_next_needs_restart(fixture->settings));
    reload(fixture, OTHER_A);
    assert_true(settings_next_needs_restart(fixture->settings));
    /* It is told against the start, and not against what was taken since. */
    settings_take(fixture->settings);
    reload(fixture, OTHER_A);
    assert_true(settings_next_needs_restart(fixture->settings));
    reload(fixture, MINIMAL "[Part boot]\nA=/dev/sda5\nB=/dev/sda6\n");
    assert_true(settings_next_needs_restart(fixture->settings));
    reload(fixture, MINIMAL);
    assert_false(settings_next_needs_restart(fixture->settings));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new_settings_wait_until_they_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings_with_a_mistake_are_not_for_taking, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_second_reload_reads_once_more, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_takes_a_restart, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
