/* SPDX-License-Identifier: MIT */
#include "common/sinter/verify.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"

enum { VERIFY_SLICE_SIZE = 8 * 1024 * 1024 };

struct verify {
    struct pool_job job;
    struct pool *pool;
    const struct device *device;
    const struct manifest *manifest;
    const struct verify_events *events;
    void *owner;
    atomic_bool stop;

    struct device_readback *readback;
    struct digest_stream *digest;
    uint64_t done_bytes;
    uint64_t slice_bytes;
    uint32_t xxh32;
    uint8_t sha256[DIGEST_SHA256_SIZE];
    bool finished;
    bool failed;
    struct error error;
    bool cached, cached_told;
    struct error cached_why;
};

static bool verify_compare(struct verify *verify)
{
    const uint8_t *sha256 = verify->sha256;
    const struct manifest *manifest = verify->manifest;
    const char *path = device_path(verify->device);

    digest_stream_final(verify->digest, manifest->has_sha256 ? verify->sha256 : NULL, &verify->xxh32);
    if (manifest->has_sha256 && memcmp(sha256, manifest->sha256, DIGEST_SHA256_SIZE) != 0) {
        char have[DIGEST_SHA256_HEX_SIZE], want[DIGEST_SHA256_HEX_SIZE];
        digest_sha256_to_hex(sha256, have);
        digest_sha256_to_hex(manifest->sha256, want);
        return error_set(
            &verify->error, ERROR_MISMATCH,
            "%s does not hold the image: read back, its SHA-256 is %.16s... and the manifest's is %.16s...; "
            "its medium may be failing, or something else wrote to it",
            path, have, want);
    }
    if (verify->xxh32 != manifest->file_hash)
        return error_set(
            &verify->error, ERROR_MISMATCH,
            "%s does not hold the image: read back, its XXH32 is %u and the manifest's is %u; its medium may "
            "be failing, or something else wrote to it",
            path, verify->xxh32, manifest->file_hash);
    return true;
}

/* Reads one slice; false with the error set where it cannot go on. */
static bool verify_slice(struct verify *verify)
{
    uint64_t image_size = verify->manifest->file_size, size;

    if (!verify->readback) {
        if (!device_size(verify->device, &size, &verify->error))
            return false;
        if (size < image_size || (!device_is_block(verify->device) && size != image_size))
            return error_set(&verify->error, ERROR_MISMATCH, "%s has %llu bytes and the image has %llu",
                             device_path(verify->device), (unsigned long long)size,
                             (unsigned long long)image_size);
        if (!device_readback_open(verify->device, &verify->readback, &verify->error))
            return false;
    }
    while (verify->done_bytes < image_size && verify->slice_bytes < VERIFY_SLICE_SIZE) {
        const uint8_t *data;
        size_t got;
        if (atomic_load_explicit(&verify->stop, memory_order_relaxed))
            return error_set(&verify->error, ERROR_CANCELLED, "the verification was cancelled");
        if (!device_readback_next(verify->readback, image_size, &data, &got, &verify->error))
            return false;
        digest_stream_update(verify->digest, data, got);
        verify->done_bytes += got;
        verify->slice_bytes += got;
    }
    if (verify->done_bytes < image_size)
        return true;
    verify->finished = true;
    return verify_compare(verify);
}

static void verify_run_slice(struct pool_job *job)
{
    struct verify *verify = container_of(job, struct verify, job);

    verify->slice_bytes = 0;
    if (!verify_slice(verify))
        verify->failed = verify->finished = true;
    if (verify->readback && !verify->cached)
        verify->cached = device_readback_is_cached(verify->readback, &verify->cached_why);
}

static void verify_slice_done(struct pool_job *job)
{
    struct verify *verify = container_of(job, struct verify, job);

    verify->events->progress(verify->owner, verify->slice_bytes);
    if (verify->cached && !verify->cached_told && verify->events->cached)
        verify->events->cached(verify->owner, &verify->cached_why);
    verify->cached_told = verify->cached;
    if (!verify->finished) {
        pool_submit(verify->pool, &verify->job);
        return;
    }
    verify->events->done(verify->owner, verify->failed ? &verify->error : NULL, verify->xxh32);
}

struct verify *verify_start(struct pool *pool, const struct device *device, const struct manifest *manifest,
                            const struct verify_events *events, void *owner)
{
    struct verify *verify = alloc_zeroed(sizeof(*verify));

    verify->job = (struct pool_job){.run = verify_run_slice, .done = verify_slice_done};
    verify->pool = pool;
    verify->device = device;
    verify->manifest = manifest;
    verify->events = events;
    verify->owner = owner;
    verify->digest = digest_stream_new(manifest->has_sha256, true);
    pool_submit(pool, &verify->job);
    return verify;
}

void verify_stop(struct verify *verify)
{
    atomic_store_explicit(&verify->stop, true, memory_order_relaxed);
}

bool verify_get_sha256(const struct verify *verify, uint8_t ret_sha256[DIGEST_SHA256_SIZE])
{
    if (!verify->finished || verify->failed || !verify->manifest->has_sha256)
        return false;
    memcpy(ret_sha256, verify->sha256, sizeof(verify->sha256));
    return true;
}

struct verify *verify_free(struct verify *verify)
{
    if (!verify)
        return NULL;
    device_readback_close(verify->readback);
    digest_stream_free(verify->digest);
    free(verify);
    return NULL;
}
