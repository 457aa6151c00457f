/* SPDX-License-Identifier: MIT */
/*
 * The chunks' frames of a pack: every chunk compressed by itself, in order, on all processors. Blocks; for
 * programs without a loop.
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
    void (*progress)(void *owner, uint64_t bytes); /* how many more bytes of the image are done */
    void *owner;
};

/* Appends the frames. ret_sizes has room for every chunk: the bytes of its frame, equal to the chunk's where
 * it stands there as it is, 0 where an earlier chunk is the same. */
bool pack_frames_write(const struct pack_frames *frames, struct file_writer *writer, uint32_t *ret_sizes,
                       struct error *error);
