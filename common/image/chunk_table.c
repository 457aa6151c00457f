/* SPDX-License-Identifier: MIT */
#include "common/image/chunk_table.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/le.h"

/* IMAGE.chunks, little endian: a header, then a row for each chunk. No row says where its chunk lies, so a
 * row that two releases share is the same bytes in both tables wherever it stands. */
enum {
    HEADER_MAGIC = 0,
    HEADER_VERSION = 8,
    HEADER_AVERAGE = 12,
    HEADER_COUNT = 16,
    HEADER_PADDING = 20,
    ROW_SIZE = 0,
    ROW_XXH3 = 4,
    ROW_SHA256 = 12,
};

static const char header_magic[8] = {'M', 'S', 'C', 'H', 'U', 'N', 'K', 'S'};

struct chunk_table {
    bool content_defined;
    struct chunker chunker;
    uint32_t count;
    uint32_t size_max;
    uint64_t image_size;
    /* content-defined: the file's bytes as they came, of which rows are read in place */
    uint8_t *data;
    uint64_t *offsets; /* of each chunk in the image */
    /* fixed */
    uint32_t *hashes;
    uint32_t chunk_size;
    uint32_t last_chunk_size;
};

static const uint8_t *row_of(const struct chunk_table *table, uint32_t index)
{
    assert(index < table->count);
    return table->data + CHUNK_TABLE_HEADER_SIZE + (size_t)index * CHUNK_TABLE_ROW_SIZE;
}

/* Checks the header's numbers against each other and against the size of the file before any is used. */
static bool parse_header(const uint8_t *data, size_t size, struct chunk_table *table, struct error *error)
{
    if (size < CHUNK_TABLE_HEADER_SIZE ||
        memcmp(data + HEADER_MAGIC, header_magic, sizeof(header_magic)) != 0)
        return error_set(error, ERROR_FORMAT,
                         "the table of chunks does not begin as one: not an IMAGE.chunks file");
    if (size > CHUNK_TABLE_SIZE_MAX)
        return error_set(error, ERROR_FORMAT, "the table of chunks has %zu bytes, more than the %d allowed",
                         size, CHUNK_TABLE_SIZE_MAX);

    uint32_t version = le_read_u32(data + HEADER_VERSION);
    if (version != CHUNK_TABLE_VERSION)
        return error_set(error, ERROR_FORMAT,
                         "the table of chunks has version %" PRIu32
                         ", and this program knows version %d only: "
                         "it needs a moonsinter with table version %" PRIu32,
                         version, CHUNK_TABLE_VERSION, version);
    uint32_t average = le_read_u32(data + HEADER_AVERAGE);
    if (chunker_init(&table->chunker, average) < 0)
        return error_set(error, ERROR_FORMAT,
                         "the table of chunks names an average of %" PRIu32
                         " bytes, which is no power of two from "
                         "%d to %d",
                         average, CHUNKER_AVERAGE_MIN, CHUNKER_AVERAGE_MAX);
    uint32_t count = le_read_u32(data + HEADER_COUNT);
    if (size - CHUNK_TABLE_HEADER_SIZE != (uint64_t)count * CHUNK_TABLE_ROW_SIZE)
        return error_set(error, ERROR_FORMAT,
                         "the table of chunks says it has %" PRIu32
                         " chunks, which does not fit its %zu bytes",
                         count, size);
    for (size_t i = HEADER_PADDING; i < CHUNK_TABLE_HEADER_SIZE; i++)
        if (data[i])
            return error_set(error, ERROR_FORMAT, "the table of chunks has byte %zu set, which must be zero",
                             i);
    table->count = count;
    return true;
}

