/* SPDX-License-Identifier: MIT */
/*
 * Finds the chunks of a table by key and size, and knows which chunks of an image are alike. Chunks with the
 * same key and size are one class; its first chunk in image order stands for all of them. Fixed chunks of the
 * ancestor's kind are never alike and never found, for 32 bits of key do not suffice for that. Immutable once
 * made, so the scanning threads share it. Never blocks; any thread.
 */
#pragma once

#include <stdint.h>

#include "common/image/chunk_table.h"

#define CHUNK_INDEX_NONE UINT32_MAX

struct chunk_index;

/* Indexes `table`, which must outlive the index: some 16 bytes a chunk. */
struct chunk_index *chunk_index_new(const struct chunk_table *table);

/* Frees; NULL is fine. Returns NULL. */
struct chunk_index *chunk_index_free(struct chunk_index *index);

/* The first chunk with this key and size, or CHUNK_INDEX_NONE. */
uint32_t chunk_index_find(const struct chunk_index *index, uint64_t key, uint32_t size);

/* The chunk that stands for the class of `chunk`; it is `chunk` itself where no earlier one is alike. */
uint32_t chunk_index_first_alike(const struct chunk_index *index, uint32_t chunk);

/* The same of every chunk, as long as the index. */
const uint32_t *chunk_index_classes(const struct chunk_index *index);
