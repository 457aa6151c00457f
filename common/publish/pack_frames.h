/* SPDX-License-Identifier: MIT */
/*
 * The part of a pack that has the image's chunks, each compressed by itself as one zstd frame, in order
 * (docs/manifest.md, 3.2). Works on all processors. Blocks: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/image/chunk_table.h"
#include "common/sinter/chunk_index.h"

struct device;

struct pack_frames {
    const struct device *image;
    const struct chunk_table *table;
    const struct chunk_index *index;
    void (*progress)(void *owner, uint64_t bytes); /* `bytes` of the image were done since the last call */
    void *owner;
};

/* Appends the frames to `writer`. ret_sizes has room for every chunk and gets the bytes of its frame: as many
 * as the chunk has if it is stored uncompressed, 0 if an earlier chunk is the same. */
bool pack_frames_write(const struct pack_frames *frames, struct file_writer *writer, uint32_t *ret_sizes,
                       struct error *error);