/* Sums up the rows. This cannot overflow: at most 2^32 chunks of at most 1 MiB each. */
static bool parse_rows(struct chunk_table *table, uint64_t image_size, struct error *error)
{
    uint64_t offset = 0;

    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t size = chunk_table_size(table, i);
        bool last = i + 1 == table->count;
        if (size == 0 || size > table->chunker.maximum || (!last && size < table->chunker.minimum))
            return error_set(error, ERROR_FORMAT,
                             "chunk %" PRIu32 " of the table has %" PRIu32 " bytes, outside %" PRIu32
                             " to %" PRIu32,
                             i + 1, size, table->chunker.minimum, table->chunker.maximum);
        table->offsets[i] = offset;
        offset += size;
        if (size > table->size_max)
            table->size_max = size;
    }
    if (offset != image_size)
        return error_set(error, ERROR_FORMAT,
                         "the chunks of the table have %" PRIu64
                         " bytes together, but the image has %" PRIu64,
                         offset, image_size);
    table->image_size = offset;
    return true;
}

bool chunk_table_parse(uint8_t *data, size_t size, uint64_t image_size, struct chunk_table **ret_table,
                       struct error *error)
{
    struct chunk_table *table = alloc_zeroed(sizeof(*table));

    table->content_defined = true;
    table->data = data;
    if (!parse_header(data, size, table, error))
        goto failed;
    /* This is safe to allocate: so many rows are really in the data. */
    table->offsets = calloc(table->count ? table->count : 1, sizeof(*table->offsets));
    if (!table->offsets) {
        error_set_errno(error, ENOMEM, "cannot hold a table of %" PRIu32 " chunks", table->count);
        goto failed;
    }
    if (!parse_rows(table, image_size, error))
        goto failed;
    *ret_table = table;
    return true;

failed:
    chunk_table_free(table);
    return false;
}

struct chunk_table *chunk_table_new_fixed(uint32_t *hashes, uint32_t count, uint32_t chunk_size,
                                          uint32_t last_chunk_size)
{
    struct chunk_table *table = alloc_zeroed(sizeof(*table));

    assert(count == 0 || (chunk_size > 0 && last_chunk_size > 0 && last_chunk_size <= chunk_size));
    table->hashes = hashes;
    table->count = count;
    table->chunk_size = chunk_size;
    table->last_chunk_size = last_chunk_size;
    if (count > 0)
        table->image_size = (uint64_t)(count - 1) * chunk_size + last_chunk_size;
    table->size_max = count > 1 ? chunk_size : count == 1 ? last_chunk_size : 0;
    return table;
}

struct chunk_table *chunk_table_free(struct chunk_table *table)
{
    if (!table)
        return NULL;
    free(table->data);
    free(table->offsets);
    free(table->hashes);
    free(table);
    return NULL;
}

uint8_t *chunk_table_take_data(struct chunk_table *table)
{
    uint8_t *data = table->data;

    table->data = NULL;
    return data;
}

bool chunk_table_is_content_defined(const struct chunk_table *table)
{
    return table->content_defined;
}

const struct chunker *chunk_table_chunker(const struct chunk_table *table)
{
    assert(table->content_defined);
    return &table->chunker;
}

uint32_t chunk_table_count(const struct chunk_table *table)
{
    return table->count;
}

uint64_t chunk_table_image_size(const struct chunk_table *table)
{
    return table->image_size;
}

uint64_t chunk_table_offset(const struct chunk_table *table, uint32_t index)
{
    assert(index <= table->count);
    if (index == table->count)
        return table->image_size;
    return table->content_defined ? table->offsets[index] : (uint64_t)index * table->chunk_size;
}

uint32_t chunk_table_size(const struct chunk_table *table, uint32_t index)
{
    if (table->content_defined)
        return le_read_u32(row_of(table, index) + ROW_SIZE);
    assert(index < table->count);
    return index + 1 == table->count ? table->last_chunk_size : table->chunk_size;
}

uint32_t chunk_table_size_max(const struct chunk_table *table)
{
    return table->size_max;
}

uint64_t chunk_table_key(const struct chunk_table *table, uint32_t index)
{
    if (table->content_defined)
        return le_read_u64(row_of(table, index) + ROW_XXH3);
    assert(index < table->count);
    return table->hashes[index];
}

uint64_t chunk_table_key_of(const struct chunk_table *table, const void *data, size_t size)
{
    return table->content_defined ? digest_xxh3(data, size) : digest_xxh32(data, size);
}

