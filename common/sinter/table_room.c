/* SPDX-License-Identifier: MIT */
#include "common/sinter/table_room.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/image/chunk_table.h"
#include "common/image/chunker.h"

enum {
    /* So many chunks are always allowed: that is 3 MiB of table. */
    CHUNKS_ALWAYS = 65536,
    /* Bytes that a chunk costs beside its row and its offset, if each chunk is a run and a batch of its own:
     * index 16, sources 9, clone 3, draft 11, runs 40 and twice that while they grow, batches 52, order 13,
     * transfer 16, and a reserve for when these grow. */
    CHUNK_BYTES = 288,
};

uint64_t table_room_chunks_max(uint64_t image_bytes, uint64_t memory_bytes)
{
    uint64_t by_image = CHUNKS_ALWAYS + image_bytes / CHUNKER_AVERAGE_MIN;
    uint64_t by_memory = memory_bytes / 4 / (CHUNK_TABLE_ROW_SIZE + sizeof(uint64_t) + CHUNK_BYTES);

    if (memory_bytes && by_memory < CHUNKS_ALWAYS)
        by_memory = CHUNKS_ALWAYS;
    return memory_bytes && by_memory < by_image ? by_memory : by_image;
}

uint64_t table_room_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);

    return pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : 0;
}

bool table_room_allows(uint64_t chunks, uint64_t chunks_max, struct error *error)
{
    return !chunks_max || chunks <= chunks_max ||
           error_set(error, ERROR_FORMAT,
                     "the image is cut into %" PRIu64 " chunks, more than the %" PRIu64
                     " that this machine has memory for; generate it with a larger average",
                     chunks, chunks_max);
}

bool table_room_is_there(uint64_t chunks, struct error *error)
{
    void *room = chunks < SIZE_MAX / 2 / CHUNK_BYTES ? malloc((size_t)chunks * CHUNK_BYTES + 1) : NULL;

    free(room);
    return room || error_set_errno(error, ENOMEM, "cannot hold a table of %" PRIu64 " chunks", chunks);
}
