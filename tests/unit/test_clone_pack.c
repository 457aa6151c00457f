/* SPDX-License-Identifier: MIT */
/* Clones from a pack: what is fetched and told, what becomes of sources that change under way, and a cancel
 * at any moment. The pack is made by generate itself. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/publish/generate.h"
#include "common/sinter/clone.h"
#include "tests/unit/clone_watch.h"
#include "tests/unit/engine_bench.h"
#include "tests/unit/publisher.h"
#include "tests/unit/range_server.h"

enum {
    AVERAGE = 4096,
    IMAGE_SIZE = 900 * 1000,
};

struct fixture {
    struct dice dice;
    char *folder;
    struct engine_bench bench;
    struct range_server *server;
    struct range_file *image_file, *table_file, *pack_file;
    struct url *url;
    uint8_t image[IMAGE_SIZE], old[IMAGE_SIZE];
    struct release *release;
    char *target_path, *seed_path, *other_path;
    struct clone_settings settings;
    struct clone_watch watch;
    /* what goes wrong */
    range_fault_fn fault;
    unsigned fault_count;
    uint64_t give_up_ms; /* 0 = long enough for whatever a test does */
};

static struct fixture shared;

/* What a pack holds. */
enum content {
    PATCHES,
    PATCHES_AND_CHUNKS,
    TWO_BASES, /* patches against the seed, and against `other` */
    CONTENT_COUNT,
};

/* What generate has made: the same for every test, so it is made once. */
struct published {
    char *table, *pack, *manifest;
    size_t table_size, pack_size, manifest_size;
};

static struct published made[CONTENT_COUNT];

static enum range_fault choose_fault(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct fixture *fixture = owner;

    if (!fixture->fault || fixture->fault_count == 0)
        return RANGE_FAULT_NONE;
    enum range_fault fault = fixture->fault(fixture, path, offset, size);
    fixture->fault_count -= fault != RANGE_FAULT_NONE;
    return fault;
}

/* The new image is the old one with bytes changed here and there, some inserted, and something new. */
static void make_images(struct fixture *fixture)
{
    dice_fill(&fixture->dice, fixture->old, IMAGE_SIZE);
    memcpy(fixture->image, fixture->old, IMAGE_SIZE);
    for (size_t at = 20 * 1000; at < IMAGE_SIZE - 200 * 1000; at += 60 * 1000)
        dice_fill(&fixture->dice, fixture->image + at, 50);
    memmove(fixture->image + 300 * 1000 + 777, fixture->image + 300 * 1000, 200 * 1000);
    dice_fill(&fixture->dice, fixture->image + 800 * 1000, 60 * 1000);
}

static char *read_published(const struct fixture *fixture, const char *suffix, size_t *ret_size)
{
    CLEANUP_FREE char *path = alloc_printf("%s/image%s", fixture->folder, suffix);
    struct error error;
    char *data;

    if (!file_read(path, (size_t)1 << 30, &data, ret_size, &error))
        fail_msg("%s", error.message);
    return data;
}

static void generate(struct fixture *fixture, enum content content, struct published *published)
{
    CLEANUP_FREE char *path = folder_write(fixture->folder, "image", fixture->image, IMAGE_SIZE);
    const char *bases[] = {fixture->seed_path, fixture->other_path};
    const struct generate_settings settings = {
        .image_path = path,
        .chunk_size = 64 * 1024,
        .average = AVERAGE,
        .with_pack = content == PATCHES_AND_CHUNKS,
        .base_paths = bases,
        .base_count = content == TWO_BASES ? 2 : 1,
        .span_max = 128 * 1024,
        .output_max = 64 * 1024,
    };
    struct generate_result result;
    struct error error;

    if (!generate_files(&settings, &result, &error))
        fail_msg("%s", error.message);
    published->table = read_published(fixture, ".chunks", &published->table_size);
    published->pack = read_published(fixture, ".pack", &published->pack_size);
    published->manifest = read_published(fixture, ".json", &published->manifest_size);
}

static struct release *read_release(const struct fixture *fixture, enum content content)
{
    const struct published *published = &made[content];
    char *manifest = alloc_zeroed(published->manifest_size + 1);
    struct release *release;
    struct error error;

    memcpy(manifest, published->manifest, published->manifest_size);
    if (!release_from_text(fixture->url, manifest, published->manifest_size, NULL, 0, &(struct trust){0},
                           &release, &error))
        fail_msg("%s", error.message);
    return release;
}

