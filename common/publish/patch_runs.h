/* SPDX-License-Identifier: MIT */
/*
 * Which runs of the new image's chunks a patch is worth trying for. Chunks that the base lacks form runs,
 * with the chunks between them where these are few bytes: they cost a patch next to nothing, and two patches
 * in one save more. A run that is too long for one patch is cut up. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/publish/base_image.h"
#include "common/sinter/chunk_index.h"

/* Bytes of chunks that the base has, up to which two runs become one. */
enum { PATCH_RUN_GAP_MAX = 128 * 1024 };

struct patch_run {
    uint32_t first, count; /* chunks of the new image */
    uint64_t offset;       /* in the new image, bytes */
    uint32_t size;         /* bytes */
    /* Where the base has what stands before and after the run: the end of the nearest chunk before that it
     * has, and how many bytes before the run that chunk ends; the same after. */
    bool has_before, has_after;
    uint64_t before_end, before_distance;
    uint64_t after_begin, after_distance;
};

/* Whether the base lacks chunk `chunk`, and no earlier chunk of the image is alike (that one would be
 * copied). */
bool patch_run_needs(const struct base_image *base, const struct chunk_index *index, uint32_t chunk);

/* The runs of the image against `base`, none of more than `output_max` bytes (which no chunk exceeds);
 * *ret_runs is the caller's. Returns their number. */
uint32_t patch_runs_find(const struct chunk_table *table, const struct chunk_index *index,
                         const struct base_image *base, uint32_t output_max, struct patch_run **ret_runs);
