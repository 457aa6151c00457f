#include "common/sinter/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/sinter/transfer.h"
#include "tests/unit/publisher.h"
#include "tests/unit/range_server.h"

enum {
    AVERAGE = 4096,
    IMAGE_SIZE = 1500 * 1000,
    FIXED_SIZE = 64 * 1024,
    SEEDS_MAX = 4,
    CHUNKS_MAX = IMAGE_SIZE / (AVERAGE / 4) + 1, /* at most */
};

/* What the clone tells, in the order of struct clone_events. */
enum told {
    TOLD_PHASE,
    TOLD_PLANNED,
    TOLD_CHUNKS,
    TOLD_RETRY,
    TOLD_SEED_SKIPPED,
    TOLD_TABLE_SKIPPED,
    TOLD_SOURCE_HASHED,
    TOLD_READ_BACK,
    TOLD_COUNT,
};

struct fixture {
    struct dice dice;
    char *folder;
    struct event_base *base;
    struct pool *pool;
    struct http *http;
    struct range_server *server;
    struct range_file *image_file, *table_file;
    char *url;
    uint8_t *image, *chunks;
    size_t size, chunks_size;
    struct release *release;
    char *target_path;
    char *seed_paths[SEEDS_MAX + 1];
    struct clone_settings settings;
    struct clone *clone;
    /* what was told */
    unsigned told[TOLD_COUNT], dones, events;
    bool failed;
    struct error error;
    enum clone_phase phase;
    uint64_t bytes_of[4]; /* by enum clone_fate */
    uint8_t chunk_told[CHUNKS_MAX + 1];
    uint32_t read_back, target_hash;
    struct plan_totals totals;
    struct clone_progress progress;
    bool overtaken, proved;
    uint8_t sha256[DIGEST_SHA256_SIZE];
    /* what goes wrong */
    range_fault_fn fault;
    unsigned cancel_in_event; /* cancel in the so manieth event; 0 = never */
    void (*on_phase)(struct fixture *fixture, enum clone_phase phase);
};

static struct fixture shared;

/* ---- the clone's events ---- */

static void count(struct fixture *fixture, enum told told)
{
    assert_int_equal(fixture->dones, 0);
    fixture->told[told]++;
    if (++fixture->events == fixture->cancel_in_event)
        clone_cancel(fixture->clone);
}

static void on_phase(void *owner, enum clone_phase phase)
{
    struct fixture *fixture = owner;

    assert_true(phase >= fixture->phase);
    fixture->phase = phase;
    if (fixture->on_phase)
        fixture->on_phase(fixture, phase);
    count(fixture, TOLD_PHASE);
}

static void on_planned(void *owner, const struct plan *plan)
{
    struct fixture *fixture = owner;

    fixture->totals = *plan_totals(plan);
    count(fixture, TOLD_PLANNED);
}

static void on_chunks(void *owner, enum clone_fate fate, uint32_t first, uint32_t chunks, uint64_t bytes)
{
    struct fixture *fixture = owner;

    fixture->bytes_of[fate] += bytes;
    for (uint32_t i = first; i < first + chunks; i++)
        fixture->chunk_told[i]++;
    count(fixture, TOLD_CHUNKS);
}

static void on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    assert_true(error->message[0]);
    count(owner, TOLD_RETRY);
}

static void on_seed_skipped(void *owner, const char *path, const struct error *error)
{
    assert_true(path && error->message[0]);
    count(owner, TOLD_SEED_SKIPPED);
}

static void on_table_skipped(void *owner, const struct error *error)
{
    assert_true(error->message[0]);
    count(owner, TOLD_TABLE_SKIPPED);
}

static void on_source_hashed(void *owner, const char *path, uint32_t xxh32)
{
    struct fixture *fixture = owner;

    if (!path)
        fixture->target_hash = xxh32;
    count(fixture, TOLD_SOURCE_HASHED);
}

static void on_read_back(void *owner, uint32_t xxh32)
{
    struct fixture *fixture = owner;

    fixture->read_back = xxh32;
    count(fixture, TOLD_READ_BACK);
}