static void publish(struct fixture *fixture, enum content content)
{
    struct published *published = &made[content];

    if (!published->pack)
        generate(fixture, content, published);
    fixture->server = range_server_new(fixture->bench.base);
    fixture->image_file =
        range_server_put(fixture->server, "/image", fixture->image, IMAGE_SIZE, "\"image\"");
    fixture->table_file = range_server_put(fixture->server, "/image.chunks", published->table,
                                           published->table_size, "\"table\"");
    fixture->pack_file =
        range_server_put(fixture->server, "/image.pack", published->pack, published->pack_size, "\"pack\"");
    range_server_set_fault(fixture->server, choose_fault, fixture);
    fixture->url = range_server_url(fixture->server, "/image");
    fixture->release = read_release(fixture, content);
}

static void setup(struct fixture *fixture, enum content content)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->dice.state = 1;
    fixture->folder = folder_new();
    engine_bench_init(&fixture->bench);
    make_images(fixture);
    fixture->seed_path = folder_write(fixture->folder, "seed", fixture->old, IMAGE_SIZE);
    dice_fill(&fixture->dice, fixture->old + 200 * 1000, 100 * 1000);
    fixture->other_path = folder_write(fixture->folder, "other", fixture->old, IMAGE_SIZE);
    fixture->target_path = alloc_printf("%s/target", fixture->folder);
    publish(fixture, content);
}

static void teardown(struct fixture *fixture)
{
    release_free(fixture->release);
    range_server_free(fixture->server);
    engine_bench_finish(&fixture->bench);
    folder_free(fixture->folder);
    free(fixture->target_path);
    free(fixture->seed_path);
    free(fixture->other_path);
    url_free(fixture->url);
}

static void start(struct fixture *fixture)
{
    const char *const seeds[] = {fixture->seed_path, NULL};

    fixture->settings.release = fixture->release;
    fixture->settings.target_path = fixture->target_path;
    fixture->settings.seed_paths = seeds;
    fixture->settings.create_target = true;
    fixture->settings.hash_sources = true;
    fixture->settings.give_up_ms = fixture->give_up_ms ? fixture->give_up_ms : 15 * 1000;
    fixture->watch.owner = fixture;
    clone_watch_start(&fixture->watch, &fixture->bench, &fixture->settings);
    fixture->settings.seed_paths = NULL;
}

static void run(struct fixture *fixture)
{
    start(fixture);
    clone_watch_finish(&fixture->watch);
}

static void check_whole(const struct fixture *fixture)
{
    if (fixture->watch.failed)
        fail_msg("%s", fixture->watch.error.message);
    assert_true(file_holds(fixture->target_path, fixture->image, IMAGE_SIZE));
    assert_int_equal(fixture->watch.bytes_of[CLONE_FATE_KEPT] + fixture->watch.bytes_of[CLONE_FATE_COPIED] +
                         fixture->watch.bytes_of[CLONE_FATE_PATCHED] +
                         fixture->watch.bytes_of[CLONE_FATE_FETCHED],
                     IMAGE_SIZE);
    assert_int_equal(fixture->watch.progress.bytes_patched, fixture->watch.bytes_of[CLONE_FATE_PATCHED]);
    assert_int_equal(fixture->watch.told[TOLD_PLANNED], 1);
}

/* ---- what goes well ---- */

static void test_the_plan_is_what_is_fetched(void **state)
{
    for (int with_chunks = 0; with_chunks < 2; with_chunks++) {
        setup(&shared, with_chunks);
        run(&shared);
        check_whole(&shared);
        assert_int_equal(shared.watch.progress.bytes_received, plan_download_bytes(&shared.watch.totals));
        assert_int_equal(shared.watch.progress.bytes_planned, plan_download_bytes(&shared.watch.totals));
        assert_int_equal(shared.watch.progress.requests,
                         shared.watch.totals.requests + shared.watch.totals.requests_before);
        assert_int_equal(shared.watch.bytes_of[CLONE_FATE_PATCHED], shared.watch.totals.bytes_patched);
        assert_true(shared.watch.totals.bytes_patched > 50 * 1000 &&
                    shared.watch.totals.patch_bytes < 100 * 1000);
        assert_int_equal(shared.table_file->requests, 0);
        assert_true(with_chunks || shared.image_file->asked_bytes == shared.watch.totals.chunk_bytes);
        assert_true(!with_chunks || shared.image_file->requests == 0);
        assert_int_equal(shared.watch.told[TOLD_PACK_SKIPPED] + shared.watch.told[TOLD_SEED_SKIPPED], 0);
        assert_int_equal(shared.watch.progress.scan_bytes, shared.watch.progress.scan_total);
        assert_true(shared.watch.progress.scan_total > IMAGE_SIZE); /* the patches' share */
        teardown(&shared);
    }
}

