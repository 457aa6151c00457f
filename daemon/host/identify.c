/* SPDX-License-Identifier: MIT */
#include "daemon/host/identify.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/io/device.h"

enum { READ_SIZE = 1024 * 1024 };

struct identify {
    struct pool_job job;
    char *paths[IDENTIFY_IMAGES_MAX];
    struct identify_image images[IDENTIFY_IMAGES_MAX];
    unsigned count;
    atomic_bool cancelled;
    bool equal;
    struct slot_print prints[IDENTIFY_IMAGES_MAX];
    identify_done_fn done;
    void *owner;
};

static bool hash_image(struct identify *identify, const struct identify_image *image,
                       const struct device *device, uint8_t *buffer, struct digest_stream *stream)
{
    uint8_t digest[DIGEST_SHA256_SIZE];
    struct error error;

    for (uint64_t offset = 0; offset < image->bytes;) {
        uint64_t left = image->bytes - offset;
        size_t size = left < READ_SIZE ? (size_t)left : READ_SIZE;
        if (atomic_load(&identify->cancelled) || !device_read(device, buffer, size, offset, &error))
            return false;
        digest_stream_update(stream, buffer, size);
        offset += size;
    }
    digest_stream_final(stream, digest, NULL);
    return memcmp(digest, image->sha256, sizeof(digest)) == 0;
}

/* Whether the place holds the image; then takes its fingerprint. */
static bool compare(struct identify *identify, const struct identify_image *image,
                    struct slot_print *ret_print)
{
    struct device *device;
    struct error error;
    uint64_t bytes;
    bool equal = false;

    if (!device_open_source(image->path, &device, &error))
        return false;
    if (device_size(device, &bytes, &error) && bytes >= image->bytes) {
        struct digest_stream *stream = digest_stream_new(true, false);
        uint8_t *buffer = alloc_zeroed(READ_SIZE);
        equal = hash_image(identify, image, device, buffer, stream);
        if (equal)
            slot_print_take(device, image->bytes, ret_print);
        free(buffer);
        digest_stream_free(stream);
    }
    device_close(device);
    return equal;
}

/* Runs on a pool thread. */
static void identify_run(struct pool_job *job)
{
    struct identify *identify = container_of(job, struct identify, job);

    identify->equal = true;
    for (unsigned i = 0; i < identify->count && identify->equal; i++)
        identify->equal = compare(identify, &identify->images[i], &identify->prints[i]);
}

static void identify_done(struct pool_job *job)
{
    struct identify *identify = container_of(job, struct identify, job);
    bool cancelled = atomic_load(&identify->cancelled);

    identify->done(identify->owner, identify->equal && !cancelled, cancelled, identify->prints);
    for (unsigned i = 0; i < identify->count; i++)
        free(identify->paths[i]);
    free(identify);
}

struct identify *identify_start(struct pool *pool, const struct identify_image *images, unsigned count,
                                identify_done_fn done, void *owner)
{
    struct identify *identify = alloc_zeroed(sizeof(*identify));

    assert(count >= 1 && count <= IDENTIFY_IMAGES_MAX);
    identify->job.run = identify_run;
    identify->job.done = identify_done;
    identify->count = count;
    for (unsigned i = 0; i < count; i++) {
        identify->images[i] = images[i];
        identify->images[i].path = identify->paths[i] = alloc_string(images[i].path);
    }
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
