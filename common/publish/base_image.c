/* SPDX-License-Identifier: MIT */
#include "common/publish/base_image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/image/manifest.h"
#include "common/io/device.h"
#include "common/publish/in_order.h"
#include "common/publish/published.h"

enum {
    BASE_READ_SIZE = 1024 * 1024,       /* bytes read at once while cutting */
    BASE_SAMPLE_SIZE = 4 * 1024 * 1024, /* bytes sampled as one piece of work */
};

struct base_cutter {
    struct base_image *base;
    uint64_t offset; /* where the next chunk begins */
    uint32_t room;   /* allocated chunks */
};

static bool add_chunk(void *owner, const uint8_t *data, size_t size)
{
    struct base_cutter *cutter = owner;
    struct base_image *base = cutter->base;

    if (base->chunk_count == cutter->room) {
        uint32_t room = cutter->room ? cutter->room * 2 : 1024;
        struct base_chunk *chunks =
            room > cutter->room ? reallocarray(base->chunks, room, sizeof(*chunks)) : NULL;
        if (!chunks)
            return false;
        base->chunks = chunks;
        cutter->room = room;
    }
    base->chunks[base->chunk_count++] =
        (struct base_chunk){.key = digest_xxh3(data, size), .offset = cutter->offset, .size = (uint32_t)size};
    cutter->offset += size;
    return true;
}

/* Ends the digest and compares it. Devices hold the image that the manifest describes, so patches against any
 * other bytes would be useless. */
static bool check_manifest(const struct base_image *base, const struct manifest *manifest,
                           struct digest_stream *digest, struct error *error)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];
    uint32_t xxh32;

    digest_stream_final(digest, sha256, &xxh32);
    if (manifest->file_size == base->size && manifest->file_hash == xxh32 &&
        (!manifest->has_sha256 || memcmp(manifest->sha256, sha256, sizeof(sha256)) == 0))
        return true;
    const char *path = device_path(base->device);
    return error_set(
        error, ERROR_MISMATCH,
        "%s is not the image that %s.json describes, so no device has it; give the image as it was "
        "published, or remove the manifest",
        path, path);
}

static bool cut(struct base_image *base, const struct chunk_table *table, struct digest_stream *digest,
                base_image_progress_fn progress, void *owner, struct error *error)
{
    struct base_cutter cutter = {.base = base};
    CLEANUP_FREE uint8_t *block = alloc_zeroed(BASE_READ_SIZE);
    struct chunker_stream *stream = chunker_stream_new(chunk_table_chunker(table), add_chunk, &cutter);
    bool ok = true, taken = true;

    if (!stream)
        return error_set_errno(error, ENOMEM, "cannot cut %s into chunks", device_path(base->device));
    for (uint64_t done = 0; ok && taken && done < base->size;) {
        size_t part = base->size - done < BASE_READ_SIZE ? (size_t)(base->size - done) : BASE_READ_SIZE;
        ok = device_read(base->device, block, part, done, error);
        if (ok && digest)
            digest_stream_update(digest, block, part);
        taken = ok && chunker_stream_add(stream, block, part);
        done += part;
        progress(owner, part);
    }
    taken = taken && chunker_stream_end(stream);
    chunker_stream_free(stream);
    if (ok && !taken)
        ok = error_set(error, ERROR_SYSTEM, "there is no memory for the chunks of %s; take a larger average",
                       device_path(base->device));
    return ok;
}

static const struct base_chunk *const *chunk_pointer(const void *pointer)
{
    return pointer;
}

static int compare_keys(const void *a, const void *b)
{
    const struct base_chunk *chunk_a = *chunk_pointer(a), *chunk_b = *chunk_pointer(b);

    if (chunk_a->key != chunk_b->key)
        return chunk_a->key < chunk_b->key ? -1 : 1;
    if (chunk_a->size != chunk_b->size)
        return chunk_a->size < chunk_b->size ? -1 : 1;
    return (chunk_a > chunk_b) - (chunk_a < chunk_b);
}

static bool is_same(const struct base_chunk *chunk, uint64_t key, uint32_t size)
{
    return chunk->key == key && chunk->size == size;
}

/* The first chunk with this key and size among `count` sorted ones; NULL if there is none. */
static const struct base_chunk *find(const struct base_chunk *const *sorted, uint32_t count, uint64_t key,
                                     uint32_t size)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct base_chunk *chunk = sorted[middle];
        if (chunk->key < key || (chunk->key == key && chunk->size < size))
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && is_same(sorted[low], key, size) ? sorted[low] : NULL;
}

/* Fills `held`. If the base has several chunks that are alike, the one that follows the last match is taken,
 * as runs of neighbours are short to write in the index. */
