/* SPDX-License-Identifier: MIT */
#include "common/publish/diff.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/base/min_max.h"
#include "common/image/chunk_table.h"
#include "common/image/chunker.h"
#include "common/io/device.h"

enum {
    DIFF_BLOCK_SIZE = 1024 * 1024, /* bytes read at once; no chunk is larger */
};

struct diff_chunks {
    struct diff_chunk *items;
    size_t count;
    size_t room;
    uint64_t bytes; /* of all of them, so where the next one begins */
};

struct diff_run {
    const struct diff_settings *settings;
    struct chunker chunker;
    struct device *new_device;
    struct device *old_device;
    uint8_t *new_block;
    uint8_t *old_block;
    struct diff_chunks new_chunks;
    struct diff_chunks old_chunks;
    uint64_t done; /* bytes read */
    uint64_t total;
    struct diff_result result;
};

static void advance(struct diff_run *run, uint64_t bytes)
{
    run->done += bytes;
    if (run->settings->progress)
        run->settings->progress(run->settings->owner, run->done, run->total);
}

/* Compares `size` bytes of both files at `offset`. */
static bool compare_range(struct diff_run *run, uint64_t offset, uint64_t size, bool *ret_same,
                          struct error *error)
{
    bool same = true;

    for (uint64_t done = 0; done < size;) {
        size_t part = (size_t)min_u64(size - done, DIFF_BLOCK_SIZE);
        if (!device_read(run->new_device, run->new_block, part, offset + done, error) ||
            !device_read(run->old_device, run->old_block, part, offset + done, error))
            return false;
        if (memcmp(run->new_block, run->old_block, part) != 0)
            same = false;
        done += part;
        advance(run, 2 * part);
    }
    *ret_same = same;
    return true;
}

/* Counts fixed chunks as the ancestor does. A chunk that is shorter in one of the images is not the same. */
static bool compare_fixed(struct diff_run *run, struct error *error)
{
    struct diff_result *result = &run->result;
    uint64_t shorter = min_u64(result->new_size, result->old_size), chunk_size = run->settings->chunk_size;

    for (uint64_t offset = 0; offset < shorter; offset += chunk_size) {
        uint64_t new_part = min_u64(chunk_size, result->new_size - offset);
        uint64_t old_part = min_u64(chunk_size, result->old_size - offset);
        bool same;
        if (!compare_range(run, offset, min_u64(new_part, old_part), &same, error))
            return false;
        result->total++;
        if (same && new_part == old_part) {
            result->same++;
            result->same_bytes += new_part;
        }
    }
    return true;
}

static bool add_chunk(void *owner, const uint8_t *data, size_t size)
{
    struct diff_chunks *chunks = owner;

    if (chunks->count == chunks->room) {
        size_t room = chunks->room ? chunks->room * 2 : 1024;
        struct diff_chunk *items = reallocarray(chunks->items, room, sizeof(*items));
        if (!items)
            return false;
        chunks->items = items;
        chunks->room = room;
    }
    chunks->items[chunks->count++] =
        (struct diff_chunk){.key = digest_xxh3(data, size), .offset = chunks->bytes, .size = (uint32_t)size};
    chunks->bytes += size;
    return true;
}

static bool cut(struct diff_run *run, struct device *device, uint64_t size, struct diff_chunks *chunks,
                struct error *error)
{
    struct chunker_stream *stream = chunker_stream_new(&run->chunker, add_chunk, chunks);
    bool ok = true, taken = true;

    if (!stream)
        return error_set_errno(error, ENOMEM, "cannot cut %s into chunks", device_path(device));
    for (uint64_t done = 0; ok && taken && done < size;) {
        size_t part = (size_t)min_u64(size - done, DIFF_BLOCK_SIZE);
        ok = device_read(device, run->new_block, part, done, error);
        taken = ok && chunker_stream_add(stream, run->new_block, part);
        done += part;
        advance(run, part);
    }
    taken = taken && chunker_stream_end(stream);
    chunker_stream_free(stream);
    if (ok && !taken)
        ok = error_set(error, ERROR_SYSTEM, "there is no memory for the chunks of %s; take a larger average",
                       device_path(device));
    return ok;
}

static int compare_keys(const void *a, const void *b)
{
    const struct diff_chunk *chunk_a = a, *chunk_b = b;

    if (chunk_a->key != chunk_b->key)
        return chunk_a->key < chunk_b->key ? -1 : 1;
    return (chunk_a->offset > chunk_b->offset) - (chunk_a->offset < chunk_b->offset);
}

static int compare_offsets(const void *a, const void *b)
{
    const struct diff_chunk *chunk_a = a, *chunk_b = b;

    return (chunk_a->offset > chunk_b->offset) - (chunk_a->offset < chunk_b->offset);
}

static void sort(struct diff_chunks *chunks, int (*compare)(const void *, const void *))
{
    if (chunks->count)
        qsort(chunks->items, chunks->count, sizeof(struct diff_chunk), compare);
}