static void cancel(void *owner)
{
    const struct fixture *fixture = owner;
    clone_cancel(fixture->watch.clone);
}

/* What a look ahead has fetched is not fetched again, nor what an install has that failed. */
static void test_a_plan_and_then_the_clone(void **state)
{
    for (int with_chunks = 0; with_chunks < 2; with_chunks++) {
        setup(&shared, with_chunks);
        shared.settings.plan_only = true;
        shared.settings.keep_stock = true;
        run(&shared);
        assert_false(shared.watch.failed);
        const struct plan_totals planned = shared.watch.totals;
        assert_true(planned.section_bytes > 0);
        assert_int_equal(shared.watch.progress.bytes_received, planned.section_bytes + planned.table_bytes);
        shared.settings.plan_only = false;
        shared.watch.on_planned = cancel;
        run(&shared);
        assert_int_equal(shared.watch.error.kind, ERROR_CANCELLED);
        shared.watch.on_planned = NULL;
        run(&shared);
        check_whole(&shared);
        assert_int_equal(shared.watch.totals.section_bytes + shared.watch.totals.table_bytes, 0);
        assert_int_equal(shared.watch.totals.patch_bytes, planned.patch_bytes);
        assert_int_equal(shared.watch.progress.bytes_received,
                         plan_download_bytes(&planned) - planned.section_bytes - planned.table_bytes);
        teardown(&shared);
    }
}

/* Another base may be at hand by then, whose index is another. */
static void test_a_plan_and_then_clones_from_another_base(void **state)
{
    setup(&shared, TWO_BASES);
    shared.settings.plan_only = true;
    shared.settings.keep_stock = true;
    run(&shared);
    assert_false(shared.watch.failed);
    shared.settings.plan_only = shared.settings.keep_stock = false;
    assert_int_equal(rename(shared.other_path, shared.seed_path), 0);
    for (int i = 0; i < 2; i++) {
        run(&shared);
        check_whole(&shared);
        assert_int_equal(shared.watch.told[TOLD_PACK_SKIPPED], 0);
        assert_true(shared.watch.totals.bytes_patched > 0);
        assert_int_equal(shared.watch.progress.bytes_received, plan_download_bytes(&shared.watch.totals));
        assert_int_equal(unlink(shared.target_path), 0);
    }
    teardown(&shared);
}

static void test_the_target_is_patched_in_place(void **state)
{
    setup(&shared, true);
    assert_int_equal(rename(shared.seed_path, shared.target_path), 0);
    run(&shared);
    check_whole(&shared);
    assert_true(shared.watch.totals.bytes_kept > 0 && shared.watch.totals.bytes_patched > 0);
    assert_int_equal(shared.watch.progress.scan_bytes, shared.watch.progress.scan_total);
    assert_int_equal(shared.watch.progress.bytes_received, plan_download_bytes(&shared.watch.totals));
    teardown(&shared);
}

/* ---- what goes wrong ---- */

static void change_seed(void *owner)
{
    const struct fixture *fixture = owner;
    CLEANUP_FD int fd = open(fixture->seed_path, O_WRONLY | O_CLOEXEC);
    uint8_t other[3000] = {0};

    for (off_t at = 100 * 1000; at < IMAGE_SIZE; at += 200 * 1000)
        assert_int_equal(file_pwrite_full(fd, other, sizeof(other), (uint64_t)at), 0);
}

static void cut_seed(void *owner)
{
    const struct fixture *fixture = owner;
    assert_int_equal(truncate(fixture->seed_path, IMAGE_SIZE / 3), 0);
}

/* Copies and patches that come to nothing are made up for by a second plan. */
static void test_a_seed_that_changes_under_way(void **state)
{
    void (*const changes[])(void *) = {change_seed, cut_seed};

    for (size_t i = 0; i < 4; i++) {
        setup(&shared, i & 1);
        shared.watch.on_planned = changes[i / 2];
        run(&shared);
        check_whole(&shared);
        assert_int_equal(shared.watch.told[TOLD_SEED_SKIPPED], 1);
        assert_true(shared.watch.progress.bytes_fetched > shared.watch.totals.bytes_fetched);
        assert_int_equal(shared.watch.progress.bytes_received, shared.watch.progress.bytes_planned);
        assert_int_equal(shared.watch.progress.scan_bytes, shared.watch.progress.scan_total);
        teardown(&shared);
    }
}

