/* SPDX-License-Identifier: MIT */
#include "common/sinter/cutting.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/digest.h"
#include "common/image/chunk_table.h"
#include "common/image/chunker.h"

enum {
    CUTTING_BUFFER_SIZE = 512 * 1024,
    /* Small enough to stop quickly on a slow medium; a scan's slice is as large. */
    CUTTING_SLICE_SIZE = 8 * 1024 * 1024,
};

struct cutting {
    struct pool_job job;
    struct pool *pool;
    struct cutting_settings settings;
    const struct cutting_events *events;
    void *owner;
    atomic_bool stop;
    uint8_t *buffer;
    struct chunker_stream *stream;
    struct digest_stream *hash;
    struct table_rows rows;
    uint32_t rows_room;
    uint64_t cut_offset; /* where the next chunk starts */
    uint64_t read_offset;
    uint64_t slice_bytes; /* read by the last slice */
    bool finished;
    bool failed;
    struct error error;
};

static bool cutting_make_room(struct cutting *cutting)
{
    struct table_rows *rows = &cutting->rows;
    uint32_t room = cutting->rows_room ? cutting->rows_room * 2 : 1024;

    if (rows->count < cutting->rows_room)
        return true;
    if (rows->count >= cutting->settings.rows_max)
        return error_set(&cutting->error, ERROR_REFUSED,
                         "%s falls into more than the %" PRIu32 " chunks that were expected of it",
                         device_path(cutting->settings.device), cutting->settings.rows_max);
    room = room < cutting->settings.rows_max ? room : cutting->settings.rows_max;
    uint64_t *offsets = reallocarray(rows->offsets, room, sizeof(*offsets));
    rows->offsets = offsets ? offsets : rows->offsets;
    uint8_t *data = reallocarray(rows->rows, room, CHUNK_TABLE_ROW_SIZE);
    rows->rows = data ? data : rows->rows;
    if (!offsets || !data)
        return error_set_errno(&cutting->error, ENOMEM, "cannot hold the chunks of %s",
                               device_path(cutting->settings.device));
    cutting->rows_room = room;
    return true;
}

static bool cutting_add(void *owner, const uint8_t *data, size_t size)
{
    struct cutting *cutting = owner;
    struct table_rows *rows = &cutting->rows;
    uint8_t sha256[DIGEST_SHA256_SIZE];

    if (!cutting_make_room(cutting))
        return false;
    digest_sha256(data, size, sha256);
    chunk_table_write_row(rows->rows + (size_t)rows->count * CHUNK_TABLE_ROW_SIZE, (uint32_t)size,
                          digest_xxh3(data, size), sha256);
    rows->offsets[rows->count++] = cutting->cut_offset;
    cutting->cut_offset += size;
    return true;
}

static bool cutting_read(struct cutting *cutting)
{
    uint64_t left = cutting->settings.size_bytes - cutting->read_offset;
    size_t want = left < CUTTING_BUFFER_SIZE ? (size_t)left : CUTTING_BUFFER_SIZE, bad;

    if (!device_read_around(cutting->settings.device, cutting->buffer, want, cutting->read_offset, &want,
                            &bad, &cutting->error))
        return false;
    if (cutting->hash && cutting->read_offset < cutting->settings.hash_bytes) {
        uint64_t hash_left = cutting->settings.hash_bytes - cutting->read_offset;
        digest_stream_update(cutting->hash, cutting->buffer, want < hash_left ? want : (size_t)hash_left);
    }
    cutting->read_offset += want + bad;
    cutting->slice_bytes += want + bad;
    if (!chunker_stream_add(cutting->stream, cutting->buffer, want))
        return false;
    if (bad == 0)
        return true;
    /* Rows that touch the unreadable part are wrong; soon behind it the cuts are the usual ones again. */
    if (!chunker_stream_end(cutting->stream))
        return false;
    cutting->cut_offset = cutting->read_offset;
    return true;
}

static void cutting_run_slice(struct pool_job *job)
{
    struct cutting *cutting = container_of(job, struct cutting, job);

    cutting->slice_bytes = 0;
    while (!cutting->finished && cutting->slice_bytes < CUTTING_SLICE_SIZE) {
        if (atomic_load_explicit(&cutting->stop, memory_order_relaxed))
            cutting->finished = true;
        else if (cutting->read_offset == cutting->settings.size_bytes) {
            cutting->failed = !chunker_stream_end(cutting->stream);
            cutting->finished = true;
        } else if (!cutting_read(cutting))
            cutting->failed = cutting->finished = true;
    }
}

static void cutting_slice_done(struct pool_job *job)
{
    struct cutting *cutting = container_of(job, struct cutting, job);
    uint32_t xxh32 = 0;

    cutting->events->progress(cutting->owner, cutting->slice_bytes);
    if (!cutting->finished) {
        pool_submit(cutting->pool, &cutting->job);
        return;
    }
    if (cutting->hash)
        digest_stream_final(cutting->hash, NULL, &xxh32);
    cutting->events->done(cutting->owner, cutting->failed ? &cutting->error : NULL, xxh32);
}

struct cutting *cutting_start(struct pool *pool, const struct cutting_settings *settings,
                              const struct cutting_events *events, void *owner)
{
    struct cutting *cutting = alloc_zeroed(sizeof(*cutting));
    struct chunker chunker;

    if (chunker_init(&chunker, settings->average) < 0)
        assert(!"the average was checked when it was read");
    cutting->job = (struct pool_job){.run = cutting_run_slice, .done = cutting_slice_done};
    cutting->pool = pool;
    cutting->settings = *settings;
    cutting->events = events;
    cutting->owner = owner;
    cutting->buffer = alloc_zeroed(CUTTING_BUFFER_SIZE);
    cutting->stream = chunker_stream_new(&chunker, cutting_add, cutting);
    /* Without memory the job ends at once and reports that like any other error. */
    cutting->finished = cutting->failed = !cutting->stream;
    if (cutting->failed)
        error_set_errno(&cutting->error, ENOMEM, "cannot cut %s into chunks of %" PRIu32 " bytes",
                        device_path(settings->device), settings->average);
    if (settings->hash_bytes)
        cutting->hash = digest_stream_new(false, true);
    pool_submit(pool, &cutting->job);
    return cutting;
}

void cutting_stop(struct cutting *cutting)
{
    atomic_store_explicit(&cutting->stop, true, memory_order_relaxed);
}

struct table_rows cutting_take_rows(struct cutting *cutting)
{
    struct table_rows rows = cutting->rows;

    cutting->rows = (struct table_rows){0};
    return rows;
}

struct cutting *cutting_free(struct cutting *cutting)
{
    if (!cutting)
        return NULL;
    digest_stream_free(cutting->hash);
    chunker_stream_free(cutting->stream);
    free(cutting->rows.offsets);
    free(cutting->rows.rows);
    free(cutting->buffer);
    free(cutting);
    return NULL;
}
