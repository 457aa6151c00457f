/* SPDX-License-Identifier: MIT */
/* A part of the running slot on its way into the target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/config/config.h"
#include "daemon/host/carry.h"
#include "tests/unit/device_scene.h"
#include "tests/unit/publisher.h"

enum { SIZE = 20 * 1000 * 1000 + 7 };

struct run {
    struct fixture *scene;       /* its loop device is the target where there is one */
    char *names[4];              /* root-a, root-b, part-a, part-b */
    struct config_part parts[2]; /* "boot", and "app", which not every test has */
    struct slots *slots;
    struct event_base *base;
    struct pool *pool;
    struct carry_settings settings;
    struct carry *carry;
    uint8_t *image;
    struct carry_progress progress;
    unsigned readies, dones, cached;
    bool cancel_when_ready, cancel_while_copied, cancel_while_verified, change_while_copied,
        swap_while_checked;
    bool failed;
    struct error error;
    struct targets *targets;
};

static uint64_t total_bytes(const struct run *run)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < run->settings.count; i++)
        total += run->settings.parts[i].bytes;
    return total;
}

static void on_ready(void *owner)
{
    struct run *run = owner;

    run->readies++;
    assert_int_equal(run->progress.bytes_checked, total_bytes(run));
    assert_int_equal(run->progress.bytes_copied, 0);
    if (run->cancel_when_ready)
        carry_cancel(run->carry);
    else
        carry_go_on(run->carry);
}

static void change_source(const struct run *run)
{
    CLEANUP_FD int fd = open(run->names[2], O_WRONLY | O_CLOEXEC);

    assert_int_equal(pwrite(fd, "changed", 7, SIZE - 100), 7);
}

static void on_progress(void *owner, const struct carry_progress *progress)
{
    struct run *run = owner;

    assert_true(progress->bytes_checked >= run->progress.bytes_checked);
    assert_true(progress->bytes_copied >= run->progress.bytes_copied);
    assert_true(progress->bytes_verified >= run->progress.bytes_verified);
    assert_true(progress->bytes_written <= progress->bytes_copied);
    run->progress = *progress;
    if (run->swap_while_checked && progress->bytes_checked < total_bytes(run)) {
        unlink(run->names[3]);
        assert_int_equal(symlink("root-b", run->names[3]), 0);
    }
    if (run->change_while_copied && progress->bytes_copied && !progress->bytes_verified)
        change_source(run);
    if ((run->cancel_while_copied && progress->bytes_copied) ||
        (run->cancel_while_verified && progress->bytes_verified))
        carry_cancel(run->carry);
}

static void on_cached(void *owner, const struct error *why)
{
    (void)why;
    ((struct run *)owner)->cached++;
}

static void on_done(void *owner, const struct error *error)
{
    struct run *run = owner;

    run->dones++;
    run->failed = error != NULL;
    if (error)
        run->error = *error;
    else {
        run->targets = targets_new();
        carry_take_targets(run->carry, run->targets);
    }
    run->carry = carry_free(run->carry);
    event_base_loopbreak(run->base);
}

static int setup(void **state)
{
    struct run *run = alloc_zeroed(sizeof(*run));
    static const char *const files[] = {"root-a", "root-b", "part-a", "part-b"};
    struct dice dice = {1};

    device_scene_set_up((void **)&run->scene);
    for (int i = 0; i < 4; i++)
        run->names[i] = alloc_printf("%s/%s", run->scene->folder, files[i]);
    free(folder_write(run->scene->folder, "root-a", "a", 1));
    free(folder_write(run->scene->folder, "root-b", "b", 1));
    run->image = alloc_zeroed(SIZE);
    dice_fill(&dice, run->image, SIZE);
    free(folder_write(run->scene->folder, "part-a", run->image, SIZE));
    run->base = event_base_new();
    assert_true(pool_new(run->base, 2, &run->pool, NULL));
    run->settings =
        (struct carry_settings){.target = SLOT_B, .parts = {{.name = "boot", .bytes = SIZE}}, .count = 1};
    digest_sha256(run->image, SIZE, run->settings.parts[0].sha256);
    *state = run;
    return 0;
}

static int teardown(void **state)
{
    struct run *run = *state;

    pool_free(run->pool);
    event_base_free(run->base);
    targets_close(run->targets);
    slots_free(run->slots);
    for (int i = 0; i < 4; i++)
        free(run->names[i]);
    free(run->image);
    device_scene_tear_down((void **)&run->scene);
    free(run);
    return 0;
}

