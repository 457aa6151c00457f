/* SPDX-License-Identifier: MIT */
#include "common/sinter/scan.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/digest.h"

enum {
    SCAN_BUFFER_SIZE = 1024 * 1024,
    /* Read by one job before the loop hears of it: small enough to stop quickly on a slow medium. */
    SCAN_SLICE_SIZE = 8 * 1024 * 1024,
    /* A slice also ends after so many finds: many tiny chunks would cost more memory than the buffer, and the
     * loop's time. */
    SCAN_SLICE_FINDS = 4096,
    /* How much of a hole is passed at once: the chunks of zeros in it are reported one by one. */
    SCAN_HOLE_MAX = 64 * 1024 * 1024,
    SCAN_ZEROS_SIZE_MIN = 64 * 1024,
};

struct scan {
    struct pool_job job;
    struct pool *pool;
    struct scan_settings settings;
    const struct scan_events *events;
    void *owner;
    atomic_bool stop;

    /* the window: buffer[0] is byte `window_offset` of the source */
    uint8_t *buffer;
    size_t buffer_size;
    uint64_t window_offset;
    size_t window_size;
    uint64_t cut_offset;  /* where the next chunk by content starts */
    uint32_t place_next;  /* the next chunk to look for in place */
    uint32_t expect;      /* the chunk that probably starts at cut_offset, or CHUNK_INDEX_NONE */
    size_t bad_size;      /* so many bytes behind the window cannot be read */
    uint64_t slice_bytes; /* read by the last slice, or passed over */
    struct digest_stream *hash;
    /* for holes: a buffer of zeros, at least as large as the largest chunk; zeros_cut is the length of the
     * chunk that zeros are cut into */
    uint8_t *zeros;
    size_t zeros_size, zeros_cut;
    uint32_t zero_key_size; /* the size of the zeros whose key is zero_key; 0: none yet */
    uint64_t zero_key;

    /* what the last slice saw */
    struct scan_find *finds;
    size_t find_count, find_room;
    bool finished;
    bool failed;
    struct error error;
};

static void scan_add_find(struct scan *scan, uint32_t chunk, bool in_place, uint64_t offset)
{
    scan->finds = alloc_grow(scan->finds, sizeof(scan->finds[0]), scan->find_count + 1, &scan->find_room);
    scan->finds[scan->find_count++] =
        (struct scan_find){.chunk = chunk, .in_place = in_place, .offset = offset};
}

/* Whether chunk `chunk` stands at `offset` of the source, which lies whole within the window. */
static bool scan_is_chunk(const struct scan *scan, uint32_t chunk, uint64_t offset)
{
    const struct chunk_table *table = scan->settings.table;
    const uint8_t *data = scan->buffer + (offset - scan->window_offset);

    return chunk_table_key_of(table, data, chunk_table_size(table, chunk)) == chunk_table_key(table, chunk);
}

static uint64_t scan_window_end(const struct scan *scan)
{
    return scan->window_offset + scan->window_size;
}

/* Looks for chunks at their own offset: in the target, or with fixed chunks in any source. */
static void scan_places(struct scan *scan)
{
    const struct chunk_table *table = scan->settings.table;
    uint32_t count = chunk_table_count(table);

    for (; scan->place_next < count; scan->place_next++) {
        uint32_t chunk = scan->place_next;
        uint64_t offset = chunk_table_offset(table, chunk);
        if (offset + chunk_table_size(table, chunk) > scan_window_end(scan))
            break;
        if (!scan_is_chunk(scan, chunk, offset))
            continue;
        if (scan->settings.is_target && scan->settings.prove &&
            !chunk_table_proves(table, chunk, scan->buffer + (offset - scan->window_offset)))
            continue;
        scan_add_find(scan, chunk, scan->settings.is_target, offset);
    }
}

/* Cuts the window by content. After a known chunk the next one of the image is tried first: hashing is
 * several times faster than cutting, and in an unchanged stretch the guess is always right. */
