/* SPDX-License-Identifier: MIT */
/*
 * A release as it lies in a publisher's folder, IMAGE.json beside IMAGE.chunks and IMAGE.pack, read back and
 * checked as a device does. Blocks on the medium: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/frame_index.h"
#include "common/image/manifest.h"
#include "common/image/patch_list.h"
#include "common/sinter/chunk_index.h"

struct published {
    size_t manifest_size; /* bytes of IMAGE.json */
    struct manifest *manifest;
    struct chunk_table *table;
    struct chunk_index *index;
    struct frame_index *frames;  /* NULL where the pack holds no chunks */
    struct patch_list **patches; /* one for each of the manifest's bases */
};

/* Reads the manifest beside an image, IMAGE.json, which the caller frees; *ret_size gets its bytes. ENOENT
 * where there is none. */
bool published_read_manifest(const char *image_path, struct manifest **ret_manifest, size_t *ret_size,
                             struct error *error);

/* Reads the release of `image_path`, which the caller finishes. A manifest without a table of chunks is
 * refused. */
bool published_read(const char *image_path, struct published *ret_published, struct error *error);

/* Frees what it holds, and zeroes it. */
void published_finish(struct published *published);
