/* SPDX-License-Identifier: MIT */
#include "common/image/base_index.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/digest.h"
#include "common/base/le.h"
#include "common/base/varint.h"
#include "common/image/table_difference.h"

static void put_number(FILE *stream, uint64_t value)
{
    uint8_t data[VARINT_SIZE_MAX];
    size_t size = varint_write(data, value);

    fwrite(data, size, 1, stream);
}

static void put_fixed32(FILE *stream, uint32_t value)
{
    value = htole32(value);
    fwrite(&value, sizeof(value), 1, stream);
}

static void put_fixed64(FILE *stream, uint64_t value)
{
    value = htole64(value);
    fwrite(&value, sizeof(value), 1, stream);
}

static const uint8_t *row_of(const struct base_index *index, uint32_t row)
{
    return index->rows + (size_t)row * CHUNK_TABLE_ROW_SIZE;
}

/* Where the chunk of this row ends in the base; a row begins with the chunk's size. */
static uint64_t base_end(const struct base_index *index, uint32_t row)
{
    return index->base_offsets[row] + le_read_u32(row_of(index, row));
}

static void put_block(FILE *stream, const struct base_index *index, uint32_t first, uint32_t end)
{
    put_fixed64(stream, digest_xxh3(row_of(index, first), (size_t)(end - first) * CHUNK_TABLE_ROW_SIZE));
    for (uint32_t row = first; row < end;) {
        uint32_t begin = row++;
        if (index->base_offsets[begin] == BASE_INDEX_NONE) {
            while (row < end && index->base_offsets[row] == BASE_INDEX_NONE)
                row++;
            put_number(stream, 2 * (uint64_t)(row - begin));
            fwrite(row_of(index, begin), CHUNK_TABLE_ROW_SIZE, row - begin, stream);
        } else {
            while (row < end && index->base_offsets[row] == base_end(index, row - 1))
                row++;
            put_number(stream, 2 * (uint64_t)(row - begin) + 1);
            put_number(stream, index->base_offsets[begin]);
        }
    }
}

static void put_patches(FILE *stream, const struct base_index *index)
{
    uint32_t end = 0; /* the end of the previous patch, in chunks */

    put_number(stream, index->patch_count);
    for (uint32_t i = 0; i < index->patch_count; i++) {
        const struct patch *patch = &index->patches[i];
        put_number(stream, patch->first - end);
        put_number(stream, patch->count);
        put_number(stream, patch->frame_size);
        put_number(stream, patch->span_count);
        for (uint32_t j = 0; j < patch->span_count; j++) {
            put_number(stream, index->spans[patch->span_first + j].offset);
            put_number(stream, index->spans[patch->span_first + j].size);
        }
        put_fixed64(stream, patch->spans_xxh3);
        end = patch->first + patch->count;
    }
}

void base_index_format(const struct base_index *index, uint8_t **ret_data, size_t *ret_size)
{
    char *data = NULL;
    size_t size;
    FILE *stream = open_memstream(&data, &size);

    if (!stream)
        abort();
    fwrite("MSBASE01", 8, 1, stream);
    put_fixed32(stream, index->average);
    put_fixed32(stream, index->row_count);
    for (uint32_t row = 0; row < index->row_count; row += TABLE_DIFFERENCE_BLOCK_ROWS) {
        uint32_t end = row + TABLE_DIFFERENCE_BLOCK_ROWS;
        put_block(stream, index, row, end < index->row_count ? end : index->row_count);
    }
    put_patches(stream, index);
    if (fclose(stream) != 0)
        abort();
    *ret_data = (uint8_t *)data;
    *ret_size = size;
}
