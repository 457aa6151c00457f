/* SPDX-License-Identifier: MIT */
/* Clones that go well, and what may go wrong with a server, a seed or a target. */
#include "common/sinter/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "tests/unit/clone_fixture.h"

static struct fixture shared;

/* ---- what goes well ---- */

static void test_a_fresh_target_and_then_nothing_to_do(void **state)
{
    fixture_set_up(&shared);
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_true(shared.watch.totals.bytes_fetched < IMAGE_SIZE &&
                shared.watch.totals.bytes_copied > 50 * 1000);
    assert_int_equal(shared.image_file->asked_bytes, shared.watch.totals.bytes_fetched);
    assert_int_equal(shared.watch.progress.bytes_received,
                     shared.watch.totals.bytes_fetched + shared.chunks_size);
    assert_int_equal(shared.watch.progress.bytes_planned, shared.watch.progress.bytes_received);

    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_int_equal(shared.watch.progress.bytes_kept, IMAGE_SIZE);
    assert_int_equal(shared.watch.progress.bytes_written, 0);
    assert_int_equal(shared.image_file->asked_bytes, shared.watch.progress.bytes_planned -
                                                         shared.chunks_size + shared.image_file->sent_bytes);
    fixture_tear_down(&shared);
}

static void test_the_target_itself_is_a_seed(void **state)
{
    fixture_set_up(&shared);
    /* The old content: the image with 1000 bytes more near its begin, and its end missing. */
    CLEANUP_FREE uint8_t *old = alloc_zeroed(IMAGE_SIZE);
    memcpy(old, shared.image, 50 * 1000);
    memcpy(old + 51 * 1000, shared.image + 50 * 1000, IMAGE_SIZE - 51 * 1000 - 20 * 1000);
    free(folder_write(shared.folder, "target", old, IMAGE_SIZE - 20 * 1000));
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_true(shared.watch.progress.bytes_fetched < 60 * 1000);
    assert_int_equal(shared.image_file->asked_bytes, shared.watch.totals.bytes_fetched);
    fixture_tear_down(&shared);
}

static void test_seeds_good_and_bad(void **state)
{
    fixture_set_up(&shared);
    shared.seed_paths[0] = alloc_printf("%s/missing", shared.folder);
    shared.seed_paths[1] = alloc_string(shared.folder);
    shared.seed_paths[2] = alloc_string(shared.target_path);
    shared.seed_paths[3] = folder_write(shared.folder, "seed", shared.image + 777, IMAGE_SIZE - 777);
    shared.settings.hash_sources = true;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_int_equal(shared.watch.told[TOLD_SEED_SKIPPED], 2);
    assert_int_equal(shared.watch.told[TOLD_SOURCE_HASHED], 2); /* target and seed */
    assert_true(shared.watch.progress.bytes_fetched < 40 * 1000);
    fixture_tear_down(&shared);
}

static void test_a_longer_target_is_cut(void **state)
{
    fixture_set_up(&shared);
    CLEANUP_FREE uint8_t *old = alloc_zeroed(IMAGE_SIZE + 5000);
    memcpy(old, shared.image, IMAGE_SIZE);
    free(folder_write(shared.folder, "target", old, IMAGE_SIZE + 5000));
    shared.settings.hash_sources = true;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_int_equal(shared.watch.progress.bytes_written, 0);
    assert_int_equal(shared.watch.target_hash, digest_xxh32(shared.image, IMAGE_SIZE));
    fixture_tear_down(&shared);
}

static void test_an_empty_image(void **state)
{
    memset(&shared, 0, sizeof(shared));
    engine_bench_init(&shared.bench);
    fixture_publish(&shared, shared.bench.base, 0, true);
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_int_equal(shared.image_file->requests, 0);
    fixture_tear_down(&shared);
}

/* The ancestor's manifest: fixed chunks, in place only. */
static void test_an_ancestors_manifest(void **state)
{
    memset(&shared, 0, sizeof(shared));
    engine_bench_init(&shared.bench);
    fixture_publish(&shared, shared.bench.base, IMAGE_SIZE, false);
    CLEANUP_FREE uint8_t *old = alloc_zeroed(IMAGE_SIZE);
    memcpy(old, shared.image, IMAGE_SIZE);
    old[700 * 1000] ^= 1;
    shared.seed_paths[0] = folder_write(shared.folder, "seed", old, IMAGE_SIZE);
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_int_equal(shared.watch.progress.bytes_fetched, FIXED_SIZE);
    assert_int_equal(shared.watch.progress.bytes_copied, IMAGE_SIZE - FIXED_SIZE);
    assert_int_equal(shared.table_file->requests, 0);
    fixture_tear_down(&shared);
}

static void test_a_plan_writes_nothing(void **state)
{
    fixture_set_up(&shared);
    shared.settings.plan_only = true;
    shared.settings.keep_stock = true;
    fixture_run(&shared);
    assert_false(shared.watch.failed);
    assert_int_equal(access(shared.target_path, F_OK), -1);
    uint64_t planned = plan_download_bytes(&shared.watch.totals),
             table_bytes = shared.watch.totals.table_bytes;
    assert_true(table_bytes > 0);
    assert_int_equal(shared.image_file->requests, 0);
    shared.settings.plan_only = false;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    /* The table that the plan was made with is not fetched again. */
    assert_int_equal(shared.watch.progress.bytes_received, planned - table_bytes);
    assert_int_equal(plan_download_bytes(&shared.watch.totals), planned - table_bytes);
    fixture_tear_down(&shared);
}