static enum range_fault bad_pack(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image.pack") == 0 ? RANGE_FAULT_BAD_BYTES : RANGE_FAULT_NONE;
}

static enum range_fault bad_patches(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    const struct manifest_base *base = &((struct fixture *)owner)->release->manifest->pack.bases[0];

    return bad_pack(owner, path, offset, size) != RANGE_FAULT_NONE && offset >= base->patches_offset &&
                   offset < base->index.offset
               ? RANGE_FAULT_BAD_BYTES
               : RANGE_FAULT_NONE;
}

static void test_patches_that_are_no_patches(void **state)
{
    for (int with_chunks = 0; with_chunks < 2; with_chunks++) {
        setup(&shared, with_chunks);
        shared.fault = bad_patches;
        shared.fault_count = UINT32_MAX;
        run(&shared);
        check_whole(&shared);
        assert_true(shared.watch.totals.bytes_patched > 0);
        assert_int_equal(shared.watch.bytes_of[CLONE_FATE_PATCHED], 0);
        assert_int_equal(shared.watch.progress.bytes_received, shared.watch.progress.bytes_planned);
        teardown(&shared);
    }
}

/* Nor are they fetched again for the same release, so that the next plan is true. */
static void test_patches_that_failed_are_not_tried_again(void **state)
{
    setup(&shared, PATCHES);
    shared.fault = bad_patches;
    shared.fault_count = UINT32_MAX;
    run(&shared);
    check_whole(&shared);
    assert_true(shared.watch.totals.bytes_patched > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(unlink(shared.target_path), 0);
        run(&shared);
        check_whole(&shared);
        assert_int_equal(shared.watch.totals.bytes_patched, 0);
        assert_int_equal(shared.watch.progress.bytes_received, plan_download_bytes(&shared.watch.totals));
        /* The same manifest, fetched again. */
        struct release *again = read_release(&shared, PATCHES);
        assert_true(release_inherit(again, shared.release));
        release_free(shared.release);
        shared.release = again;
    }
    struct release *another = read_release(&shared, PATCHES_AND_CHUNKS);
    assert_false(release_inherit(another, shared.release));
    assert_false(release_inherit(another, NULL));
    release_free(another);
    teardown(&shared);
}

static enum range_fault no_table(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image.chunks") == 0 ? RANGE_FAULT_MISSING : RANGE_FAULT_NONE;
}

/* The seed was cut for a table that cannot be had, and is then looked through for the fixed chunks. */
static void test_a_table_that_is_nowhere(void **state)
{
    setup(&shared, PATCHES);
    change_seed(&shared);
    shared.fault = no_table;
    shared.fault_count = UINT32_MAX;
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.watch.told[TOLD_PACK_SKIPPED], 1);
    assert_true(shared.watch.bytes_of[CLONE_FATE_COPIED] > 0);
    teardown(&shared);
}

static void shorten_seed(void *owner, enum clone_phase phase)
{
    const struct fixture *fixture = owner;

    if (phase == CLONE_PHASE_SCANNING)
        assert_int_equal(truncate(fixture->seed_path, IMAGE_SIZE - 200 * 1000), 0);
}

/* A seed that cannot be cut to its end is scanned like any other, which tells what is wrong with it. */
static void test_a_seed_that_gets_shorter_while_it_is_cut(void **state)
{
    setup(&shared, PATCHES);
    shared.watch.on_phase = shorten_seed;
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.watch.told[TOLD_PACK_SKIPPED], 1);
    assert_int_equal(shared.watch.told[TOLD_SEED_SKIPPED], 1);
    teardown(&shared);
}

static void test_an_index_that_is_none(void **state)
{
    setup(&shared, false);
    shared.fault = bad_pack;
    shared.fault_count = 1;
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.watch.told[TOLD_PACK_SKIPPED], 1);
    assert_int_equal(shared.watch.totals.bytes_patched, 0);
    assert_int_equal(shared.table_file->requests, 1);
    teardown(&shared);
}

/* Mangled on the way once, chunks are asked for once more; again, the pack is another one. */
static enum range_fault bad_chunks(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    const struct manifest_pack *pack = &((struct fixture *)owner)->release->manifest->pack;

    return bad_pack(owner, path, offset, size) != RANGE_FAULT_NONE && offset < pack->frames.offset
               ? RANGE_FAULT_BAD_BYTES
               : RANGE_FAULT_NONE;
}