static void on_done(void *owner, const struct error *error)
{
    struct fixture *fixture = owner;

    assert_int_equal(fixture->dones++, 0);
    assert_int_equal(clone_phase(fixture->clone), CLONE_PHASE_FINISHED);
    fixture->failed = error != NULL;
    if (error)
        fixture->error = *error;
    fixture->progress = *clone_progress(fixture->clone);
    fixture->overtaken = clone_was_overtaken(fixture->clone);
    fixture->proved = clone_get_sha256(fixture->clone, fixture->sha256);
    fixture->clone = clone_free(fixture->clone);
    event_base_loopbreak(fixture->base);
}

static const struct clone_events events = {
    .phase = on_phase,
    .planned = on_planned,
    .chunks = on_chunks,
    .retry = on_retry,
    .seed_skipped = on_seed_skipped,
    .table_skipped = on_table_skipped,
    .source_hashed = on_source_hashed,
    .read_back = on_read_back,
    .done = on_done,
};

/* ---- setting up ---- */

static enum range_fault choose_fault(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct fixture *fixture = owner;

    return fixture->fault ? fixture->fault(fixture, path, offset, size) : RANGE_FAULT_NONE;
}

/* The engine, without the publisher: what a process that is killed has of its own. */
static void setup_engine(struct fixture *fixture)
{
    struct http_settings settings = {.connections = 3};

    fixture->base = event_base_new();
    assert_true(pool_new(fixture->base, 3, &fixture->pool, NULL));
    assert_true(http_new(fixture->base, &settings, &fixture->http, NULL));
}

static void teardown_engine(struct fixture *fixture)
{
    http_free(fixture->http);
    pool_free(fixture->pool);
    event_base_free(fixture->base);
}

static void publish(struct fixture *fixture, struct event_base *base, size_t size, bool with_chunks)
{
    fixture->folder = folder_new();
    fixture->target_path = alloc_printf("%s/target", fixture->folder);
    fixture->size = size;
    fixture->image = alloc_zeroed(size);
    dice_fill(&fixture->dice, fixture->image, size);
    if (size > 400 * 1000) /* some that occurs often */
        memset(fixture->image + 300 * 1000, 0, 100 * 1000);
    chunk_table_free(publish_table(fixture->image, size, AVERAGE, &fixture->chunks, &fixture->chunks_size));
    fixture->server = range_server_new(base);
    fixture->image_file = range_server_put(fixture->server, "/image", fixture->image, size, "\"one\"");
    fixture->table_file = range_server_put(fixture->server, "/image.chunks", fixture->chunks,
                                           fixture->chunks_size, "\"table\"");
    range_server_set_fault(fixture->server, choose_fault, fixture);
    fixture->url = range_server_url(fixture->server, "/image");
    fixture->release = publish_release(fixture->url, fixture->image, size, FIXED_SIZE,
                                       with_chunks ? fixture->chunks : NULL, fixture->chunks_size);
}

static void setup(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->dice.state = 1;
    setup_engine(fixture);
    publish(fixture, fixture->base, IMAGE_SIZE, true);
}

static void teardown(struct fixture *fixture)
{
    release_free(fixture->release);
    range_server_free(fixture->server);
    teardown_engine(fixture);
    folder_free(fixture->folder);
    free(fixture->target_path);
    for (unsigned i = 0; i < SEEDS_MAX; i++)
        free(fixture->seed_paths[i]);
    free(fixture->url);
    free(fixture->image);
    free(fixture->chunks);
}

static void start(struct fixture *fixture)
{
    memset(fixture->told, 0, sizeof(fixture->told));
    memset(fixture->bytes_of, 0, sizeof(fixture->bytes_of));
    memset(fixture->chunk_told, 0, sizeof(fixture->chunk_told));
    fixture->dones = fixture->events = 0;
    fixture->phase = 0;
    fixture->failed = false;
    fixture->settings.release = fixture->release;
    fixture->settings.target_path = fixture->target_path;
    fixture->settings.seed_paths = (const char *const *)fixture->seed_paths;
    fixture->settings.create_target = true;
    if (!fixture->settings.give_up_ms)
        fixture->settings.give_up_ms = 15 * 1000;
    fixture->clone =
        clone_new(fixture->base, fixture->http, fixture->pool, &fixture->settings, &events, fixture);
    clone_start(fixture->clone);
    assert_int_equal(fixture->dones, 0);
}