static void scan_cuts(struct scan *scan)
{
    const struct chunk_table *table = scan->settings.table;
    const struct chunker *chunker = chunk_table_chunker(table);
    bool last = scan_window_end(scan) == scan->settings.size_bytes || scan->bad_size > 0;

    while (scan->cut_offset < scan_window_end(scan)) {
        size_t left = (size_t)(scan_window_end(scan) - scan->cut_offset);
        if (left < chunker->maximum && !last)
            return;
        uint32_t found = scan->expect;
        size_t size = found == CHUNK_INDEX_NONE ? 0 : chunk_table_size(table, found);
        if (size > left && scan->bad_size > 0)
            return; /* see scan_pass_over() */
        if (size == 0 || size > left || !scan_is_chunk(scan, found, scan->cut_offset)) {
            const uint8_t *data = scan->buffer + (scan->cut_offset - scan->window_offset);
            size = chunker_cut(chunker, data, left);
            found =
                chunk_index_find(scan->settings.index, chunk_table_key_of(table, data, size), (uint32_t)size);
        }
        scan->expect = CHUNK_INDEX_NONE;
        if (found != CHUNK_INDEX_NONE) {
            scan_add_find(scan, chunk_index_first_alike(scan->settings.index, found), false,
                          scan->cut_offset);
            if (found + 1 < chunk_table_count(table))
                scan->expect = found + 1;
        }
        scan->cut_offset += size;
    }
}

static bool scan_looks_for_places(const struct scan *scan)
{
    return scan->settings.is_target || !chunk_table_is_content_defined(scan->settings.table);
}

/* Goes on behind a part that cannot be read, so that only the chunks it touches are lost. If the chunk
 * expected at the cut is one of them, the next is looked for where that one would have ended. */
static void scan_pass_over(struct scan *scan)
{
    const struct chunk_table *table = scan->settings.table;
    uint32_t count = chunk_table_count(table);
    uint64_t start = scan_window_end(scan) + scan->bad_size, cut_offset = scan->cut_offset;

    while (scan->place_next < count && chunk_table_offset(table, scan->place_next) < start)
        scan->place_next++;
    for (; cut_offset < start && scan->expect != CHUNK_INDEX_NONE;) {
        cut_offset += chunk_table_size(table, scan->expect);
        scan->expect = scan->expect + 1 < count ? scan->expect + 1 : CHUNK_INDEX_NONE;
    }
    scan->cut_offset = cut_offset < start ? start : cut_offset;
    scan->slice_bytes += scan->bad_size;
    scan->bad_size = 0;
    scan->window_offset = start;
    scan->window_size = 0;
}

/* The first byte that is still needed, at most `end`. */
static uint64_t scan_needed(const struct scan *scan, uint64_t end)
{
    const struct chunk_table *table = scan->settings.table;
    uint64_t needed = end;

    if (scan_looks_for_places(scan) && scan->place_next < chunk_table_count(table) &&
        chunk_table_offset(table, scan->place_next) < needed)
        needed = chunk_table_offset(table, scan->place_next);
    if (chunk_table_is_content_defined(table) && scan->cut_offset < needed)
        needed = scan->cut_offset;
    return needed;
}

/* Adds these bytes from `offset` of the source to the XXH32 for the ancestor's events, as far as they lie
 * within the image's size. */
static void scan_hash(struct scan *scan, const uint8_t *data, size_t size, uint64_t offset)
{
    uint64_t image_size = chunk_table_image_size(scan->settings.table);
    uint64_t of_image = offset < image_size ? image_size - offset : 0;

    if (scan->hash)
        digest_stream_update(scan->hash, data, of_image < size ? (size_t)of_image : size);
}

