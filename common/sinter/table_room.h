/* SPDX-License-Identifier: MIT */
/*
 * Whether there is memory for a table of chunks and what follows from it: the index, the plan, the runs. All
 * of it grows with the number of chunks, which the server decides. A table with too many chunks is refused
 * before it is fetched; one for which there is no memory is refused before work on it begins, so that the
 * user gets a sentence and not an abort in the middle. Pure, except for asking the allocator; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* How many chunks an image of `image_bytes` may have on a machine with `memory_bytes` (0 = not known): as
 * many as the smallest average gives, but no more than fit into a quarter of the memory. */
uint64_t table_room_chunks_max(uint64_t image_bytes, uint64_t memory_bytes);

/* The memory of this machine; 0 = not known. */
uint64_t table_room_memory_bytes(void);

/* Whether `chunks` are at most `chunks_max` (0 = no limit); if not, false with an error (FORMAT). */
bool table_room_allows(uint64_t chunks, uint64_t chunks_max, struct error *error);

/* Whether there is memory for what follows from a table of `chunks`; if not, false with an error (SYSTEM,
 * ENOMEM). The memory is not kept: nothing else allocates much in between. */
bool table_room_is_there(uint64_t chunks, struct error *error);
