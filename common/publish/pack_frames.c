/* SPDX-License-Identifier: MIT */
#include "common/publish/pack_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/image/zstd_frame.h"
#include "common/io/device.h"
#include "common/publish/in_order.h"

enum {
    /* Higher levels cost the publisher much time and save little; for a device all are alike. */
    FRAME_LEVEL = 15,
    BATCH_CHUNKS = 16, /* compressed as one piece of work */
};

/* What one thread has for itself. */
struct frame_worker {
    struct zstd_packer *packer;
    uint8_t *chunk; /* these have room for the largest chunk */
    uint8_t *frame;
};

/* The frames of one piece of work, one after another. */
struct frame_batch {
    uint8_t *data;
    size_t size;
    uint32_t sizes[BATCH_CHUNKS];
};

struct frame_run {
    const struct pack_frames *frames;
    struct file_writer *writer;
    uint32_t *sizes;
};

static uint32_t batch_first(uint64_t item)
{
    return (uint32_t)item * BATCH_CHUNKS;
}

static uint32_t batch_end(const struct chunk_table *table, uint64_t item)
{
    uint32_t count = chunk_table_count(table), first = batch_first(item);

    return count - first < BATCH_CHUNKS ? count : first + BATCH_CHUNKS;
}

/* Compresses a chunk. *ret_data is the worker's frame, or its chunk if the frame would not be shorter. */
static bool pack_chunk(const struct pack_frames *frames, struct frame_worker *worker, uint32_t chunk,
                       const uint8_t **ret_data, uint32_t *ret_size, struct error *error)
{
    uint32_t size = chunk_table_size(frames->table, chunk);
    size_t frame_size;

    if (!device_read(frames->image, worker->chunk, size, chunk_table_offset(frames->table, chunk), error))
        return false;
    /* The image must still have the bytes of the table: devices would refuse any others. */
    if (!chunk_table_proves(frames->table, chunk, worker->chunk))
        return error_set(error, ERROR_SYSTEM,
                         "%s changed while it was read; generate again when it is complete",
                         device_path(frames->image));
    int result =
        zstd_pack(worker->packer, NULL, 0, worker->chunk, size, worker->frame, size - 1, &frame_size);
    if (result < 0 && result != -ENOSPC)
        return error_set_errno(error, result, "cannot compress chunk %u of %s", chunk + 1,
                               device_path(frames->image));
    *ret_data = result == 0 ? worker->frame : worker->chunk;
    *ret_size = result == 0 ? (uint32_t)frame_size : size;
    return true;
}

/* Whether an earlier chunk has the same bytes, so that its frame serves for both. The keys alone do not say
 * so: somebody may have made up other bytes with the same key. */
static bool has_frame(const struct pack_frames *frames, uint32_t chunk)
{
    uint32_t first = chunk_index_first_alike(frames->index, chunk);

    return first != chunk && chunk_table_are_same(frames->table, first, chunk);
}

static void drop_batch(void *result)
{
    struct frame_batch *batch = result;

    free(batch->data);
    free(batch);
}

static void *make_batch(void *owner, void *worker, uint64_t item, struct error *error)
{
    const struct frame_run *run = owner;
    const struct pack_frames *frames = run->frames;
    struct frame_batch *batch = alloc_zeroed(sizeof(*batch));
    uint32_t first = batch_first(item), end = batch_end(frames->table, item);

    batch->data = alloc_zeroed(
        (size_t)(chunk_table_offset(frames->table, end) - chunk_table_offset(frames->table, first)));
    for (uint32_t i = first; i < end; i++) {
        const uint8_t *frame = NULL;
        uint32_t size = 0;
        if (has_frame(frames, i))
            continue;
        if (!pack_chunk(frames, worker, i, &frame, &size, error)) {
            drop_batch(batch);
            return NULL;
        }
        memcpy(batch->data + batch->size, frame, size);
        batch->size += size;
        batch->sizes[i - first] = size;
    }
    return batch;
}

static bool take_batch(void *owner, uint64_t item, void *result, struct error *error)
{
    const struct frame_run *run = owner;
    const struct chunk_table *table = run->frames->table;
    const struct frame_batch *batch = result;
    uint32_t first = batch_first(item), end = batch_end(table, item);

    if (!file_writer_add(run->writer, batch->data, batch->size, error))
        return false;
    memcpy(run->sizes + first, batch->sizes, (end - first) * sizeof(*run->sizes));
    run->frames->progress(run->frames->owner,
                          chunk_table_offset(table, end) - chunk_table_offset(table, first));
    return true;
}

static void worker_free(void *data)
{
    struct frame_worker *worker = data;

    if (!worker)
        return;
    zstd_packer_free(worker->packer);
    free(worker->chunk);
    free(worker->frame);
    free(worker);
}

static void *worker_new(void *owner)
{
    const struct frame_run *run = owner;
    struct frame_worker *worker = alloc_zeroed(sizeof(*worker));

    worker->packer = zstd_packer_new(FRAME_LEVEL);
    worker->chunk = alloc_zeroed(chunk_table_size_max(run->frames->table));
    worker->frame = alloc_zeroed(chunk_table_size_max(run->frames->table));
    if (worker->packer)
        return worker;
    worker_free(worker);
    return NULL;
}

bool pack_frames_write(const struct pack_frames *frames, struct file_writer *writer, uint32_t *ret_sizes,
                       struct error *error)
{
    struct frame_run run = {.frames = frames, .writer = writer, .sizes = ret_sizes};
    struct in_order_settings settings = {.run = make_batch,
                                         .take = take_batch,
                                         .drop = drop_batch,
                                         .worker_new = worker_new,
                                         .worker_free = worker_free,
                                         .owner = &run};
    uint64_t batches = ((uint64_t)chunk_table_count(frames->table) + BATCH_CHUNKS - 1) / BATCH_CHUNKS;

    return in_order_run(&settings, batches, error);
}
