/* SPDX-License-Identifier: MIT */
/* daemon/parts/rebooter with programs of the test's own in the place of systemctl and reboot, and no bus on
 * which a logind could be asked: nothing here can reach the machine's own. logind's answers are
 * test_logind.c. */
#include "daemon/parts/rebooter.h"

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

#include "common/base/wall_clock.h"

struct scene {
    char folder[64];
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
    struct rebooter *rebooter;
    unsigned answers, judgements, failures, idles;
    bool objected;
    struct error error;
};

static void on_answered(void *owner, const char *why)
{
    struct scene *scene = owner;

    scene->answers++;
    scene->objected = why != NULL;
    event_base_loopbreak(scene->base);
}

static void on_judge(void *owner)
{
    struct scene *scene = owner;

    scene->judgements++;
    event_base_loopbreak(scene->base);
}

static void on_failed(void *owner, const struct error *error)
{
    struct scene *scene = owner;

    scene->failures++;
    scene->error = *error;
    event_base_loopbreak(scene->base);
}

static void on_idle(void *owner)
{
    struct scene *scene = owner;

    scene->idles++;
    assert_false(rebooter_is_busy(scene->rebooter));
}

static const struct rebooter_events rebooter_events = {
    .answered = on_answered, .judge = on_judge, .failed = on_failed, .idle = on_idle};

/* Each of the two programs tells how it was called, and ends with `status`. */
static void write_programs(const struct scene *scene, int status)
{
    static const char *const names[] = {"systemctl", "reboot"};

    for (size_t i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", scene->folder, names[i]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "#!/bin/sh\necho \"%s $*\" >>%s/calls\necho no way\nexit %d\n", names[i], scene->folder,
                status);
        fclose(file);
        assert_int_equal(chmod(path, 0755), 0);
    }
}

static int scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct rebooter_deps deps;
    struct error error;

    snprintf(scene->folder, sizeof(scene->folder), "/tmp/test_rebooter.XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    setenv("PATH", scene->folder, 1);
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", 1);
    scene->base = event_base_new();
    assert_true(pool_new(scene->base, 1, &scene->pool, &error));
    scene->processes = processes_new(scene->base, &error);
    deps = (struct rebooter_deps){.base = scene->base, .pool = scene->pool, .processes = scene->processes};
    scene->rebooter = rebooter_new(&deps, &rebooter_events, scene);
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    static const char *const names[] = {"systemctl", "reboot", "calls"};
    struct scene *scene = *state;

    pool_free(scene->pool);
    processes_free(scene->processes);
    rebooter_free(scene->rebooter);
    event_base_free(scene->base);
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", scene->folder, names[i]);
        unlink(path);
    }
    rmdir(scene->folder);
    free(scene);
    return 0;
}

/* How the programs were called so far. */
static const char *read_calls(const struct scene *scene, char *ret_text, size_t size)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/calls", scene->folder);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(ret_text, 1, size - 1, file) : 0;
    ret_text[length] = 0;
    if (file)
        fclose(file);
    return ret_text;
}

static bool has_systemd(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

static void test_where_there_is_no_logind_nobody_objects(void **state)
{
    struct scene *scene = *state;

    rebooter_ask(scene->rebooter);
    assert_true(rebooter_is_busy(scene->rebooter));
    /* One question at a time. */
    rebooter_ask(scene->rebooter);
    event_base_dispatch(scene->base);
    assert_int_equal(scene->answers, 1);
    assert_int_equal(scene->idles, 1);
    assert_false(scene->objected);
}

static void test_a_command_that_fails(void **state)
{
    struct scene *scene = *state;
    char calls[256];

    write_programs(scene, 3);
    rebooter_reboot(scene->rebooter, NULL, true);
    assert_true(rebooter_is_busy(scene->rebooter));
    event_base_dispatch(scene->base);
    assert_int_equal(scene->failures, 1);
    assert_int_equal(scene->error.kind, ERROR_SYSTEM);
    assert_non_null(strstr(scene->error.message, "no way"));
    assert_string_equal(read_calls(scene, calls, sizeof(calls)),
                        has_systemd() ? "systemctl --no-block reboot\n" : "reboot \n");
}

/* What was asked before is of no interest any more. */
static void test_an_order_while_logind_is_asked(void **state)
{
    struct scene *scene = *state;

    write_programs(scene, 3);
    rebooter_ask(scene->rebooter);
    rebooter_reboot(scene->rebooter, NULL, true);
    event_base_dispatch(scene->base);
    assert_int_equal(scene->failures, 1);
    assert_int_equal(scene->answers, 0);
    assert_int_equal(scene->idles, 2);
    /* It is carried out once. */
    rebooter_ask(scene->rebooter);
    event_base_dispatch(scene->base);
    assert_int_equal(scene->answers, 1);
    assert_int_equal(scene->failures, 1);
}

/* Only systemd hands it on to the kernel. */
static void test_an_argument_for_the_firmware(void **state)
{
    struct scene *scene = *state;
    char calls[256];

    write_programs(scene, 3);
    rebooter_reboot(scene->rebooter, "0 tryboot", true);
    event_base_dispatch(scene->base);
    assert_int_equal(scene->failures, 1);
    assert_int_equal(scene->error.kind, has_systemd() ? ERROR_SYSTEM : ERROR_REFUSED);
    assert_string_equal(read_calls(scene, calls, sizeof(calls)),
                        has_systemd() ? "systemctl --no-block reboot --reboot-argument=0 tryboot\n" : "");
}

static void test_what_holds_it_ends(void **state)
{
    struct scene *scene = *state;
    struct policy_verdict verdict = {.count = 0};

    assert_false(rebooter_hold(scene->rebooter, &verdict));
    policy_add_block(&verdict, "window", "it is not time yet");
    assert_true(rebooter_hold(scene->rebooter, &verdict));
    assert_false(rebooter_hold(scene->rebooter, &verdict));
    verdict.blocks[0].until_s = wall_clock_now_s() + 1;
    assert_true(rebooter_hold(scene->rebooter, &verdict));
    assert_true(policy_verdict_has(rebooter_verdict(scene->rebooter), "window"));
    rebooter_judge_later(scene->rebooter);
    event_base_dispatch(scene->base);
    assert_int_equal(scene->judgements, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_where_there_is_no_logind_nobody_objects, scene_setup,
                                        scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_command_that_fails, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_an_order_while_logind_is_asked, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_an_argument_for_the_firmware, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_holds_it_ends, scene_setup, scene_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
