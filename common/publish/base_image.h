/* SPDX-License-Identifier: MIT */
/*
 * An earlier release's image, for a publisher who makes patches against it: which of its chunks the new image
 * has too, and where its bytes look like the new one's. Blocks on the medium.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/publish/similarity.h"

struct device;

#define BASE_IMAGE_NONE UINT32_MAX

struct base_chunk {
    uint64_t key;    /* XXH3-64 */
    uint64_t offset; /* in the base, bytes */
    uint32_t size;   /* bytes */
};

struct base_image {
    struct device *device;
    uint64_t size; /* bytes */
    struct base_chunk *chunks;
    uint32_t chunk_count;
    /* For each chunk of the new image the base's chunk that is the same, or BASE_IMAGE_NONE. The base's last
     * chunk is never meant: on a partition it ends elsewhere. */
    uint32_t *held;
    struct similarity *similarity; /* NULL until base_image_sample() */
};

/* Told now and then how many bytes more were read. */
typedef void (*base_image_progress_fn)(void *owner, uint64_t bytes);

/* Opens an image; an empty one is refused. */
bool base_image_open(const char *path, struct base_image **ret_base, struct error *error);

/* Cuts it by the table's chunker, and finds what the new image has of it. Refuses an image that is not what a
 * manifest beside it (`path`.json) says. */
bool base_image_cut(struct base_image *base, const struct chunk_table *table, base_image_progress_fn progress,
                    void *owner, struct error *error);

/* Closes and frees; NULL is fine. Returns NULL. */
struct base_image *base_image_free(struct base_image *base);

/* Makes `similarity`, on all processors. */
bool base_image_sample(struct base_image *base, base_image_progress_fn progress, void *owner,
                       struct error *error);

/* Frees `similarity` again, which is the most of a base's memory. */
void base_image_forget_samples(struct base_image *base);
