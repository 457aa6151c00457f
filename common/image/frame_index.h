/* SPDX-License-Identifier: MIT */
/*
 * Where in IMAGE.pack each chunk's frame lies: the section `frames` (docs/manifest.md, 3.2). Immutable once
 * made; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"

struct frame_index;

/* Parses the unpacked section for the chunks of `table`. first_alike[i] is the chunk that stands for the
 * class of chunk i (i itself if it is the first); no frame may end behind pack_size. */
bool frame_index_parse(const uint8_t *data, size_t size, const struct chunk_table *table,
                       const uint32_t *first_alike, uint64_t pack_size, struct frame_index **ret_index,
                       struct error *error);

/* Frees; NULL is fine. Returns NULL. */
struct frame_index *frame_index_free(struct frame_index *index);

/* Where the frame of `chunk` lies in the pack, in bytes. Chunks that are alike have one frame. */
uint64_t frame_index_offset(const struct frame_index *index, uint32_t chunk);

/* The frame's size in bytes; equal to the chunk's size if the chunk is stored unpacked. */
uint32_t frame_index_size(const struct frame_index *index, uint32_t chunk);