static void finish(struct fixture *fixture)
{
    if (fixture->dones == 0)
        assert_int_equal(event_base_dispatch(fixture->base), 0);
    assert_int_equal(fixture->dones, 1);
    assert_int_equal(pool_outstanding(fixture->pool), 0);
    event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    assert_int_equal(fixture->dones, 1);
}

static void run(struct fixture *fixture)
{
    start(fixture);
    finish(fixture);
}

static void check_whole(struct fixture *fixture)
{
    const struct clone_progress *progress = &fixture->progress;

    if (fixture->failed)
        fail_msg("%s", fixture->error.message);
    assert_true(file_holds(fixture->target_path, fixture->image, fixture->size));
    assert_int_equal(fixture->read_back, digest_xxh32(fixture->image, fixture->size));
    assert_int_equal(progress->bytes_verified, fixture->size);
    assert_int_equal(progress->bytes_kept + progress->bytes_copied + progress->bytes_fetched, fixture->size);
    assert_int_equal(progress->bytes_written, progress->bytes_copied + progress->bytes_fetched);
    assert_int_equal(progress->bytes_kept, fixture->bytes_of[CLONE_FATE_KEPT]);
    assert_int_equal(progress->bytes_copied, fixture->bytes_of[CLONE_FATE_COPIED]);
    assert_int_equal(progress->bytes_fetched, fixture->bytes_of[CLONE_FATE_FETCHED]);
    for (unsigned i = 1; i < CHUNKS_MAX; i++)
        assert_true(fixture->chunk_told[i] == 1 ||
                    (fixture->chunk_told[i] == 0 && !fixture->chunk_told[i + 1]));
}

static void check_failure(const struct fixture *fixture, enum error_kind kind)
{
    assert_true(fixture->failed);
    if (fixture->error.kind != kind)
        fail_msg("%s: %s", error_kind_name(fixture->error.kind), fixture->error.message);
    assert_true(strlen(fixture->error.message) > 10);
}

static void write_file(const char *path, const void *data, size_t size, uint64_t offset)
{
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_int_equal(file_pwrite_full(fd, data, size, offset), 0);
}

/* ---- what goes well ---- */

static void test_a_fresh_target_and_then_nothing_to_do(void **state)
{
    setup(&shared);
    run(&shared);
    check_whole(&shared);
    assert_true(shared.totals.bytes_fetched < IMAGE_SIZE && shared.totals.bytes_copied > 50 * 1000);
    assert_int_equal(shared.image_file->asked_bytes, shared.totals.bytes_fetched);
    assert_int_equal(shared.progress.bytes_received, shared.totals.bytes_fetched + shared.chunks_size);
    assert_int_equal(shared.progress.bytes_planned, shared.progress.bytes_received);

    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.progress.bytes_kept, IMAGE_SIZE);
    assert_int_equal(shared.progress.bytes_written, 0);
    assert_int_equal(shared.image_file->asked_bytes,
                     shared.progress.bytes_planned - shared.chunks_size + shared.image_file->sent_bytes);
    teardown(&shared);
}

static void test_the_target_itself_is_a_seed(void **state)
{
    setup(&shared);
    /* The old content: the image with 1000 bytes more near its begin, and its end missing. */
    CLEANUP_FREE uint8_t *old = alloc_zeroed(IMAGE_SIZE);
    memcpy(old, shared.image, 50 * 1000);
    memcpy(old + 51 * 1000, shared.image + 50 * 1000, IMAGE_SIZE - 51 * 1000 - 20 * 1000);
    free(folder_write(shared.folder, "target", old, IMAGE_SIZE - 20 * 1000));
    run(&shared);
    check_whole(&shared);
    assert_true(shared.progress.bytes_fetched < 60 * 1000);
    assert_int_equal(shared.image_file->asked_bytes, shared.totals.bytes_fetched);
    teardown(&shared);
}

static void test_seeds_good_and_bad(void **state)
{
    setup(&shared);
    shared.seed_paths[0] = alloc_printf("%s/missing", shared.folder);
    shared.seed_paths[1] = alloc_string(shared.folder);
    shared.seed_paths[2] = alloc_string(shared.target_path);
    shared.seed_paths[3] = folder_write(shared.folder, "seed", shared.image + 777, IMAGE_SIZE - 777);
    shared.settings.hash_sources = true;
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.told[TOLD_SEED_SKIPPED], 2);
    assert_int_equal(shared.told[TOLD_SOURCE_HASHED], 2); /* target and seed */
    assert_true(shared.progress.bytes_fetched < 40 * 1000);
    teardown(&shared);
}

