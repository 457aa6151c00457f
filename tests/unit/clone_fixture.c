/* SPDX-License-Identifier: MIT */
#include "tests/unit/clone_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

static enum range_fault choose_fault(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct fixture *fixture = owner;

    return fixture->fault ? fixture->fault(fixture, path, offset, size) : RANGE_FAULT_NONE;
}

void fixture_publish(struct fixture *fixture, struct event_base *base, size_t size, bool with_chunks)
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

void fixture_set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->dice.state = 1;
    engine_bench_init(&fixture->bench);
    fixture_publish(fixture, fixture->bench.base, IMAGE_SIZE, true);
}

void fixture_unpublish(struct fixture *fixture)
{
    release_free(fixture->release);
    range_server_free(fixture->server);
    folder_free(fixture->folder);
    free(fixture->target_path);
    url_free(fixture->url);
    free(fixture->image);
    free(fixture->chunks);
}

void fixture_tear_down(struct fixture *fixture)
{
    struct engine_bench bench = fixture->bench;

    for (unsigned i = 0; i < SEEDS_MAX; i++)
        free(fixture->seed_paths[i]);
    fixture_unpublish(fixture);
    engine_bench_finish(&bench);
}

void fixture_start(struct fixture *fixture)
{
    fixture->settings.release = fixture->release;
    fixture->settings.target_path = fixture->target_path;
    fixture->settings.seed_paths = (const char *const *)fixture->seed_paths;
    fixture->settings.create_target = true;
    if (!fixture->settings.give_up_ms)
        fixture->settings.give_up_ms = 15 * 1000;
    fixture->watch.owner = fixture;
    clone_watch_start(&fixture->watch, &fixture->bench, &fixture->settings);
}

void fixture_run(struct fixture *fixture)
{
    fixture_start(fixture);
    clone_watch_finish(&fixture->watch);
}

void fixture_check_whole(const struct fixture *fixture)
{
    const struct clone_progress *progress = &fixture->watch.progress;

    if (fixture->watch.failed)
        fail_msg("%s", fixture->watch.error.message);
    assert_true(file_holds(fixture->target_path, fixture->image, fixture->size));
    assert_int_equal(fixture->watch.read_back, digest_xxh32(fixture->image, fixture->size));
    assert_int_equal(progress->bytes_verified, fixture->size);
    assert_int_equal(progress->bytes_kept + progress->bytes_copied + progress->bytes_fetched, fixture->size);
    assert_int_equal(progress->bytes_written, progress->bytes_copied + progress->bytes_fetched);
    assert_int_equal(progress->bytes_kept, fixture->watch.bytes_of[CLONE_FATE_KEPT]);
    assert_int_equal(progress->bytes_copied, fixture->watch.bytes_of[CLONE_FATE_COPIED]);
    assert_int_equal(progress->bytes_fetched, fixture->watch.bytes_of[CLONE_FATE_FETCHED]);
    for (unsigned i = 1; i < CLONE_WATCH_CHUNKS; i++)
        assert_true(fixture->watch.chunk_told[i] == 1 ||
                    (fixture->watch.chunk_told[i] == 0 && !fixture->watch.chunk_told[i + 1]));
}

void write_file(const char *path, const void *data, size_t size, uint64_t offset)
{
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_int_equal(file_pwrite_full(fd, data, size, offset), 0);
}

void fixture_change_seed(void *owner, enum clone_phase phase)
{
    struct fixture *fixture = owner;
    uint8_t other[20000] = {1};

    if (phase == CLONE_PHASE_TRANSFERRING) {
        write_file(fixture->seed_paths[0], other, sizeof(other), 700 * 1000);
        assert_int_equal(truncate(fixture->seed_paths[0], 1400 * 1000), 0);
    }
}
