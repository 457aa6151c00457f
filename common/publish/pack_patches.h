/* SPDX-License-Identifier: MIT */
/*
 * The patches of a pack against one base: a frame for every run of chunks that the base lacks, where that is
 * cheaper than the chunks themselves. On all processors. Blocks; for programs without a loop.
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
    const struct base_image *base; /* sampled */
    const struct patch_run *runs;
    uint32_t run_count;
    const uint32_t *costs;                         /* bytes to fetch, of each chunk of the image */
    uint32_t span_max;                             /* bytes */
    uint32_t output_max;                           /* bytes */
    void (*progress)(void *owner, uint64_t bytes); /* how many more bytes of the runs are done */
    void *owner;
};

struct pack_patch_list {
    struct patch *patches;
    uint32_t patch_count;
    struct patch_span *spans;
    uint32_t span_count;
    uint32_t spans_room;
};

/* Appends the frames of the patches that are worth it, and fills `ret_list`, which was zeroed and is freed by
 * pack_patch_list_finish() in every case. */
bool pack_patches_write(const struct pack_patches *settings, struct file_writer *writer,
                        struct pack_patch_list *ret_list, struct error *error);

/* Frees what the list holds. */
void pack_patch_list_finish(struct pack_patch_list *list);