static void test_a_longer_target_is_cut(void **state)
{
    setup(&shared);
    CLEANUP_FREE uint8_t *old = alloc_zeroed(IMAGE_SIZE + 5000);
    memcpy(old, shared.image, IMAGE_SIZE);
    free(folder_write(shared.folder, "target", old, IMAGE_SIZE + 5000));
    shared.settings.hash_sources = true;
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.progress.bytes_written, 0);
    assert_int_equal(shared.target_hash, digest_xxh32(shared.image, IMAGE_SIZE));
    teardown(&shared);
}

static void test_an_empty_image(void **state)
{
    memset(&shared, 0, sizeof(shared));
    setup_engine(&shared);
    publish(&shared, shared.base, 0, true);
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.image_file->requests, 0);
    teardown(&shared);
}

/* The ancestor's manifest: fixed chunks, in place only. */
static void test_an_ancestors_manifest(void **state)
{
    memset(&shared, 0, sizeof(shared));
    setup_engine(&shared);
    publish(&shared, shared.base, IMAGE_SIZE, false);
    CLEANUP_FREE uint8_t *old = alloc_zeroed(IMAGE_SIZE);
    memcpy(old, shared.image, IMAGE_SIZE);
    old[700 * 1000] ^= 1;
    shared.seed_paths[0] = folder_write(shared.folder, "seed", old, IMAGE_SIZE);
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.progress.bytes_fetched, FIXED_SIZE);
    assert_int_equal(shared.progress.bytes_copied, IMAGE_SIZE - FIXED_SIZE);
    assert_int_equal(shared.table_file->requests, 0);
    teardown(&shared);
}

static void test_a_plan_writes_nothing(void **state)
{
    setup(&shared);
    shared.settings.plan_only = true;
    shared.settings.keep_stock = true;
    run(&shared);
    assert_false(shared.failed);
    assert_int_equal(access(shared.target_path, F_OK), -1);
    uint64_t planned = plan_download_bytes(&shared.totals), table_bytes = shared.totals.table_bytes;
    assert_true(table_bytes > 0);
    assert_int_equal(shared.image_file->requests, 0);
    shared.settings.plan_only = false;
    run(&shared);
    check_whole(&shared);
    /* The table that the plan was made with is not fetched again. */
    assert_int_equal(shared.progress.bytes_received, planned - table_bytes);
    assert_int_equal(plan_download_bytes(&shared.totals), planned - table_bytes);
    teardown(&shared);
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
        setup(&shared);
        shared.fault = faults[i];
        run(&shared);
        check_whole(&shared);
        assert_int_equal(shared.told[TOLD_TABLE_SKIPPED], 1);
        assert_int_equal(shared.progress.bytes_fetched, IMAGE_SIZE);
        teardown(&shared);
    }
}

/* Where a signature is demanded, nothing serves in its place, and nothing is written. */
static void test_without_its_table_nothing_signed_is_written(void **state)
{
    static const range_fault_fn faults[] = {no_table, bad_table, busy_table};

    for (unsigned i = 0; i < 3; i++) {
        setup(&shared);
        shared.release->verdict.sha256_only = true;
        shared.fault = faults[i];
        shared.settings.give_up_ms = faults[i] == busy_table ? 1 : 0;
        run(&shared);
        check_failure(&shared, faults[i] == bad_table ? ERROR_MISMATCH : ERROR_REMOTE);
        assert_non_null(strstr(shared.error.message, "table of chunks"));
        /* A busy server says nothing of what it has. */
        assert_int_equal(shared.overtaken, faults[i] != busy_table);
        assert_int_equal(shared.told[TOLD_TABLE_SKIPPED], 0);
        assert_int_equal(shared.image_file->requests, 0);
        assert_int_equal(shared.progress.bytes_written, 0);
        assert_false(shared.proved);
        teardown(&shared);
    }
}

