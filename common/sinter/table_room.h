/* SPDX-License-Identifier: MIT */
/*
 * Memory for what follows from a table of chunks, which a server sizes: the table itself, the index, the
 * plan, the runs. All of it grows with the number of chunks, which an image of one size can have few or very
 * many of. What is more than the reader wants is refused before it is fetched; what cannot be had is refused
 * before it is begun, so that it is a sentence and not an abort in the middle. Pure but for asking the
 * allocator; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* How many chunks an image of `image_bytes` may have on a machine with `memory_bytes` (0 = not known): as
 * many as the smallest average makes of it, and no more than a quarter of the memory has room for. */
uint64_t table_room_chunks_max(uint64_t image_bytes, uint64_t memory_bytes);

/* The memory of this machine; 0 = not known. */
uint64_t table_room_memory_bytes(void);

/* Whether `chunks` are at most `chunks_max` (0 = no limit); else false with a sentence (FORMAT). */
bool table_room_allows(uint64_t chunks, uint64_t chunks_max, struct error *error);

/* Whether there is memory for what follows from a table of `chunks`; else false (SYSTEM, ENOMEM). It is not
 * kept: nothing else that is large is allocated meanwhile. */
bool table_room_is_there(uint64_t chunks, struct error *error);
