/* SPDX-License-Identifier: MIT */
#include "daemon/host/identify.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/io/device.h"

enum { READ_SIZE = 1024 * 1024 };

struct identify {
    struct pool_job job;
    char *path;
    uint64_t image_bytes;
    uint8_t sha256[DIGEST_SHA256_SIZE];
    atomic_bool cancelled;
    bool equal;
    struct slot_print print;
    identify_done_fn done;
    void *owner;
};

static bool hash_image(struct identify *identify, const struct device *device, uint8_t *buffer,
                       struct digest_stream *stream)
{
    uint8_t digest[DIGEST_SHA256_SIZE];
    struct error error;

    for (uint64_t offset = 0; offset < identify->image_bytes;) {
        uint64_t left = identify->image_bytes - offset;
        size_t size = left < READ_SIZE ? (size_t)left : READ_SIZE;
        if (atomic_load(&identify->cancelled) || !device_read(device, buffer, size, offset, &error))
            return false;
        digest_stream_update(stream, buffer, size);
        offset += size;
    }
    digest_stream_final(stream, digest, NULL);
    return memcmp(digest, identify->sha256, sizeof(digest)) == 0;
}

/* Runs on a pool thread. */
static void identify_run(struct pool_job *job)
{
    struct identify *identify = container_of(job, struct identify, job);
    struct device *device;
    struct error error;
    uint64_t bytes;

    if (!device_open_source(identify->path, &device, &error))
        return;
    if (device_size(device, &bytes, &error) && bytes >= identify->image_bytes) {
        struct digest_stream *stream = digest_stream_new(true, false);
        uint8_t *buffer = alloc_zeroed(READ_SIZE);
        identify->equal = hash_image(identify, device, buffer, stream);
        if (identify->equal)
            slot_print_take(device, identify->image_bytes, &identify->print);
        free(buffer);
        digest_stream_free(stream);
    }
    device_close(device);
}

static void identify_done(struct pool_job *job)
{
    struct identify *identify = container_of(job, struct identify, job);
    identify_done_fn done = identify->done;
    void *owner = identify->owner;
    struct slot_print print = identify->print;
    bool cancelled = atomic_load(&identify->cancelled), equal = identify->equal && !cancelled;

    free(identify->path);
    free(identify);
    done(owner, equal, cancelled, &print);
}

struct identify *identify_start(struct pool *pool, const char *path, uint64_t image_bytes,
                                const uint8_t sha256[DIGEST_SHA256_SIZE], identify_done_fn done, void *owner)
{
    struct identify *identify = alloc_zeroed(sizeof(*identify));

    identify->job.run = identify_run;
    identify->job.done = identify_done;
    identify->path = alloc_string(path);
    identify->image_bytes = image_bytes;
    memcpy(identify->sha256, sha256, sizeof(identify->sha256));
    identify->done = done;
    identify->owner = owner;
    pool_submit(pool, &identify->job);
    return identify;
}

void identify_cancel(struct identify *identify)
{
    if (identify)
        atomic_store(&identify->cancelled, true);
}