static void test_what_was_read_back_is_known(void **state)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];

    setup(&shared);
    shared.release->verdict.sha256_only = true;
    run(&shared);
    check_whole(&shared);
    digest_sha256(shared.image, shared.size, sha256);
    assert_true(shared.proved && memcmp(shared.sha256, sha256, sizeof(sha256)) == 0);
    teardown(&shared);

    memset(&shared, 0, sizeof(shared));
    setup_engine(&shared);
    publish(&shared, shared.base, IMAGE_SIZE, false);
    run(&shared);
    check_whole(&shared);
    assert_false(shared.proved); /* XXH32 proves nothing */
    teardown(&shared);
}

static enum range_fault bad_image(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image") == 0 ? RANGE_FAULT_BAD_BYTES : RANGE_FAULT_NONE;
}

static void test_another_image_overtakes(void **state)
{
    setup(&shared);
    shared.fault = bad_image;
    run(&shared);
    check_failure(&shared, ERROR_MISMATCH);
    assert_true(shared.overtaken);
    teardown(&shared);
}

static void change_seed(struct fixture *fixture, enum clone_phase phase)
{
    uint8_t other[20000] = {1};

    if (phase == CLONE_PHASE_TRANSFERRING) {
        write_file(fixture->seed_paths[0], other, sizeof(other), 700 * 1000);
        assert_int_equal(truncate(fixture->seed_paths[0], 1400 * 1000), 0);
    }
}

static void test_a_seed_that_changes_after_its_scan(void **state)
{
    setup(&shared);
    shared.seed_paths[0] = folder_write(shared.folder, "seed", shared.image, IMAGE_SIZE);
    shared.on_phase = change_seed;
    run(&shared);
    check_whole(&shared);
    assert_true(shared.told[TOLD_SEED_SKIPPED] > 0);
    assert_int_equal(shared.totals.bytes_fetched, 0);
    assert_true(shared.progress.bytes_fetched >= 120 * 1000);
    assert_int_equal(shared.progress.bytes_planned, shared.progress.bytes_received);
    teardown(&shared);
}

static void cut_seed(struct fixture *fixture, enum clone_phase phase)
{
    if (phase == CLONE_PHASE_SCANNING)
        assert_int_equal(truncate(fixture->seed_paths[0], IMAGE_SIZE / 2), 0);
}

/* What was read of it counts all the same. */
static void test_a_seed_that_ends_during_its_scan(void **state)
{
    setup(&shared);
    shared.seed_paths[0] = folder_write(shared.folder, "seed", shared.image, IMAGE_SIZE);
    shared.on_phase = cut_seed;
    run(&shared);
    check_whole(&shared);
    assert_int_equal(shared.told[TOLD_SEED_SKIPPED], 1);
    teardown(&shared);
}

static void spoil_target(struct fixture *fixture, enum clone_phase phase)
{
    if (phase == CLONE_PHASE_VERIFYING)
        write_file(fixture->target_path, "spoilt", 6, 1234567);
}

/* Keeping chunks by their fast key alone must not outlive a verification that failed. */
static void test_a_target_that_is_not_what_was_written(void **state)
{
    setup(&shared);
    shared.on_phase = spoil_target;
    run(&shared);
    check_failure(&shared, ERROR_MISMATCH);
    assert_false(shared.overtaken);
    assert_int_equal(shared.told[TOLD_READ_BACK], 1);
    assert_true(shared.read_back != digest_xxh32(shared.image, IMAGE_SIZE));
    shared.on_phase = NULL;
    shared.settings.keep_verified_only = true;
    run(&shared);
    check_whole(&shared);
    assert_true(shared.progress.bytes_fetched > 0 && shared.progress.bytes_fetched < 50 * 1000);
    teardown(&shared);
}

static void test_a_locked_target_is_refused(void **state)
{
    struct device *holder;

    setup(&shared);
    assert_true(device_open_target(shared.target_path, 0, true, &holder, NULL));
    run(&shared);
    check_failure(&shared, ERROR_REFUSED);
    device_close(holder);
    run(&shared);
    check_whole(&shared);
    teardown(&shared);
}

static bool refuse_target(void *owner, int fd, struct error *error)
{
    assert_true(fcntl(fd, F_GETFL) & O_RDWR);
    return error_set(error, ERROR_REFUSED, "this one is somebody's");
}