uint32_t chunk_table_at(const struct chunk_table *table, uint64_t offset)
{
    uint32_t low = 0, high = table->count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk_table_offset(table, middle) <= offset)
            low = middle;
        else
            high = middle;
    }
    assert(chunk_table_offset(table, low) == offset);
    return low;
}

bool chunk_table_proves(const struct chunk_table *table, uint32_t index, const void *data)
{
    size_t size = chunk_table_size(table, index);

    if (!table->content_defined)
        return digest_xxh32(data, size) == table->hashes[index];
    uint8_t sha256[DIGEST_SHA256_SIZE];
    digest_sha256(data, size, sha256);
    return memcmp(sha256, row_of(table, index) + ROW_SHA256, sizeof(sha256)) == 0;
}

bool chunk_table_are_same(const struct chunk_table *table, uint32_t index, uint32_t other)
{
    return memcmp(row_of(table, index), row_of(table, other), CHUNK_TABLE_ROW_SIZE) == 0;
}

void chunk_table_write_header(uint8_t *data, uint32_t average, uint32_t count)
{
    memset(data, 0, CHUNK_TABLE_HEADER_SIZE);
    memcpy(data + HEADER_MAGIC, header_magic, sizeof(header_magic));
    le_write_u32(data + HEADER_VERSION, CHUNK_TABLE_VERSION);
    le_write_u32(data + HEADER_AVERAGE, average);
    le_write_u32(data + HEADER_COUNT, count);
}

void chunk_table_write_row(uint8_t *data, uint32_t size, uint64_t xxh3,
                           const uint8_t sha256[DIGEST_SHA256_SIZE])
{
    le_write_u32(data + ROW_SIZE, size);
    le_write_u64(data + ROW_XXH3, xxh3);
    memcpy(data + ROW_SHA256, sha256, DIGEST_SHA256_SIZE);
}

void chunk_table_read_row(const uint8_t *data, uint32_t *ret_size, uint64_t *ret_xxh3)
{
    *ret_size = le_read_u32(data + ROW_SIZE);
    *ret_xxh3 = le_read_u64(data + ROW_XXH3);
}

struct chunk_table_writer {
    uint32_t average;
    uint32_t count;
    uint8_t *data;
    size_t size;
    size_t room;
};

/* Begins with a header of zeros, and room for some rows. */
static void start_over(struct chunk_table_writer *writer)
{
    writer->count = 0;
    writer->room = (size_t)1024 * CHUNK_TABLE_ROW_SIZE;
    writer->data = alloc_zeroed(writer->room);
    writer->size = CHUNK_TABLE_HEADER_SIZE;
}

struct chunk_table_writer *chunk_table_writer_new(const struct chunker *chunker)
{
    struct chunk_table_writer *writer = alloc_zeroed(sizeof(*writer));

    writer->average = chunker->average;
    start_over(writer);
    return writer;
}

struct chunk_table_writer *chunk_table_writer_free(struct chunk_table_writer *writer)
{
    if (!writer)
        return NULL;
    free(writer->data);
    free(writer);
    return NULL;
}

int chunk_table_writer_add(struct chunk_table_writer *writer, uint32_t size, uint64_t xxh3,
                           const uint8_t sha256[DIGEST_SHA256_SIZE])
{
    if (writer->size > CHUNK_TABLE_SIZE_MAX - CHUNK_TABLE_ROW_SIZE)
        return -EFBIG;
    if (writer->room - writer->size < CHUNK_TABLE_ROW_SIZE) {
        uint8_t *larger = realloc(writer->data, writer->room * 2);
        if (!larger)
            return -ENOMEM;
        writer->data = larger;
        writer->room *= 2;
    }
    chunk_table_write_row(writer->data + writer->size, size, xxh3, sha256);
    writer->size += CHUNK_TABLE_ROW_SIZE;
    writer->count++;
    return 0;
}

void chunk_table_writer_take(struct chunk_table_writer *writer, uint8_t **ret_data, size_t *ret_size)
{
    chunk_table_write_header(writer->data, writer->average, writer->count);
    *ret_data = writer->data;
    *ret_size = writer->size;
    start_over(writer);
}
