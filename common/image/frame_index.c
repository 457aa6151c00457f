/* SPDX-License-Identifier: MIT */
#include "common/image/frame_index.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/varint.h"

enum { PACK_HEADER_SIZE = 8 }; /* bytes before the first frame */

struct frame_place {
    uint64_t offset; /* in the pack, bytes */
    uint32_t size;   /* bytes */
};

struct frame_index {
    uint32_t count;
    struct frame_place *places; /* of each chunk */
};

/* Reads one number of the section and moves *end to the end of that chunk's frame. */
static bool parse_number(struct byte_reader *reader, const struct chunk_table *table, uint32_t chunk,
                         uint32_t first_alike, uint64_t pack_size, struct frame_index *index, uint64_t *end,
                         struct error *error)
{
    uint64_t size = byte_reader_varint(reader);

    if (reader->failed)
        return error_set(error, ERROR_FORMAT,
                         "the pack's frames end at or are no numbers from chunk %" PRIu32 " on", chunk + 1);
    if (size == 0) {
        if (first_alike == chunk)
            return error_set(error, ERROR_FORMAT, "the pack has no frame for chunk %" PRIu32, chunk + 1);
        index->places[chunk] = index->places[first_alike];
        return true;
    }
    if (size > chunk_table_size(table, chunk) || size > pack_size - *end)
        return error_set(error, ERROR_FORMAT,
                         "the frame of chunk %" PRIu32 " is larger than the chunk or ends outside the pack",
                         chunk + 1);
    index->places[chunk] = (struct frame_place){.offset = *end, .size = (uint32_t)size};
    *end += size;
    return true;
}

bool frame_index_parse(const uint8_t *data, size_t size, const struct chunk_table *table,
                       const uint32_t *first_alike, uint64_t pack_size, struct frame_index **ret_index,
                       struct error *error)
{
    struct byte_reader reader = {.data = data, .left = size};
    struct frame_index *index = alloc_zeroed(sizeof(*index));
    uint64_t end = PACK_HEADER_SIZE;

    assert(pack_size >= PACK_HEADER_SIZE);
    index->count = chunk_table_count(table);
    index->places = calloc(index->count ? index->count : 1, sizeof(index->places[0]));
    if (!index->places) {
        error_set_errno(error, ENOMEM, "cannot hold the places of %" PRIu32 " frames", index->count);
        goto failed;
    }
    for (uint32_t i = 0; i < index->count; i++)
        if (!parse_number(&reader, table, i, first_alike[i], pack_size, index, &end, error))
            goto failed;
    if (reader.left > 0) {
        error_set(error, ERROR_FORMAT,
                  "the pack's frames are %zu bytes longer than the table of chunks needs", reader.left);
        goto failed;
    }
    *ret_index = index;
    return true;

failed:
    frame_index_free(index);
    return false;
}

struct frame_index *frame_index_free(struct frame_index *index)
{
    if (!index)
        return NULL;
    free(index->places);
    free(index);
    return NULL;
}

uint64_t frame_index_offset(const struct frame_index *index, uint32_t chunk)
{
    assert(chunk < index->count);
    return index->places[chunk].offset;
}

uint32_t frame_index_size(const struct frame_index *index, uint32_t chunk)
{
    assert(chunk < index->count);
    return index->places[chunk].size;
}
