/* SPDX-License-Identifier: MIT */
#include "common/image/table_difference.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/base/varint.h"
#include "common/image/chunk_table.h"
#include "common/image/chunker.h"

static const char index_magic[8] = {'M', 'S', 'B', 'A', 'S', 'E', '0', '1'};

struct table_difference {
    const uint8_t *data;
    size_t size; /* bytes up to the patches */
    uint32_t average;
    uint32_t count;
    size_t *blocks; /* where each begins in data */
};

/* One operation: `rows` literal rows, or, if `literal` is NULL, as many rows of the base from `base_offset`
 * on. */
struct operation {
    uint32_t rows;
    const uint8_t *literal;
    uint64_t base_offset;
};

/* Reads the next operation, which may make at most `left` rows; false if it is invalid. */
static bool take_operation(struct byte_reader *reader, uint32_t left, struct operation *ret_operation)
{
    uint64_t code = byte_reader_varint(reader), rows = code >> 1;

    if (reader->failed || rows == 0 || rows > left)
        return false;
    *ret_operation = (struct operation){.rows = (uint32_t)rows};
    if (code & 1)
        ret_operation->base_offset = byte_reader_varint(reader);
    else
        ret_operation->literal = byte_reader_bytes(reader, (size_t)rows * CHUNK_TABLE_ROW_SIZE);
    return !reader->failed;
}

static bool parse_header(struct byte_reader *reader, uint64_t table_size, struct table_difference *difference,
                         struct error *error)
{
    const uint8_t *magic = byte_reader_bytes(reader, sizeof(index_magic));
    struct chunker chunker;

    difference->average = byte_reader_fixed32(reader);
    difference->count = byte_reader_fixed32(reader);
    if (reader->failed || memcmp(magic, index_magic, sizeof(index_magic)) != 0)
        return error_set(error, ERROR_FORMAT, "the index of a base in the pack does not begin as one");
    if (chunker_init(&chunker, difference->average) < 0)
        return error_set(error, ERROR_FORMAT,
                         "the index of a base in the pack names an average of %" PRIu32
                         " bytes, which is no power of two from %d to %d",
                         difference->average, CHUNKER_AVERAGE_MIN, CHUNKER_AVERAGE_MAX);
    /* Compared with the manifest before memory is allocated by it. */
    if (CHUNK_TABLE_HEADER_SIZE + (uint64_t)difference->count * CHUNK_TABLE_ROW_SIZE != table_size)
        return error_set(error, ERROR_FORMAT,
                         "the index of a base in the pack is for a table of %" PRIu32
                         " chunks, which is not the size the manifest names",
                         difference->count);
    return true;
}

bool table_difference_parse(const uint8_t *data, size_t size, uint64_t table_size, uint64_t base_size,
                            struct table_difference **ret_difference, size_t *ret_used, struct error *error)
{
    struct byte_reader reader = {.data = data, .left = size};
    struct table_difference *difference = alloc_zeroed(sizeof(*difference));

    difference->data = data;
    if (!parse_header(&reader, table_size, difference, error))
        goto failed;
    uint32_t blocks = table_difference_blocks(difference);
    difference->blocks = calloc(blocks ? blocks : 1, sizeof(difference->blocks[0]));
    if (!difference->blocks) {
        error_set_errno(error, ENOMEM, "cannot hold the difference of a table");
        goto failed;
    }
    for (uint32_t block = 0; block < blocks; block++) {
        difference->blocks[block] = size - reader.left;
        byte_reader_fixed64(&reader);
        struct operation operation;
        for (uint32_t left = table_difference_block_rows(difference, block); left > 0; left -= operation.rows)
            if (!take_operation(&reader, left, &operation) || operation.base_offset >= base_size) {
                error_set(error, ERROR_FORMAT,
                          "block %" PRIu32 " of the table's difference in the pack is malformed", block + 1);
                goto failed;
            }
    }
    difference->size = size - reader.left;
    *ret_difference = difference;
    *ret_used = difference->size;
    return true;

failed:
    table_difference_free(difference);
    return false;
}

struct table_difference *table_difference_free(struct table_difference *difference)
{
    if (!difference)
        return NULL;
    free(difference->blocks);
    free(difference);
    return NULL;
}

uint32_t table_difference_average(const struct table_difference *difference)
{
    return difference->average;
}

uint32_t table_difference_count(const struct table_difference *difference)
{
    return difference->count;
}

uint32_t table_difference_blocks(const struct table_difference *difference)
{
    return difference->count / TABLE_DIFFERENCE_BLOCK_ROWS +
           (difference->count % TABLE_DIFFERENCE_BLOCK_ROWS != 0);
}

uint32_t table_difference_block_rows(const struct table_difference *difference, uint32_t block)
{
    uint32_t first = block * TABLE_DIFFERENCE_BLOCK_ROWS, left = difference->count - first;

    assert(first < difference->count);
    return left < TABLE_DIFFERENCE_BLOCK_ROWS ? left : TABLE_DIFFERENCE_BLOCK_ROWS;
}

/* The base's rows for the chunks from its byte `offset` on; NULL if the base has no cut there, or not so many
 * rows. */
static const uint8_t *find_rows(const struct table_rows *base, uint64_t offset, uint32_t rows)
{
    uint32_t low = 0, high = base->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (base->offsets[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == base->count || base->offsets[low] != offset || rows > base->count - low)
        return NULL;
    return base->rows + (size_t)low * CHUNK_TABLE_ROW_SIZE;
}

bool table_difference_make_block(const struct table_difference *difference, uint32_t block,
                                 const struct table_rows *base, uint8_t *ret_rows)
{
    size_t start = difference->blocks[block];
    struct byte_reader reader = {.data = difference->data + start, .left = difference->size - start};
    uint32_t count = table_difference_block_rows(difference, block);
    uint64_t expected = byte_reader_fixed64(&reader);
    struct operation operation;
    uint8_t *end = ret_rows;

    for (uint32_t left = count; left > 0; left -= operation.rows) {
        if (!take_operation(&reader, left, &operation))
            assert(!"the operations were parsed before");
        const uint8_t *rows =
            operation.literal ? operation.literal : find_rows(base, operation.base_offset, operation.rows);
        if (!rows)
            return false;
        memcpy(end, rows, (size_t)operation.rows * CHUNK_TABLE_ROW_SIZE);
        end += (size_t)operation.rows * CHUNK_TABLE_ROW_SIZE;
    }
    return digest_xxh3(ret_rows, (size_t)count * CHUNK_TABLE_ROW_SIZE) == expected;
}