static void test_the_owner_has_the_last_word_on_the_target(void **state)
{
    struct stat before, after;

    setup(&shared);
    assert_true(file_replace(shared.target_path, "old", 3, 0644, NULL));
    assert_int_equal(stat(shared.target_path, &before), 0);
    shared.settings.check_target = refuse_target;
    run(&shared);
    check_failure(&shared, ERROR_REFUSED);
    assert_int_equal(stat(shared.target_path, &after), 0);
    assert_int_equal(after.st_size, 3);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    shared.settings.check_target = NULL;
    run(&shared);
    check_whole(&shared);
    teardown(&shared);
}

static void test_the_target_stays_locked_until_it_is_closed(void **state)
{
    struct device *other;
    struct error error;

    setup(&shared);
    shared.cancel_in_event = 0;
    start(&shared);
    while (clone_phase(shared.clone) < CLONE_PHASE_TRANSFERRING)
        event_base_loop(shared.base, EVLOOP_ONCE);
    assert_false(device_open_target(shared.target_path, 0, false, &other, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    finish(&shared);
    check_whole(&shared);
    teardown(&shared);
}

/* ---- cancelling ---- */

static enum range_fault first_half(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct fixture *fixture = owner;

    return fixture->image_file->requests == 2 && offset > 0 ? RANGE_FAULT_HALF : RANGE_FAULT_NONE;
}

/* Something of everything: seeds good, missing and changing, a broken range, hashes. */
static void prepare_everything(struct fixture *fixture)
{
    setup(fixture);
    fixture->fault = first_half;
    fixture->on_phase = change_seed;
    fixture->seed_paths[0] = folder_write(fixture->folder, "seed", fixture->image, IMAGE_SIZE / 2);
    fixture->seed_paths[1] = alloc_printf("%s/missing", fixture->folder);
    fixture->settings.hash_sources = true;
    free(folder_write(fixture->folder, "target", fixture->image + 10000, IMAGE_SIZE / 3));
}

static void check_cancelled_or_whole(struct fixture *fixture)
{
    if (fixture->failed)
        check_failure(fixture, ERROR_CANCELLED);
    else
        check_whole(fixture);
}

static void test_cancelled_after_any_turn_of_the_loop(void **state)
{
    bool over = false;

    for (unsigned turns = 0; !over && turns < 5000; turns += 1 + turns / 8) {
        prepare_everything(&shared);
        start(&shared);
        for (unsigned i = 0; i < turns && shared.dones == 0; i++)
            event_base_loop(shared.base, EVLOOP_ONCE);
        over = shared.dones > 0;
        if (!over) {
            clone_cancel(shared.clone);
            clone_cancel(shared.clone);
            assert_int_equal(shared.dones, 0);
        }
        finish(&shared);
        check_cancelled_or_whole(&shared);
        teardown(&shared);
    }
    assert_true(over);
}

static void test_cancelled_within_any_event(void **state)
{
    for (unsigned event = 1; event < 2000; event += 1 + event / 8) {
        prepare_everything(&shared);
        shared.cancel_in_event = event;
        run(&shared);
        check_cancelled_or_whole(&shared);
        bool over = shared.events < event;
        teardown(&shared);
        if (over)
            return;
    }
    fail_msg("it never came to an end");
}

static enum clone_phase cancel_phase;

static void cancel_at_phase(struct fixture *fixture, enum clone_phase phase)
{
    if (phase == cancel_phase)
        clone_cancel(fixture->clone);
}

/* What is cancelled as a phase begins does nothing of that phase. */
static void test_cancelled_as_a_phase_begins(void **state)
{
    for (cancel_phase = CLONE_PHASE_PREPARING; cancel_phase <= CLONE_PHASE_VERIFYING; cancel_phase++) {
        setup(&shared);
        shared.on_phase = cancel_at_phase;
        run(&shared);
        check_failure(&shared, ERROR_CANCELLED);
        if (cancel_phase < CLONE_PHASE_SCANNING)
            assert_int_equal(shared.table_file->requests, 0);
        if (cancel_phase <= CLONE_PHASE_TRANSFERRING)
            assert_int_equal(shared.image_file->requests, 0);
        assert_int_equal(shared.progress.bytes_verified, 0);
        assert_int_equal(shared.phase, CLONE_PHASE_CLOSING);
        teardown(&shared);
    }
}

/* Cancelled while seeds are reported as unusable: the table is not even asked for. */
static void test_cancelled_before_the_table(void **state)
{
    setup(&shared);
    shared.seed_paths[0] = alloc_printf("%s/missing", shared.folder);
    shared.cancel_in_event = 2; /* after the phase */
    run(&shared);
    check_failure(&shared, ERROR_CANCELLED);
    assert_int_equal(shared.told[TOLD_SEED_SKIPPED], 1);
    assert_int_equal(shared.table_file->requests, 0);
    teardown(&shared);
}

/* ---- killed ---- */

static void on_child_done(void *owner, const struct error *error)
{
    if (error)
        fprintf(stderr, "%s\n", error->message);
    _exit(error ? 1 : 0);
}

/* Asserts nothing: a failed assertion would go on with the other tests in the child. */
static void run_child(struct fixture *fixture)
{
    static const struct clone_events child_events = {.done = on_child_done};

    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    setup_engine(fixture);
    fixture->settings.release = fixture->release;
    fixture->settings.target_path = fixture->target_path;
    fixture->settings.create_target = true;
    fixture->clone =
        clone_new(fixture->base, fixture->http, fixture->pool, &fixture->settings, &child_events, fixture);
    clone_start(fixture->clone);
    event_base_dispatch(fixture->base);
    _exit(2);
}

struct kill_plan {
    struct fixture *fixture;
    uint64_t at_bytes; /* of the image, asked for */
    pid_t pid;
};

static enum range_fault kill_when_enough(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct kill_plan *plan = owner;

    if (plan->fixture->image_file->asked_bytes >= plan->at_bytes)
        kill(plan->pid, SIGKILL);
    return RANGE_FAULT_NONE;
}

static void on_often(evutil_socket_t fd, short what, void *arg)
{
}

/* Bytes of the image that stand where they belong, by whole chunks. */
static uint64_t bytes_in_place(struct fixture *fixture)
{
    CLEANUP_FREE char *have = NULL;
    struct chunk_table *table = publish_table(fixture->image, fixture->size, AVERAGE, NULL, NULL);
    uint64_t bytes = 0;
    size_t size = 0;

    assert_true(file_read(fixture->target_path, 1 << 30, &have, &size, NULL));
    for (uint32_t i = 0; i < chunk_table_count(table); i++) {
        uint64_t offset = chunk_table_offset(table, i);
        uint32_t length = chunk_table_size(table, i);
        if (offset + length <= size && memcmp(have + offset, fixture->image + offset, length) == 0)
            bytes += length;
    }
    chunk_table_free(table);
    return bytes;
}

enum {
    KILL_IMAGE_SIZE = 12 * 1000 * 1000,
    KILL_CONNECTIONS = 3,
    /* What a kill costs at most: ranges under way, and moves within the target that were overwriting their
       source. */
    KILL_COST_MAX = (KILL_CONNECTIONS + TRANSFER_COPY_LANES) * TRANSFER_RUN_SIZE_MAX,
};

/* Runs a child until it ends or has asked for so many bytes more; true when it was killed. */
static bool run_and_kill(struct event_base *base, struct kill_plan *plan, uint64_t bytes)
{
    int status;

    plan->at_bytes = shared.image_file->asked_bytes + bytes;
    fflush(stdout);
    plan->pid = fork();
    assert_true(plan->pid >= 0);
    if (plan->pid == 0)
        run_child(&shared);
    while (waitpid(plan->pid, &status, WNOHANG) == 0)
        event_base_loop(base, EVLOOP_ONCE);
    /* What the child still asked for is counted to it and not to the next one. */
    for (int turn = 0; turn < 20; turn++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    else
        assert_int_equal(WTERMSIG(status), SIGKILL);
    return !WIFEXITED(status);
}

/* The publisher is this process, the clone a child that is killed again and again: at most `kills_max` times,
 * each at most `step` bytes after the last. `missing` bytes of the image are not in the target at first. */
static void kill_again_and_again(struct event_base *base, uint64_t missing, unsigned kills_max, uint32_t step)
{
    struct kill_plan plan = {.fixture = &shared};
    struct timeval often = {.tv_usec = 10 * 1000};
    struct event *timer = event_new(base, -1, EV_PERSIST, on_often, NULL);
    unsigned kills = 0;
    bool killed = true;

    shared.settings.connections = KILL_CONNECTIONS;
    range_server_set_fault(shared.server, kill_when_enough, &plan);
    evtimer_add(timer, &often);
    while (killed) {
        uint64_t there = access(shared.target_path, F_OK) == 0 ? bytes_in_place(&shared) : 0;
        uint64_t asked = shared.image_file->asked_bytes;
        killed = run_and_kill(base, &plan,
                              kills < kills_max ? 1 + dice_below(&shared.dice, step) : UINT64_MAX / 2);
        kills += killed;
        /* What stands where it belongs is not asked for. */
        assert_true(shared.image_file->asked_bytes - asked <= KILL_IMAGE_SIZE - there);
    }
    assert_true(kills > 0);
    assert_true(shared.image_file->asked_bytes <= missing + (uint64_t)kills * KILL_COST_MAX);
    assert_true(file_holds(shared.target_path, shared.image, KILL_IMAGE_SIZE));
    event_free(timer);
}

static void teardown_killed(struct event_base *base)
{
    setup_engine(&shared); /* the children had theirs; this one is for teardown() to free */
    teardown(&shared);
    event_base_free(base);
}

static void test_killed_and_run_again(void **state)
{
    struct event_base *base = event_base_new();

    memset(&shared, 0, sizeof(shared));
    publish(&shared, base, KILL_IMAGE_SIZE, true);
    kill_again_and_again(base, KILL_IMAGE_SIZE, 5, 4000 * 1000);
    /* Five kills, and the last run fetched what those before it had not: all else would be more than this. */
    assert_true(shared.image_file->asked_bytes <=
                KILL_IMAGE_SIZE + 5 * KILL_CONNECTIONS * TRANSFER_RUN_SIZE_MAX);
    teardown_killed(base);
}

/* The old content lies 1000 bytes further on, so that every move overwrites its own source. */
static void test_killed_while_moving_within_the_target(void **state)
{
    enum { HOLE = 3000 * 1000 };
    struct event_base *base = event_base_new();

    memset(&shared, 0, sizeof(shared));
    publish(&shared, base, KILL_IMAGE_SIZE, true);
    CLEANUP_FREE uint8_t *old = alloc_zeroed(KILL_IMAGE_SIZE + 1000);
    memcpy(old + 1000, shared.image, KILL_IMAGE_SIZE);
    memset(old + 5000 * 1000, 0, HOLE);
    free(folder_write(shared.folder, "target", old, KILL_IMAGE_SIZE + 1000));
    kill_again_and_again(base, HOLE + 64 * 1024, 5, 1000 * 1000);
    teardown_killed(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first, while there is one thread only to fork */
        cmocka_unit_test(test_killed_and_run_again),
        cmocka_unit_test(test_killed_while_moving_within_the_target),
        cmocka_unit_test(test_a_fresh_target_and_then_nothing_to_do),
        cmocka_unit_test(test_the_target_itself_is_a_seed),
        cmocka_unit_test(test_seeds_good_and_bad),
        cmocka_unit_test(test_a_longer_target_is_cut),
        cmocka_unit_test(test_an_empty_image),
        cmocka_unit_test(test_an_ancestors_manifest),
        cmocka_unit_test(test_a_plan_writes_nothing),
        cmocka_unit_test(test_without_its_table_fixed_chunks_serve),
        cmocka_unit_test(test_without_its_table_nothing_signed_is_written),
        cmocka_unit_test(test_what_was_read_back_is_known),
        cmocka_unit_test(test_another_image_overtakes),
        cmocka_unit_test(test_a_seed_that_changes_after_its_scan),
        cmocka_unit_test(test_a_seed_that_ends_during_its_scan),
        cmocka_unit_test(test_a_target_that_is_not_what_was_written),
        cmocka_unit_test(test_a_locked_target_is_refused),
        cmocka_unit_test(test_the_owner_has_the_last_word_on_the_target),
        cmocka_unit_test(test_the_target_stays_locked_until_it_is_closed),
        cmocka_unit_test(test_cancelled_before_the_table),
        cmocka_unit_test(test_cancelled_as_a_phase_begins),
        cmocka_unit_test(test_cancelled_within_any_event),
        cmocka_unit_test(test_cancelled_after_any_turn_of_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
