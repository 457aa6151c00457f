/* SPDX-License-Identifier: MIT */
/*
 * Finds the chunks of a table by key and size, and knows which chunks of an image are alike. Chunks with the
 * same key and size are one class; its first chunk in image order stands for all of them. The ancestor's
 * fixed chunks are never alike and never found, because their keys of 32 bits are too short for that.
 * Immutable once made, so the scanning threads share it. Never blocks; any thread.
 */
#pragma once

#include <stdint.h>

#include "common/image/chunk_table.h"

#define CHUNK_INDEX_NONE UINT32_MAX

struct chunk_index;

/* Makes the index of `table`, which must outlive it. Takes about 16 bytes a chunk. */
struct chunk_index *chunk_index_new(const struct chunk_table *table);

/* Frees; NULL is fine. Returns NULL. */
struct chunk_index *chunk_index_free(struct chunk_index *index);

/* The first chunk with this key and size, or CHUNK_INDEX_NONE. */
uint32_t chunk_index_find(const struct chunk_index *index, uint64_t key, uint32_t size);

/* The chunk that stands for the class of `chunk`: `chunk` itself if no earlier one is alike. */
uint32_t chunk_index_first_alike(const struct chunk_index *index, uint32_t chunk);

/* chunk_index_first_alike() of every chunk, as an array that is valid as long as the index. */
const uint32_t *chunk_index_classes(const struct chunk_index *index);