/* ---- what goes wrong ---- */

static enum range_fault no_table(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image.chunks") == 0 ? RANGE_FAULT_MISSING : RANGE_FAULT_NONE;
}

static enum range_fault bad_table(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image.chunks") == 0 ? RANGE_FAULT_BAD_BYTES : RANGE_FAULT_NONE;
}

static enum range_fault busy_table(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image.chunks") == 0 ? RANGE_FAULT_BUSY : RANGE_FAULT_NONE;
}

static void test_without_its_table_fixed_chunks_serve(void **state)
{
    static const range_fault_fn faults[] = {no_table, bad_table};

    for (unsigned i = 0; i < 2; i++) {
        fixture_set_up(&shared);
        shared.fault = faults[i];
        fixture_run(&shared);
        fixture_check_whole(&shared);
        assert_int_equal(shared.watch.told[TOLD_TABLE_SKIPPED], 1);
        assert_int_equal(shared.watch.progress.bytes_fetched, IMAGE_SIZE);
        fixture_tear_down(&shared);
    }
}

/* They cost memory as the table's do, and as a manifest without a table can name any number of them. */
static void test_no_more_fixed_chunks_than_there_is_memory_for(void **state)
{
    uint64_t chunks = (IMAGE_SIZE + FIXED_SIZE - 1) / FIXED_SIZE;

    for (uint64_t lacking = 0; lacking < 2; lacking++) {
        memset(&shared, 0, sizeof(shared));
        engine_bench_init(&shared.bench);
        fixture_publish(&shared, shared.bench.base, IMAGE_SIZE, false);
        shared.settings.chunks_max = chunks - lacking;
        fixture_run(&shared);
        if (lacking) {
            clone_watch_check_failure(&shared.watch, ERROR_FORMAT);
            assert_int_equal(shared.image_file->requests, 0);
            assert_int_equal(shared.watch.progress.bytes_written, 0);
        } else {
            fixture_check_whole(&shared);
        }
        fixture_tear_down(&shared);
    }
}

/* Where a signature is demanded, nothing serves in its place, and nothing is written. */
static void test_without_its_table_nothing_signed_is_written(void **state)
{
    static const range_fault_fn faults[] = {no_table, bad_table, busy_table};

    for (unsigned i = 0; i < 3; i++) {
        fixture_set_up(&shared);
        shared.release->verdict.sha256_only = true;
        shared.fault = faults[i];
        shared.settings.give_up_ms = faults[i] == busy_table ? 1 : 0;
        fixture_run(&shared);
        clone_watch_check_failure(&shared.watch, faults[i] == bad_table ? ERROR_MISMATCH : ERROR_REMOTE);
        assert_non_null(strstr(shared.watch.error.message, "table of chunks"));
        /* A busy server says nothing of what it has. */
        assert_int_equal(shared.watch.overtaken, faults[i] != busy_table);
        assert_int_equal(shared.watch.told[TOLD_TABLE_SKIPPED], 0);
        assert_int_equal(shared.image_file->requests, 0);
        assert_int_equal(shared.watch.progress.bytes_written, 0);
        assert_false(shared.watch.proved);
        fixture_tear_down(&shared);
    }
}

static void test_what_was_read_back_is_known(void **state)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];

    fixture_set_up(&shared);
    shared.release->verdict.sha256_only = true;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    digest_sha256(shared.image, shared.size, sha256);
    assert_true(shared.watch.proved && memcmp(shared.watch.sha256, sha256, sizeof(sha256)) == 0);
    fixture_tear_down(&shared);

    memset(&shared, 0, sizeof(shared));
    engine_bench_init(&shared.bench);
    fixture_publish(&shared, shared.bench.base, IMAGE_SIZE, false);
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_false(shared.watch.proved); /* XXH32 proves nothing */
    fixture_tear_down(&shared);
}

static enum range_fault bad_image(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image") == 0 ? RANGE_FAULT_BAD_BYTES : RANGE_FAULT_NONE;
}

static void test_another_image_overtakes(void **state)
{
    fixture_set_up(&shared);
    shared.fault = bad_image;
    fixture_run(&shared);
    clone_watch_check_failure(&shared.watch, ERROR_MISMATCH);
    assert_true(shared.watch.overtaken);
    fixture_tear_down(&shared);
}

static void test_a_seed_that_changes_after_its_scan(void **state)
{
    fixture_set_up(&shared);
    shared.seed_paths[0] = folder_write(shared.folder, "seed", shared.image, IMAGE_SIZE);
    shared.watch.on_phase = fixture_change_seed;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_true(shared.watch.told[TOLD_SEED_SKIPPED] > 0);
    assert_int_equal(shared.watch.totals.bytes_fetched, 0);
    assert_true(shared.watch.progress.bytes_fetched >= 120 * 1000);
    assert_int_equal(shared.watch.progress.bytes_planned, shared.watch.progress.bytes_received);
    fixture_tear_down(&shared);
}

