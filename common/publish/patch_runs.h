/* SPDX-License-Identifier: MIT */
/*
 * Finds the runs of the new image's chunks for which a patch is tried: neighbouring chunks that the base does
 * not have. A few bytes of chunks that it has may lie in between: they cost a patch next to nothing, and one
 * patch costs less than two. A run that is too long for one patch is cut up. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/publish/base_image.h"
#include "common/sinter/chunk_index.h"

/* Up to so many bytes between them two runs become one. */
enum { PATCH_RUN_GAP_MAX = 128 * 1024 };

struct patch_run {
    uint32_t first, count; /* chunks of the new image */
    uint64_t offset;       /* in the new image, bytes */
    uint32_t size;         /* bytes */
    /* The run's neighbours, which are the nearest chunks of the image on either side that the base has:
     * whether there is one, where it ends or begins in the base, and how far it is from the run in the image;
     * bytes. */
    bool has_before, has_after;
    uint64_t before_end, before_distance;
    uint64_t after_begin, after_distance;
};

/* Whether a device with this base has to fetch or patch the chunk: the base does not have it, and it is not
 * like an earlier chunk of the image, from which it would be copied. */
bool patch_run_needs(const struct base_image *base, const struct chunk_index *index, uint32_t chunk);

/* Finds the runs against `base`, each of at most `output_max` bytes, which no chunk may exceed. The caller
 * frees *ret_runs. Returns how many there are. */
uint32_t patch_runs_find(const struct chunk_table *table, const struct chunk_index *index,
                         const struct base_image *base, uint32_t output_max, struct patch_run **ret_runs);