static void match(struct base_image *base, const struct chunk_table *table)
{
    uint32_t count = base->chunk_count - 1, last = BASE_IMAGE_NONE;
    const struct base_chunk **sorted = alloc_array(count, sizeof(struct base_chunk *));

    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &base->chunks[i];
    qsort(sorted, count, sizeof(const struct base_chunk *), compare_keys);
    base->held = alloc_array(chunk_table_count(table), sizeof(*base->held));
    for (uint32_t i = 0; i < chunk_table_count(table); i++) {
        uint64_t key = chunk_table_key(table, i);
        uint32_t size = chunk_table_size(table, i);
        if (last != BASE_IMAGE_NONE && last + 1 < count && is_same(&base->chunks[last + 1], key, size)) {
            last++;
        } else {
            const struct base_chunk *found = find(sorted, count, key, size);
            last = found ? (uint32_t)(found - base->chunks) : BASE_IMAGE_NONE;
        }
        base->held[i] = last;
    }
    free(sorted);
}

bool base_image_open(const char *path, struct base_image **ret_base, struct error *error)
{
    struct base_image *base = alloc_zeroed(sizeof(*base));

    bool ok = device_open_source(path, &base->device, error) && device_size(base->device, &base->size, error);
    if (ok && base->size == 0)
        ok = error_set(error, ERROR_REFUSED, "%s is empty, so there is nothing to make patches from", path);
    if (!ok) {
        base_image_free(base);
        return false;
    }
    *ret_base = base;
    return true;
}

bool base_image_cut(struct base_image *base, const struct chunk_table *table, base_image_progress_fn progress,
                    void *owner, struct error *error)
{
    struct manifest *manifest = NULL;
    struct error missing;
    size_t manifest_size;

    /* A base that was not published by this command has no manifest. */
    if (!published_read_manifest(device_path(base->device), &manifest, &manifest_size, NULL, &missing) &&
        missing.code != ENOENT) {
        *error = missing;
        return false;
    }
    struct digest_stream *digest = manifest ? digest_stream_new(true, true) : NULL;
    bool ok = cut(base, table, digest, progress, owner, error) &&
              (!manifest || check_manifest(base, manifest, digest, error));
    if (ok)
        match(base, table);
    digest_stream_free(digest);
    manifest_free(manifest);
    return ok;
}

struct base_image *base_image_free(struct base_image *base)
{
    if (!base)
        return NULL;
    device_close(base->device);
    free(base->chunks);
    free(base->held);
    similarity_free(base->similarity);
    free(base);
    return NULL;
}

struct sampling {
    struct base_image *base;
    base_image_progress_fn progress;
    void *owner;
};

/* The result of one piece of the base. */
struct sampled {
    uint64_t *samples;
    size_t count;
    size_t size; /* bytes */
};

static void *sample_piece(void *owner, void *worker, uint64_t item, struct error *error)
{
    struct sampling *sampling = owner;
    struct base_image *base = sampling->base;
    uint64_t begin = item * BASE_SAMPLE_SIZE, end = begin + BASE_SAMPLE_SIZE;

    if (end > base->size)
        end = base->size;
    /* Windows that begin before this piece and end in it belong to this piece. */
    uint64_t from = begin < SIMILARITY_WINDOW - 1 ? begin : begin - (SIMILARITY_WINDOW - 1);
    size_t size = (size_t)(end - from);
    CLEANUP_FREE uint8_t *data = alloc_zeroed(size);
    if (!device_read(base->device, data, size, from, error))
        return NULL;
    struct sampled *sampled = alloc_zeroed(sizeof(*sampled));
    sampled->size = (size_t)(end - begin);
    sampled->count = similarity_take_samples(base->similarity, data, size, from, &sampled->samples);
    return sampled;
}

static void drop_sampled(void *result)
{
    struct sampled *sampled = result;

    free(sampled->samples);
    free(sampled);
}

static bool take_sampled(void *owner, uint64_t item, void *result, struct error *error)
{
    struct sampling *sampling = owner;
    const struct sampled *sampled = result;

    similarity_add(sampling->base->similarity, sampled->samples, sampled->count);
    sampling->progress(sampling->owner, sampled->size);
    return true;
}

bool base_image_sample(struct base_image *base, base_image_progress_fn progress, void *owner,
                       struct error *error)
{
    struct sampling sampling = {.base = base, .progress = progress, .owner = owner};
    struct in_order_settings settings = {
        .run = sample_piece, .take = take_sampled, .drop = drop_sampled, .owner = &sampling};

    assert(!base->similarity);
    base->similarity = similarity_new(base->size);
    if (!in_order_run(&settings, (base->size + BASE_SAMPLE_SIZE - 1) / BASE_SAMPLE_SIZE, error))
        return false;
    similarity_finish(base->similarity);
    return true;
}

void base_image_forget_samples(struct base_image *base)
{
    base->similarity = similarity_free(base->similarity);
}