/* Finds the slots as the daemon does, and carries to its end. */
static void carry_to(struct run *run, const char *part_b)
{
    static const struct carry_events events = {
        .ready = on_ready, .progress = on_progress, .read_back_cached = on_cached, .done = on_done};
    struct slots_request request = {
        .names = {run->names[0], run->names[1]},
        .parts = run->parts,
        .part_count = run->settings.count,
        .selected = SLOT_A,
        .judge_names = true,
        .names_by_content = true,
    };
    CLEANUP_FREE char *name = alloc_string(part_b);

    strcpy(run->parts[0].name, "boot");
    run->parts[0].slot_names[SLOT_A] = run->names[2];
    run->parts[0].slot_names[SLOT_B] = name;
    run->slots = slots_free(run->slots);
    if (!slots_find(&request, &run->slots, &run->error))
        fail_msg("%s", run->error.message);
    run->settings.slots = run->slots;
    run->progress = (struct carry_progress){0};
    run->readies = run->dones = 0;
    run->targets = targets_close(run->targets);
    run->carry = carry_start(run->pool, &run->settings, &events, run);
    assert_int_equal(event_base_dispatch(run->base), 0);
    assert_int_equal(run->dones, 1);
    assert_null(run->carry);
}

static void assert_failed(const struct run *run, enum error_kind kind, const char *words)
{
    assert_true(run->failed);
    if (run->error.kind != kind || !strstr(run->error.message, words))
        fail_msg("%s: %s", error_kind_name(run->error.kind), run->error.message);
}

static void assert_carried(const struct run *run, const char *path)
{
    CLEANUP_FREE uint8_t *data = alloc_zeroed(SIZE);

    if (run->failed)
        fail_msg("%s", run->error.message);
    assert_int_equal(run->readies, 1);
    assert_int_equal(run->progress.bytes_checked, SIZE);
    assert_int_equal(run->progress.bytes_copied, SIZE);
    assert_int_equal(run->progress.bytes_verified, SIZE);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(file_pread_full(fd, data, SIZE, 0), 0);
    assert_memory_equal(data, run->image, SIZE);
}

static void assert_size(const char *path, off_t size)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, size);
}

static void test_a_file_is_made_and_held(void **state)
{
    struct run *run = *state;

    carry_to(run, run->names[3]);
    assert_carried(run, run->names[3]);
    assert_int_equal(run->progress.bytes_written, SIZE);
    /* It is locked as long as it is held. */
    CLEANUP_FD int fd = open(run->names[3], O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    run->targets = targets_close(run->targets);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
}

static void test_what_is_right_is_kept_and_what_is_more_is_cut_off(void **state)
{
    struct run *run = *state;
    CLEANUP_FREE uint8_t *before = alloc_zeroed(SIZE + 5000);

    memcpy(before, run->image, SIZE);
    before[7 * 1000 * 1000] ^= 1;
    free(folder_write(run->scene->folder, "part-b", before, SIZE + 5000));
    carry_to(run, run->names[3]);
    assert_carried(run, run->names[3]);
    assert_int_equal(run->progress.bytes_written, 1024 * 1024);
    assert_size(run->names[3], SIZE);
    carry_to(run, run->names[3]);
    assert_carried(run, run->names[3]);
    assert_int_equal(run->progress.bytes_written, 0);
}

static void test_a_block_device(void **state)
{
    struct run *run = *state;
    CLEANUP_FREE uint8_t *before = alloc_zeroed(SIZE + 1000);

    if (!device_scene_attach(run->scene, before, (SIZE + 1000) / 512 * 512, 0))
        skip();
    carry_to(run, run->scene->loop);
    assert_carried(run, run->scene->loop);
    assert_int_equal(run->cached, 0);
    /* It is held, too. */
    CLEANUP_FD int fd = open(run->scene->loop, O_RDWR | O_EXCL | O_CLOEXEC);
    assert_int_equal(fd, -1);
}

static void test_a_block_device_that_is_too_small(void **state)
{
    struct run *run = *state;
    CLEANUP_FREE uint8_t *before = alloc_zeroed(1 << 20), *after = alloc_zeroed(1 << 20);

    if (!device_scene_attach(run->scene, before, 1 << 20, 0))
        skip();
    carry_to(run, run->scene->loop);
    assert_failed(run, ERROR_REFUSED, "does not fit into");
    CLEANUP_FD int fd = open(run->scene->backing, O_RDONLY | O_CLOEXEC);
    assert_int_equal(file_pread_full(fd, after, 1 << 20, 0), 0);
    assert_memory_equal(before, after, 1 << 20);
}

static void test_a_source_that_is_not_what_is_recorded(void **state)
{
    struct run *run = *state;

    change_source(run);
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_REFUSED, "it is not what was installed there");
    assert_int_equal(run->readies, 0);
    assert_int_equal(access(run->names[3], F_OK), -1);
    assert_int_equal(truncate(run->names[2], SIZE + 1), 0);
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_REFUSED, "it has another size");
    assert_int_equal(truncate(run->names[2], SIZE - 1), 0);
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_REFUSED, "it has another size");
    unlink(run->names[2]);
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_SYSTEM, run->names[2]);
    assert_int_equal(access(run->names[3], F_OK), -1);
}