static void test_chunks_that_are_none(void **state)
{
    for (unsigned faults = 1; faults < 3; faults++) {
        setup(&shared, true);
        assert_int_equal(unlink(shared.seed_path), 0);
        shared.fault = bad_chunks;
        shared.fault_count = faults == 1 ? 1 : UINT32_MAX;
        run(&shared);
        if (faults == 1) {
            check_whole(&shared);
            assert_int_equal(shared.watch.told[TOLD_RETRY], 1);
        } else {
            assert_true(shared.watch.failed && shared.watch.overtaken);
            assert_int_equal(shared.watch.error.kind, ERROR_MISMATCH);
        }
        teardown(&shared);
    }
}

static enum range_fault choose_frames(void *owner, const char *path, uint64_t offset, enum range_fault fault)
{
    const struct manifest_pack *pack = &((struct fixture *)owner)->release->manifest->pack;

    return strcmp(path, "/image.pack") == 0 && offset == pack->frames.offset ? fault : RANGE_FAULT_NONE;
}

static enum range_fault busy_frames(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return choose_frames(owner, path, offset, RANGE_FAULT_BUSY);
}

static enum range_fault missing_frames(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return choose_frames(owner, path, offset, RANGE_FAULT_MISSING);
}

/* A pack that is gone may be that of a newer manifest; a server that is busy says nothing of that. */
static void test_frames_that_cannot_be_had(void **state)
{
    const range_fault_fn faults[] = {busy_frames, missing_frames};

    for (size_t i = 0; i < 2; i++) {
        setup(&shared, true);
        assert_int_equal(unlink(shared.seed_path), 0);
        shared.fault = faults[i];
        shared.fault_count = UINT32_MAX;
        shared.give_up_ms = 1;
        run(&shared);
        assert_true(shared.watch.failed);
        assert_int_equal(shared.watch.error.kind, ERROR_REMOTE);
        assert_int_equal(shared.watch.overtaken, faults[i] == missing_frames);
        teardown(&shared);
    }
}

/* ---- cancelling ---- */

static void check_cancelled_or_whole(const struct fixture *fixture)
{
    if (!fixture->watch.failed)
        check_whole(fixture);
    else
        assert_int_equal(fixture->watch.error.kind, ERROR_CANCELLED);
}

static void test_cancelled_after_any_turn_of_the_loop(void **state)
{
    bool over = false;

    for (unsigned turns = 0; !over && turns < 3000; turns += 1 + turns / 6) {
        setup(&shared, true);
        shared.watch.on_planned = change_seed;
        start(&shared);
        for (unsigned i = 0; i < turns && shared.watch.dones == 0; i++)
            event_base_loop(shared.bench.base, EVLOOP_ONCE);
        over = shared.watch.dones > 0;
        if (!over) {
            clone_cancel(shared.watch.clone);
            clone_watch_finish(&shared.watch);
        }
        check_cancelled_or_whole(&shared);
        teardown(&shared);
    }
    assert_true(over);
}

static void test_cancelled_within_any_event(void **state)
{
    for (unsigned event = 1; event < 3000; event += 1 + event / 4) {
        setup(&shared, event & 1);
        shared.watch.on_planned = change_seed;
        shared.watch.cancel_in_event = event;
        run(&shared);
        check_cancelled_or_whole(&shared);
        bool over = shared.watch.events < event;
        teardown(&shared);
        if (over)
            return;
    }
    fail_msg("it never came to an end");
}

static int forget_published(void **state)
{
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        free(made[i].table);
        free(made[i].pack);
        free(made[i].manifest);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_plan_is_what_is_fetched),
        cmocka_unit_test(test_a_plan_and_then_the_clone),
        cmocka_unit_test(test_a_plan_and_then_clones_from_another_base),
        cmocka_unit_test(test_the_target_is_patched_in_place),
        cmocka_unit_test(test_a_seed_that_changes_under_way),
        cmocka_unit_test(test_patches_that_are_no_patches),
        cmocka_unit_test(test_patches_that_failed_are_not_tried_again),
        cmocka_unit_test(test_a_table_that_is_nowhere),
        cmocka_unit_test(test_a_seed_that_gets_shorter_while_it_is_cut),
        cmocka_unit_test(test_an_index_that_is_none),
        cmocka_unit_test(test_chunks_that_are_none),
        cmocka_unit_test(test_frames_that_cannot_be_had),
        cmocka_unit_test(test_cancelled_within_any_event),
        cmocka_unit_test(test_cancelled_after_any_turn_of_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, forget_published);
}