static void cut_seed(void *owner, enum clone_phase phase)
{
    struct fixture *fixture = owner;

    if (phase == CLONE_PHASE_SCANNING)
        assert_int_equal(truncate(fixture->seed_paths[0], IMAGE_SIZE / 2), 0);
}

/* What was read of it counts all the same. */
static void test_a_seed_that_ends_during_its_scan(void **state)
{
    fixture_set_up(&shared);
    shared.seed_paths[0] = folder_write(shared.folder, "seed", shared.image, IMAGE_SIZE);
    shared.watch.on_phase = cut_seed;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_int_equal(shared.watch.told[TOLD_SEED_SKIPPED], 1);
    fixture_tear_down(&shared);
}

static void spoil_target(void *owner, enum clone_phase phase)
{
    struct fixture *fixture = owner;

    if (phase == CLONE_PHASE_VERIFYING)
        write_file(fixture->target_path, "spoilt", 6, 1234567);
}

/* Keeping chunks by their fast key alone must not outlive a verification that failed. */
static void test_a_target_that_is_not_what_was_written(void **state)
{
    fixture_set_up(&shared);
    shared.watch.on_phase = spoil_target;
    fixture_run(&shared);
    clone_watch_check_failure(&shared.watch, ERROR_MISMATCH);
    assert_false(shared.watch.overtaken);
    assert_int_equal(shared.watch.told[TOLD_READ_BACK], 1);
    assert_true(shared.watch.read_back != digest_xxh32(shared.image, IMAGE_SIZE));
    shared.watch.on_phase = NULL;
    shared.settings.keep_verified_only = true;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    assert_true(shared.watch.progress.bytes_fetched > 0 && shared.watch.progress.bytes_fetched < 50 * 1000);
    fixture_tear_down(&shared);
}

static void test_a_locked_target_is_refused(void **state)
{
    struct device *holder;

    fixture_set_up(&shared);
    assert_true(device_open_target(shared.target_path, 0, true, &holder, NULL));
    fixture_run(&shared);
    clone_watch_check_failure(&shared.watch, ERROR_REFUSED);
    device_close(holder);
    fixture_run(&shared);
    fixture_check_whole(&shared);
    fixture_tear_down(&shared);
}

static bool refuse_target(void *owner, int fd, struct error *error)
{
    assert_true(fcntl(fd, F_GETFL) & O_RDWR);
    return error_set(error, ERROR_REFUSED, "this one is somebody's");
}

static void test_the_owner_has_the_last_word_on_the_target(void **state)
{
    struct stat before, after;

    fixture_set_up(&shared);
    assert_true(file_replace(shared.target_path, "old", 3, 0644, NULL));
    assert_int_equal(stat(shared.target_path, &before), 0);
    shared.settings.check_target = refuse_target;
    fixture_run(&shared);
    clone_watch_check_failure(&shared.watch, ERROR_REFUSED);
    assert_int_equal(stat(shared.target_path, &after), 0);
    assert_int_equal(after.st_size, 3);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    shared.settings.check_target = NULL;
    fixture_run(&shared);
    fixture_check_whole(&shared);
    fixture_tear_down(&shared);
}

static void test_the_target_stays_locked_until_it_is_closed(void **state)
{
    struct device *other;
    struct error error;

    fixture_set_up(&shared);
    shared.watch.cancel_in_event = 0;
    fixture_start(&shared);
    while (clone_phase(shared.watch.clone) < CLONE_PHASE_TRANSFERRING)
        event_base_loop(shared.bench.base, EVLOOP_ONCE);
    assert_false(device_open_target(shared.target_path, 0, false, &other, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    clone_watch_finish(&shared.watch);
    fixture_check_whole(&shared);
    fixture_tear_down(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fresh_target_and_then_nothing_to_do),
        cmocka_unit_test(test_the_target_itself_is_a_seed),
        cmocka_unit_test(test_seeds_good_and_bad),
        cmocka_unit_test(test_a_longer_target_is_cut),
        cmocka_unit_test(test_an_empty_image),
        cmocka_unit_test(test_an_ancestors_manifest),
        cmocka_unit_test(test_a_plan_writes_nothing),
        cmocka_unit_test(test_without_its_table_fixed_chunks_serve),
        cmocka_unit_test(test_no_more_fixed_chunks_than_there_is_memory_for),
        cmocka_unit_test(test_without_its_table_nothing_signed_is_written),
        cmocka_unit_test(test_what_was_read_back_is_known),
        cmocka_unit_test(test_another_image_overtakes),
        cmocka_unit_test(test_a_seed_that_changes_after_its_scan),
        cmocka_unit_test(test_a_seed_that_ends_during_its_scan),
        cmocka_unit_test(test_a_target_that_is_not_what_was_written),
        cmocka_unit_test(test_a_locked_target_is_refused),
        cmocka_unit_test(test_the_owner_has_the_last_word_on_the_target),
        cmocka_unit_test(test_the_target_stays_locked_until_it_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
