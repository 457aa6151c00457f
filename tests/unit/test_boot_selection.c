/* SPDX-License-Identifier: MIT */
#include "daemon/parts/boot_selection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

enum { SLOT_BYTES = 256 * 1024 };

struct scene {
    char root[64];
    struct config config;
    struct event_base *base;
    struct pool *pool;
    struct boot_selection *selection;
    uint64_t wanted[SLOT_COUNT]; /* what `ask_prints` says */
    unsigned begun, ended, looked;
    unsigned done;
    bool failed;
    struct error error;
};

static void on_began(void *owner)
{
    struct scene *scene = owner;

    scene->begun++;
}

static void on_ended(void *owner)
{
    struct scene *scene = owner;

    scene->ended++;
}

static void on_ask_prints(void *owner, struct boot_prints *prints)
{
    const struct scene *scene = owner;

    for (int i = 0; i < SLOT_COUNT; i++) {
        prints->count[i] = 2;
        strcpy(prints->list[i][0].name, MANIFEST_MAIN_NAME);
        prints->list[i][0].bytes = scene->wanted[i];
        /* The settings have no such part. */
        strcpy(prints->list[i][1].name, "boot");
        prints->list[i][1].bytes = scene->wanted[i];
    }
}

static void on_look_due(void *owner)
{
}

static void on_looked(void *owner, bool changed)
{
    struct scene *scene = owner;

    assert_false(changed);
    scene->looked++;
}

static void on_done(void *owner, const struct error *error)
{
    struct scene *scene = owner;

    scene->done++;
    scene->failed = error != NULL;
    if (error)
        scene->error = *error;
}

static void write_slot(const char *path, char byte)
{
    char *bytes = alloc_zeroed(SLOT_BYTES);

    memset(bytes, byte, SLOT_BYTES);
    assert_true(file_replace(path, bytes, SLOT_BYTES, 0600, NULL));
    free(bytes);
}