static void test_a_source_that_changes_while_it_is_copied(void **state)
{
    struct run *run = *state;

    run->change_while_copied = true;
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_REFUSED, "it changed while it was copied");
    assert_int_equal(run->readies, 1);
    assert_int_equal(run->progress.bytes_verified, 0);
    assert_null(run->targets);
}

static void test_a_target_that_became_something_else(void **state)
{
    struct run *run = *state;

    run->swap_while_checked = true;
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_REFUSED, "the same storage");
    assert_size(run->names[1], 1);
}

/* It is found out before anything else of the slot is written. */
static void test_a_target_that_is_held(void **state)
{
    struct run *run = *state;

    free(folder_write(run->scene->folder, "part-b", "x", 1));
    CLEANUP_FD int fd = open(run->names[3], O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_REFUSED, "in use");
    assert_int_equal(run->readies, 0);
    assert_size(run->names[3], 1);
}

static void test_cancelling(void **state)
{
    struct run *run = *state;

    run->cancel_when_ready = true;
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_CANCELLED, "");
    assert_size(run->names[3], 0);
    run->cancel_when_ready = false;
    run->cancel_while_copied = true;
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_CANCELLED, "");
    assert_true(run->progress.bytes_copied < SIZE);
    run->cancel_while_copied = false;
    run->cancel_while_verified = true;
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_CANCELLED, "");
    assert_true(run->progress.bytes_verified < SIZE);
    /* What was left behind is no obstacle. */
    run->cancel_while_verified = false;
    carry_to(run, run->names[3]);
    assert_carried(run, run->names[3]);
}

/* Each is proved and its place held before the first is written; one that fails takes the others along. */
static void test_two_parts(void **state)
{
    struct run *run = *state;
    struct carry_part *app = &run->settings.parts[run->settings.count++];
    CLEANUP_FREE char *app_a = folder_write(run->scene->folder, "app-a", run->image, 3 * 1000 * 1000);
    CLEANUP_FREE char *app_b = alloc_printf("%s/app-b", run->scene->folder);

    *app = (struct carry_part){.name = "app", .bytes = 3 * 1000 * 1000};
    digest_sha256(run->image, app->bytes, app->sha256);
    strcpy(run->parts[1].name, "app");
    run->parts[1].slot_names[SLOT_A] = app_a;
    run->parts[1].slot_names[SLOT_B] = app_b;
    carry_to(run, run->names[3]);
    assert_false(run->failed);
    assert_int_equal(run->readies, 1);
    assert_int_equal(run->progress.bytes_checked, total_bytes(run));
    assert_int_equal(run->progress.bytes_copied, total_bytes(run));
    assert_int_equal(run->progress.bytes_verified, total_bytes(run));
    assert_true(file_holds(run->names[3], run->image, SIZE));
    assert_true(file_holds(app_b, run->image, app->bytes));
    assert_int_equal(run->targets->count, 2);
    assert_string_equal(run->targets->list[0].name, "boot");
    assert_string_equal(run->targets->list[1].name, "app");
    assert_int_equal(run->targets->list[1].image_bytes, app->bytes);

    /* The second is not what is recorded: nothing of the first is written. */
    unlink(run->names[3]);
    run->targets = targets_close(run->targets);
    app->sha256[0] ^= 1;
    carry_to(run, run->names[3]);
    assert_failed(run, ERROR_REFUSED, "app");
    assert_int_equal(run->readies, 0);
    assert_size(run->names[3], 0);
    assert_null(run->targets);
    CLEANUP_FD int fd = open(run->names[3], O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
}

static void test_an_empty_part(void **state)
{
    struct run *run = *state;

    free(folder_write(run->scene->folder, "part-a", "", 0));
    run->settings.parts[0].bytes = 0;
    digest_sha256("", 0, run->settings.parts[0].sha256);
    carry_to(run, run->names[3]);
    assert_false(run->failed);
    assert_size(run->names[3], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_is_made_and_held, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_right_is_kept_and_what_is_more_is_cut_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_block_device, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_block_device_that_is_too_small, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_source_that_is_not_what_is_recorded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_source_that_changes_while_it_is_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_target_that_became_something_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_target_that_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_part, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
