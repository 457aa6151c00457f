/* SPDX-License-Identifier: MIT */
/* daemon/parts/trial_runner; what the checks themselves are is test_health.c. */
#include "daemon/parts/trial_runner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

struct scene {
    char folder[64]; /* of the checks, of which there is one */
    char check[96];
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
    struct trial_runner *runner;
    unsigned judged;
};

static void on_judged(void *owner)
{
    struct scene *scene = owner;

    scene->judged++;
    assert_false(trial_runner_is_checking(scene->runner));
    event_base_loopbreak(scene->base);
}

static void on_again(void *owner)
{
    fail();
}

static const struct trial_runner_events runner_events = {.judged = on_judged, .again = on_again};

static int scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct error error;

    snprintf(scene->folder, sizeof(scene->folder), "/tmp/test_trial_runner.XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->check, sizeof(scene->check), "%s/10-check", scene->folder);
    scene->base = event_base_new();
    assert_true(pool_new(scene->base, 1, &scene->pool, &error));
    scene->processes = processes_new(scene->base, &error);
    struct trial_runner_deps deps = {.base = scene->base, .pool = scene->pool, .processes = scene->processes};
    scene->runner = trial_runner_new(&deps, &runner_events, scene);
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;

    trial_runner_free(scene->runner);
    pool_free(scene->pool);
    processes_free(scene->processes);
    event_base_free(scene->base);
    unlink(scene->check);
    rmdir(scene->folder);
    free(scene);
    return 0;
}

/* Begins with one check of this text. */
static void check(struct scene *scene, const char *script)
{
    struct health_options options = {.folder = scene->folder, .timeout_ms = 60 * 1000};
    FILE *file = fopen(scene->check, "w");

    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", script);
    fclose(file);
    assert_int_equal(chmod(scene->check, 0755), 0);
    trial_runner_check(scene->runner, &options);
    assert_true(trial_runner_is_checking(scene->runner));
    assert_non_null(trial_runner_describe(scene->runner));
}

static void test_checks_make_the_verdict(void **state)
{
    struct scene *scene = *state;
    const struct trial_verdict *verdict = trial_runner_verdict(scene->runner);

    check(scene, "echo first; echo last; exit 3");
    event_base_dispatch(scene->base);
    assert_int_equal(scene->judged, 1);
    assert_false(verdict->good);
    assert_non_null(strstr(verdict->reason, "10-check"));
    assert_string_equal(verdict->output, "first\nlast");
    assert_null(trial_runner_describe(scene->runner));
    check(scene, "exit 0");
    event_base_dispatch(scene->base);
    assert_int_equal(scene->judged, 2);
    assert_true(verdict->good);
    assert_string_equal(verdict->reason, "");
    assert_string_equal(verdict->output, "");
}

static void test_an_operators_word(void **state)
{
    struct scene *scene = *state;
    const struct trial_verdict *verdict = trial_runner_verdict(scene->runner);

    check(scene, "echo no; exit 1");
    event_base_dispatch(scene->base);
    trial_runner_decide(scene->runner, NULL);
    assert_true(verdict->good);
    assert_string_equal(verdict->reason, "");
    check(scene, "echo no; exit 1");
    event_base_dispatch(scene->base);
    trial_runner_decide(scene->runner, "marked bad");
    assert_false(verdict->good);
    assert_string_equal(verdict->reason, "marked bad");
    /* It is no check's. */
    assert_string_equal(verdict->output, "");
    assert_int_equal(scene->judged, 2);
}

/* The second check ends, and the first one does not any more. */
static void test_checks_that_are_cancelled(void **state)
{
    struct scene *scene = *state;

    check(scene, "exec sleep 60");
    trial_runner_cancel(scene->runner);
    assert_false(trial_runner_is_checking(scene->runner));
    check(scene, "exec sleep 60");
    check(scene, "exit 0");
    event_base_dispatch(scene->base);
    assert_int_equal(scene->judged, 1);
    assert_true(trial_runner_verdict(scene->runner)->good);
    check(scene, "exec sleep 60");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_checks_make_the_verdict, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_an_operators_word, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_checks_that_are_cancelled, scene_setup, scene_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
