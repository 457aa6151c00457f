/* SPDX-License-Identifier: MIT */
/*
 * The image of an earlier release, called a base, against which a publisher makes patches: which of its
 * chunks the new image has too, and where its bytes are similar to the new image's. Blocks on the medium: for
 * programs without a loop. One thread at a time; several may read a base that is finished.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/publish/similarity.h"

struct device;

#define BASE_IMAGE_NONE UINT32_MAX

/* A chunk of a base, cut by the new image's chunker. */
struct base_chunk {
    uint64_t key;    /* XXH3-64 */
    uint64_t offset; /* in the base, bytes */
    uint32_t size;   /* bytes */
};

struct base_image {
    struct device *device;
    uint64_t size;             /* bytes */
    struct base_chunk *chunks; /* since base_image_cut(), as `held` */
    uint32_t chunk_count;
    /* For each chunk of the new image the index of the base's chunk that is the same, or BASE_IMAGE_NONE.
     * Never the base's last chunk: a device has the base in a partition that is larger, where the last chunk
     * is cut elsewhere. */
    uint32_t *held;
    struct similarity *similarity; /* from base_image_sample() until base_image_forget_samples(), else NULL */
};

/* Called now and then with the number of bytes read since the last call. */
typedef void (*base_image_progress_fn)(void *owner, uint64_t bytes);

/* Opens an image; an empty one is refused. Freed by base_image_free(). */
bool base_image_open(const char *path, struct base_image **ret_base, struct error *error);

/* Cuts the base by the chunker of `table`, the new image's, and finds the chunks that both have. If there is
 * a manifest beside the base (`path`.json), a base that it does not describe is an ERROR_MISMATCH. */
bool base_image_cut(struct base_image *base, const struct chunk_table *table, base_image_progress_fn progress,
                    void *owner, struct error *error);

/* Closes and frees; NULL is fine. Returns NULL. */
struct base_image *base_image_free(struct base_image *base);

/* Makes `similarity`, on all processors. At most once. */
bool base_image_sample(struct base_image *base, base_image_progress_fn progress, void *owner,
                       struct error *error);

/* Frees `similarity`, which takes most of a base's memory. */
void base_image_forget_samples(struct base_image *base);