static bool scan_is_zeros(struct scan *scan, uint32_t chunk)
{
    const struct chunk_table *table = scan->settings.table;
    uint32_t size = chunk_table_size(table, chunk);

    if (size != scan->zero_key_size)
        scan->zero_key = chunk_table_key_of(table, scan->zeros, size);
    scan->zero_key_size = size;
    return chunk_table_key(table, chunk) == scan->zero_key;
}

/* All from scan_needed() up to `end` is zeros. Cutting zeros gives the same chunk again and again, so it is
 * done once, and cut_offset is moved to where the cuts would have led. */
static void scan_zeros(struct scan *scan, uint64_t end)
{
    const struct chunk_table *table = scan->settings.table;
    uint32_t count = chunk_table_count(table);

    for (; scan_looks_for_places(scan) && scan->place_next < count; scan->place_next++) {
        uint64_t offset = chunk_table_offset(table, scan->place_next);
        if (offset + chunk_table_size(table, scan->place_next) > end)
            break;
        if (scan_is_zeros(scan, scan->place_next))
            scan_add_find(scan, scan->place_next, scan->settings.is_target, offset);
    }
    if (!chunk_table_is_content_defined(table))
        return;
    uint32_t found =
        chunk_index_find(scan->settings.index, chunk_table_key_of(table, scan->zeros, scan->zeros_cut),
                         (uint32_t)scan->zeros_cut);
    if (found != CHUNK_INDEX_NONE)
        scan_add_find(scan, chunk_index_first_alike(scan->settings.index, found), false, scan->cut_offset);
    scan->cut_offset += (end - scan->cut_offset) / scan->zeros_cut * scan->zeros_cut;
    scan->expect = CHUNK_INDEX_NONE;
}

/* If a long hole follows, jumps close to its end without reading it, and returns true. Never in a target
 * whose chunks must be proved: a verification has failed before, so only what was really read counts. */
static bool scan_skip_hole(struct scan *scan)
{
    uint64_t size = scan->settings.size_bytes, needed = scan_needed(scan, scan_window_end(scan));

    if (scan->settings.is_target && scan->settings.prove)
        return false;
    uint64_t end = device_find_data(scan->settings.device, needed, size);
    /* Long enough that what is left of the hole lies behind the window, whatever the window holds. */
    uint64_t least = 2 * (uint64_t)scan->buffer_size, most = least < SCAN_HOLE_MAX ? SCAN_HOLE_MAX : least;
    if (end - needed < least)
        return false;
    if (end - needed > most && scan_looks_for_places(scan) &&
        scan->place_next < chunk_table_count(scan->settings.table))
        end = needed + most;
    scan_zeros(scan, end);
    uint64_t start = scan_needed(scan, end), image_size = chunk_table_image_size(scan->settings.table);
    uint64_t hash_end = start < image_size ? start : image_size;
    for (uint64_t at = scan_window_end(scan), piece; at < hash_end; at += piece) {
        piece = hash_end - at < scan->zeros_size ? hash_end - at : scan->zeros_size;
        scan_hash(scan, scan->zeros, (size_t)piece, at);
    }
    scan->slice_bytes += start - scan_window_end(scan);
    scan->window_offset = start;
    scan->window_size = 0;
    return true;
}

/* Drops what is no longer needed and fills the rest of the buffer. */
static bool scan_read(struct scan *scan)
{
    uint64_t needed = scan_needed(scan, scan_window_end(scan));
    size_t drop = (size_t)(needed - scan->window_offset);
    memmove(scan->buffer, scan->buffer + drop, scan->window_size - drop);
    scan->window_offset += drop;
    scan->window_size -= drop;

    uint64_t left = scan->settings.size_bytes - scan_window_end(scan);
    size_t want = scan->buffer_size - scan->window_size;
    if (want > left)
        want = (size_t)left;
    assert(want > 0);
    uint8_t *end = scan->buffer + scan->window_size;
    if (!device_read_around(scan->settings.device, end, want, scan_window_end(scan), &want, &scan->bad_size,
                            &scan->error))
        return false;
    scan_hash(scan, end, want, scan_window_end(scan));
    scan->window_size += want;
    scan->slice_bytes += want;
    return true;
}