static int setup(void **state)
{
    static const struct boot_selection_events events = {
        .began = on_began,
        .ended = on_ended,
        .ask_prints = on_ask_prints,
        .look_due = on_look_due,
        .looked = on_looked,
    };
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    strcpy(scene->root, "/tmp/test_boot_selection.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    scene->config.backend = CONFIG_BACKEND_FILE;
    scene->config.tries = 2;
    scene->config.selection_file = alloc_printf("%s/selection.json", scene->root);
    scene->config.slot_names[SLOT_A] = alloc_printf("%s/a.img", scene->root);
    scene->config.slot_names[SLOT_B] = alloc_printf("%s/b.img", scene->root);
    write_slot(scene->config.slot_names[SLOT_A], 'a');
    write_slot(scene->config.slot_names[SLOT_B], 'b');
    scene->base = event_base_new();
    assert_true(pool_new(scene->base, 1, &scene->pool, NULL));
    struct boot_selection_deps deps = {.base = scene->base, .pool = scene->pool, .config = &scene->config};
    if (!boot_selection_new(&deps, &events, scene, &scene->selection, &scene->error))
        fail_msg("%s", scene->error.message);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -r %s", scene->root);

    pool_free(scene->pool);
    assert_null(boot_selection_free(scene->selection));
    event_base_free(scene->base);
    assert_int_equal(system(command), 0);
    free(scene->config.selection_file);
    free(scene->config.slot_names[SLOT_A]);
    free(scene->config.slot_names[SLOT_B]);
    free(scene);
    return 0;
}

static void run_until_idle(struct scene *scene)
{
    while (boot_selection_is_busy(scene->selection))
        event_base_loop(scene->base, EVLOOP_ONCE);
}

static void run_task(struct scene *scene, enum boot_task_kind kind, enum slot slot)
{
    boot_selection_submit(scene->selection, kind, slot, NULL, on_done);
    run_until_idle(scene);
    if (scene->failed)
        fail_msg("%s", scene->error.message);
}

static void arm(struct scene *scene, const char *path)
{
    struct targets *held = targets_new();
    struct device *device;

    assert_true(device_open_source(path, &device, NULL));
    targets_add(held, MANIFEST_MAIN_NAME, device, SLOT_BYTES);
    boot_selection_arm(scene->selection, SLOT_B, held, on_done);
    run_until_idle(scene);
}

static void test_what_was_written_is_armed(void **state)
{
    struct scene *scene = *state;
    const struct boot_view *view = boot_selection_view(scene->selection);

    assert_int_equal(view->running, SLOT_A);
    run_task(scene, BOOT_TASK_CHECK_SLOT, SLOT_NONE);
    run_task(scene, BOOT_TASK_INVALIDATE, SLOT_B);
    assert_int_equal(view->boot.next, SLOT_A);
    arm(scene, scene->config.slot_names[SLOT_B]);
    assert_false(scene->failed);
    assert_int_equal(scene->done, 3);
    assert_ptr_equal(boot_selection_view(scene->selection), view);
    assert_int_equal(view->boot.next, SLOT_B);
    assert_int_equal(view->boot.trial, SLOT_B);
    assert_int_equal(boot_selection_armed(scene->selection)->list[0].seen.bytes, SLOT_BYTES);
}

/* Its name leads to another file by now than the one that was verified. */
static void test_what_was_not_written_is_not_armed(void **state)
{
    struct scene *scene = *state;
    const struct boot_view *view = boot_selection_view(scene->selection);
    CLEANUP_FREE char *other = alloc_printf("%s/c.img", scene->root);

    write_slot(other, 'b');
    arm(scene, other);
    assert_true(scene->failed);
    assert_int_equal(scene->error.kind, ERROR_SYSTEM);
    assert_int_equal(view->boot.next, SLOT_A);
}

static void arm_set(struct scene *scene, const char *part_path)
{
    struct targets *held = targets_new();
    struct device *device;

    assert_true(device_open_source(part_path, &device, NULL));
    targets_add(held, "app", device, SLOT_BYTES / 2);
    assert_true(device_open_source(scene->config.slot_names[SLOT_B], &device, NULL));
    targets_add(held, MANIFEST_MAIN_NAME, device, SLOT_BYTES);
    boot_selection_arm(scene->selection, SLOT_B, held, on_done);
    run_until_idle(scene);
}

/* That holds for each image of a set, and each has a fingerprint. */
static void test_a_part_that_was_not_written_is_not_armed(void **state)
{
    struct scene *scene = *state;
    struct config_part *part = &scene->config.parts[scene->config.part_count++];
    CLEANUP_FREE char *other = alloc_printf("%s/app-c", scene->root);

    strcpy(part->name, "app");
    part->slot_names[SLOT_A] = alloc_printf("%s/app-a", scene->root);
    part->slot_names[SLOT_B] = alloc_printf("%s/app-b", scene->root);
    write_slot(part->slot_names[SLOT_A], '1');
    write_slot(part->slot_names[SLOT_B], '2');
    write_slot(other, '2');
    arm_set(scene, other);
    assert_true(scene->failed);
    assert_int_equal(scene->error.kind, ERROR_SYSTEM);
    assert_int_equal(boot_selection_view(scene->selection)->boot.next, SLOT_A);

    arm_set(scene, part->slot_names[SLOT_B]);
    assert_false(scene->failed);
    assert_int_equal(boot_selection_view(scene->selection)->boot.next, SLOT_B);
    const struct boot_armed *armed = boot_selection_armed(scene->selection);
    assert_int_equal(armed->count, 2);
    assert_string_equal(armed->list[0].name, "app");
    assert_int_equal(armed->list[0].seen.bytes, SLOT_BYTES / 2);
    assert_string_equal(armed->list[1].name, MANIFEST_MAIN_NAME);
    assert_int_equal(armed->list[1].seen.bytes, SLOT_BYTES);
    free(part->slot_names[SLOT_A]);
    free(part->slot_names[SLOT_B]);
    scene->config.part_count = 0;
}

/* Who submits while the part looks by itself waits for the end of that, and looks again. */
static void test_a_task_waits_for_a_look_by_itself(void **state)
{
    struct scene *scene = *state;

    boot_selection_look(scene->selection);
    boot_selection_submit(scene->selection, BOOT_TASK_CHECK_RUNNING, SLOT_NONE, NULL, on_done);
    run_until_idle(scene);
    assert_int_equal(scene->begun, 2);
    assert_int_equal(scene->ended, 2);
    assert_int_equal(scene->done, 1);
    assert_int_equal(scene->looked, 0);
    boot_selection_look(scene->selection);
    run_until_idle(scene);
    assert_int_equal(scene->looked, 1);
    assert_int_equal(scene->done, 1);
}

/* A look that fails says why, and what was seen before stays. */
static void test_a_look_that_fails_keeps_what_was_seen(void **state)
{
    struct scene *scene = *state;
    const struct boot_view *view = boot_selection_view(scene->selection);

    assert_true(file_replace(scene->config.selection_file, "{", 1, 0600, NULL));
    boot_selection_submit(scene->selection, BOOT_TASK_LOOK, SLOT_NONE, NULL, on_done);
    run_until_idle(scene);
    assert_true(scene->failed);
    assert_true(*view->look_why);
    assert_non_null(view->slots);
    assert_int_equal(view->running, SLOT_A);
    assert_int_equal(unlink(scene->config.selection_file), 0);
    run_task(scene, BOOT_TASK_LOOK, SLOT_NONE);
    assert_false(*view->look_why);
}

static void test_slots_are_read_where_it_is_asked_for(void **state)
{
    struct scene *scene = *state;

    scene->wanted[SLOT_B] = SLOT_BYTES;
    boot_selection_submit(scene->selection, BOOT_TASK_LOOK, SLOT_NONE, NULL, on_done);
    run_until_idle(scene);
    const struct boot_prints *prints = boot_selection_prints(scene->selection);
    assert_false(prints->list[SLOT_A][0].is_taken);
    assert_true(prints->list[SLOT_B][0].is_taken);
    assert_int_equal(prints->list[SLOT_B][0].seen.bytes, SLOT_BYTES);
    assert_false(prints->list[SLOT_B][1].is_taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_armed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_not_written_is_not_armed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_part_that_was_not_written_is_not_armed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_task_waits_for_a_look_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_look_that_fails_keeps_what_was_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slots_are_read_where_it_is_asked_for, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