/* Decides what becomes of each chunk of NEW: with both lists sorted by key and offset, one walk over them
 * tells whether OLD has an equal chunk, and whether it has one at the same offset. */
static void judge(struct diff_run *run)
{
    struct diff_chunks *new_chunks = &run->new_chunks, *old_chunks = &run->old_chunks;
    size_t old = 0;

    sort(new_chunks, compare_keys);
    sort(old_chunks, compare_keys);
    for (size_t i = 0; i < new_chunks->count; i++) {
        struct diff_chunk *chunk = &new_chunks->items[i];
        bool repeated = i > 0 && chunk[-1].key == chunk->key, held = false;
        while (old < old_chunks->count && compare_keys(&old_chunks->items[old], chunk) < 0) {
            held = old_chunks->items[old].key == chunk->key;
            old++;
        }
        if (old < old_chunks->count && compare_keys(&old_chunks->items[old], chunk) == 0)
            chunk->fate = DIFF_FATE_KEEP;
        else if (held || repeated || (old < old_chunks->count && old_chunks->items[old].key == chunk->key))
            chunk->fate = DIFF_FATE_COPY;
        else
            chunk->fate = DIFF_FATE_FETCH;
        run->result.chunks_missing += chunk->fate == DIFF_FATE_FETCH;
        run->result.bytes_missing += chunk->fate == DIFF_FATE_FETCH ? chunk->size : 0;
    }
    sort(new_chunks, compare_offsets);
    run->result.chunks = new_chunks->count;
    run->result.table_bytes = CHUNK_TABLE_HEADER_SIZE + (uint64_t)new_chunks->count * CHUNK_TABLE_ROW_SIZE;
}

/* OLD may have the bytes of a chunk at the same offset without being cut there, mostly zeros. A device looks
 * there, too, and keeps them. */
static bool find_in_place(struct diff_run *run, struct error *error)
{
    struct diff_chunks *chunks = &run->new_chunks;

    for (size_t i = 0; i < chunks->count; i++) {
        struct diff_chunk *chunk = &chunks->items[i];
        if (chunk->fate != DIFF_FATE_COPY || chunk->offset + chunk->size > run->result.old_size)
            continue;
        if (!device_read(run->old_device, run->old_block, chunk->size, chunk->offset, error))
            return false;
        if (digest_xxh3(run->old_block, chunk->size) == chunk->key)
            chunk->fate = DIFF_FATE_KEEP;
    }
    return true;
}

static bool diff_run(struct diff_run *run, struct error *error)
{
    const struct diff_settings *settings = run->settings;
    struct diff_result *result = &run->result;

    if (chunker_init(&run->chunker, settings->average) < 0)
        return error_set(error, ERROR_REFUSED,
                         "an average of %" PRIu32 " bytes is no power of two from %d to %d",
                         settings->average, CHUNKER_AVERAGE_MIN, CHUNKER_AVERAGE_MAX);
    if (!device_open_source(settings->new_path, &run->new_device, error) ||
        !device_open_source(settings->old_path, &run->old_device, error) ||
        !device_size(run->new_device, &result->new_size, error) ||
        !device_size(run->old_device, &result->old_size, error))
        return false;
    run->total = 2 * min_u64(result->new_size, result->old_size) + result->new_size + result->old_size;
    run->new_block = alloc_zeroed(DIFF_BLOCK_SIZE);
    run->old_block = alloc_zeroed(DIFF_BLOCK_SIZE);
    if (!compare_fixed(run, error) || !cut(run, run->new_device, result->new_size, &run->new_chunks, error) ||
        !cut(run, run->old_device, result->old_size, &run->old_chunks, error))
        return false;
    judge(run);
    return find_in_place(run, error);
}

bool diff_files(const struct diff_settings *settings, struct diff_result *ret_result, struct error *error)
{
    struct diff_run run = {.settings = settings};

    assert(settings->chunk_size >= 1);
    bool ok = diff_run(&run, error);

    device_close(run.new_device);
    device_close(run.old_device);
    free(run.new_block);
    free(run.old_block);
    free(run.old_chunks.items);
    if (ok) {
        *ret_result = run.result;
        ret_result->chunk_list = run.new_chunks.items;
    } else {
        free(run.new_chunks.items);
    }
    return ok;
}

void diff_result_add(struct diff_result *sum, const struct diff_result *result)
{
    sum->new_size += result->new_size;
    sum->old_size += result->old_size;
    sum->total += result->total;
    sum->same += result->same;
    sum->same_bytes += result->same_bytes;
    sum->chunks += result->chunks;
    sum->chunks_missing += result->chunks_missing;
    sum->bytes_missing += result->bytes_missing;
    sum->table_bytes += result->table_bytes;
}

void diff_result_finish(struct diff_result *result)
{
    free(result->chunk_list);
    result->chunk_list = NULL;
}