static void scan_run_slice(struct pool_job *job)
{
    struct scan *scan = container_of(job, struct scan, job);

    scan->find_count = 0;
    scan->slice_bytes = 0;
    while (!scan->finished && scan->slice_bytes < SCAN_SLICE_SIZE && scan->find_count < SCAN_SLICE_FINDS) {
        if (atomic_load_explicit(&scan->stop, memory_order_relaxed) ||
            scan_window_end(scan) == scan->settings.size_bytes) {
            scan->finished = true;
        } else if (scan_skip_hole(scan)) {
            continue;
        } else if (!scan_read(scan)) {
            scan->failed = scan->finished = true;
        } else {
            if (scan_looks_for_places(scan))
                scan_places(scan);
            if (chunk_table_is_content_defined(scan->settings.table))
                scan_cuts(scan);
            if (scan->bad_size > 0)
                scan_pass_over(scan);
        }
    }
    /* What could not be read is reported once, at the end. */
    if (scan->finished && device_is_damaged(scan->settings.device, &scan->error))
        scan->failed = true;
}

static void scan_slice_done(struct pool_job *job)
{
    struct scan *scan = container_of(job, struct scan, job);
    uint32_t xxh32 = 0;

    scan->events->progress(scan->owner, scan->slice_bytes, scan->finds, scan->find_count);
    if (!scan->finished) {
        pool_submit(scan->pool, &scan->job);
        return;
    }
    if (scan->hash)
        digest_stream_final(scan->hash, NULL, &xxh32);
    scan->events->done(scan->owner, scan->failed ? &scan->error : NULL, xxh32);
}

struct scan *scan_start(struct pool *pool, const struct scan_settings *settings,
                        const struct scan_events *events, void *owner)
{
    struct scan *scan = alloc_zeroed(sizeof(*scan));

    scan->job = (struct pool_job){.run = scan_run_slice, .done = scan_slice_done};
    scan->pool = pool;
    scan->settings = *settings;
    scan->events = events;
    scan->owner = owner;
    scan->expect = CHUNK_INDEX_NONE;
    /* Twice the largest chunk, so that a chunk that begins in the window can be completed without dropping
     * it. */
    uint32_t largest = chunk_table_is_content_defined(settings->table)
                           ? chunk_table_chunker(settings->table)->maximum
                           : chunk_table_size_max(settings->table);
    scan->buffer_size = (size_t)largest * 2 > SCAN_BUFFER_SIZE ? (size_t)largest * 2 : SCAN_BUFFER_SIZE;
    scan->buffer = malloc(scan->buffer_size);
    scan->zeros_size = largest > SCAN_ZEROS_SIZE_MIN ? largest : SCAN_ZEROS_SIZE_MIN;
    scan->zeros = calloc(scan->zeros_size, 1);
    /* The publisher chose the size of chunks: a machine without so much memory does without this source. */
    if (!scan->buffer || !scan->zeros) {
        error_set_errno(&scan->error, ENOMEM, "cannot look through %s, which takes %zu bytes of memory",
                        device_path(settings->device), scan->buffer_size + scan->zeros_size);
        scan->failed = scan->finished = true;
    } else if (chunk_table_is_content_defined(settings->table))
        scan->zeros_cut = chunker_cut(chunk_table_chunker(settings->table), scan->zeros, largest);
    if (settings->hash)
        scan->hash = digest_stream_new(false, true);
    pool_submit(pool, &scan->job);
    return scan;
}

void scan_stop(struct scan *scan)
{
    atomic_store_explicit(&scan->stop, true, memory_order_relaxed);
}

struct scan *scan_free(struct scan *scan)
{
    if (!scan)
        return NULL;
    digest_stream_free(scan->hash);
    free(scan->finds);
    free(scan->buffer);
    free(scan->zeros);
    free(scan);
    return NULL;
}
