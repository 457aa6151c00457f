/* SPDX-License-Identifier: MIT */
/*
 * Reads a release in a publisher's folder, which is IMAGE.json with IMAGE.chunks and IMAGE.pack beside it,
 * and checks it as a device does. Blocks on the medium: for programs without a loop.
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
    struct frame_index *frames;  /* NULL if there are no chunks in the pack */
    struct patch_list **patches; /* one for each base in the manifest; NULL if there is no pack */
};

/* Reads the manifest beside an image, IMAGE.json; no signature is needed. The caller frees it by
 * manifest_free(). *ret_size is its size in bytes, and ret_sha256, which may be NULL, gets the SHA-256 of
 * these. If there is no such file, the error's code is ENOENT. */
bool published_read_manifest(const char *image_path, struct manifest **ret_manifest, size_t *ret_size,
                             uint8_t *ret_sha256, struct error *error);

/* Reads the release of an image. A manifest without a table of chunks is refused. After a success the caller
 * calls published_finish(). */
bool published_read(const char *image_path, struct published *ret_published, struct error *error);

/* Frees what `published` holds, and zeroes it. */
void published_finish(struct published *published);
