/* SPDX-License-Identifier: MIT */
/*
 * Makes the patches of a pack against one base: a frame for each run of chunks that the base does not have,
 * if that is smaller than the chunks' own frames. Works on all processors. Blocks: for programs without a
 * loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/image/chunk_table.h"
#include "common/image/patch_list.h"
#include "common/publish/base_image.h"
#include "common/publish/patch_runs.h"
#include "common/sinter/chunk_index.h"

struct pack_patches {
    const struct device *image;
    const struct chunk_table *table;
    const struct chunk_index *index;
    const struct base_image *base; /* base_image_sample() was called */
    const struct patch_run *runs;
    uint32_t run_count;
    const uint32_t *costs;                         /* of each chunk, bytes that are fetched without a patch */
    uint32_t span_max;                             /* bytes, see struct pack_settings */
    uint32_t output_max;                           /* bytes, see there */
    void (*progress)(void *owner, uint64_t bytes); /* `bytes` of the runs were done since the last call */
    void *owner;
};

/* The patches that were made, as the base's index lists them. */
struct pack_patch_list {
    struct patch *patches;
    uint32_t patch_count;
    struct patch_span *spans;
    uint32_t span_count;
    size_t spans_room;
};

/* Appends the frames of the patches to `writer` and fills `ret_list`. The caller zeroes it before and calls
 * pack_patch_list_finish() in every case. */
bool pack_patches_write(const struct pack_patches *settings, struct file_writer *writer,
                        struct pack_patch_list *ret_list, struct error *error);

/* Frees what the list holds. */
void pack_patch_list_finish(struct pack_patch_list *list);
