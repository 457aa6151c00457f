/* SPDX-License-Identifier: MIT */
/* What a pack says of itself: where frames lie, the table's difference, and the list of patches. All for a
 * small table whose third chunk is the first once more. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/image/chunk_table.h"
#include "common/image/frame_index.h"
#include "common/image/patch_list.h"
#include "common/image/table_difference.h"
#include "tests/fuzz/fuzz.h"

enum {
    CHUNKS = 8,
    CHUNK_SIZE = 1024,
    PACK_SIZE = 9000,
    BASE_SIZE = 100000,
    TABLE_SIZE = CHUNK_TABLE_HEADER_SIZE + CHUNKS * CHUNK_TABLE_ROW_SIZE,
};

static struct chunk_table *sample_table(uint32_t first_alike[CHUNKS])
{
    struct chunk_table *table;
    struct chunker chunker;
    uint8_t *data, content[CHUNK_SIZE];
    size_t size;

    if (chunker_init(&chunker, CHUNK_SIZE) < 0)
        abort();
    struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        uint8_t sha256[DIGEST_SHA256_SIZE];
        first_alike[i] = i == 2 ? 0 : i;
        memset(content, (int)first_alike[i], sizeof(content));
        digest_sha256(content, sizeof(content), sha256);
        if (chunk_table_writer_add(writer, CHUNK_SIZE, digest_xxh3(content, sizeof(content)), sha256) < 0)
            abort();
    }
    chunk_table_writer_take(writer, &data, &size);
    chunk_table_writer_free(writer);
    if (!chunk_table_parse(data, size, CHUNKS * CHUNK_SIZE, &table, NULL))
        abort();
    return table;
}

static void try_frames(const uint8_t *data, size_t size, const struct chunk_table *table,
                       const uint32_t *first_alike)
{
    struct frame_index *index;

    if (!frame_index_parse(data, size, table, first_alike, PACK_SIZE, &index, NULL))
        return;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert(frame_index_size(index, i) >= 1 && frame_index_size(index, i) <= CHUNK_SIZE);
        assert(frame_index_offset(index, i) >= MANIFEST_PACK_HEADER_SIZE);
        assert(frame_index_offset(index, i) + frame_index_size(index, i) <= PACK_SIZE);
    }
    frame_index_free(index);
}

static void try_patches(const uint8_t *data, size_t size, const struct chunk_table *table)
{
    const struct manifest_base base = {
        .size = BASE_SIZE, .patches_offset = 5000, .span_max = 30000, .output_max = 3 * CHUNK_SIZE};
    struct patch_list *list;
    uint32_t next = 0;

    if (!patch_list_parse(data, size, table, &base, PACK_SIZE, &list, NULL))
        return;
    for (uint32_t p = 0; p < patch_list_count(list); p++) {
        const struct patch *patch = patch_list_at(list, p);
        const struct patch_span *spans = patch_list_spans(list, patch);
        uint64_t total = 0;
        assert(patch->first >= next && patch->count >= 1);
        next = patch->first + patch->count;
        assert(next <= CHUNKS && patch->output_size <= base.output_max);
        assert(patch->frame_size >= 1 && patch->frame_size < patch->output_size);
        assert(patch->frame_offset + patch->frame_size <= PACK_SIZE);
        assert(patch->span_count >= 1 && patch->span_count <= PATCH_SPANS_MAX);
        for (uint32_t i = 0; i < patch->span_count; i++) {
            assert(spans[i].size >= 1 && spans[i].offset + spans[i].size <= base.size);
            total += spans[i].size;
        }
        assert(total == patch->spans_size && total <= base.span_max);
    }
    patch_list_free(list);
}

/* A base with a cut at every thousandth byte. */
static void try_index(const uint8_t *data, size_t size, const struct chunk_table *table)
{
    uint64_t offsets[20];
    uint8_t base_rows[20 * CHUNK_TABLE_ROW_SIZE] = {1}, rows[CHUNKS * CHUNK_TABLE_ROW_SIZE];
    const struct table_rows base = {offsets, base_rows, 20};
    struct table_difference *difference;
    size_t used;

    for (uint32_t i = 0; i < 20; i++)
        offsets[i] = (uint64_t)i * 1000;
    if (!table_difference_parse(data, size, TABLE_SIZE, BASE_SIZE, &difference, &used, NULL))
        return;
    assert(used <= size && table_difference_count(difference) == CHUNKS);
    for (uint32_t block = 0; block < table_difference_blocks(difference); block++)
        table_difference_make_block(difference, block, &base, rows);
    table_difference_free(difference);
    try_patches(data + used, size - used, table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t first_alike[CHUNKS];
    struct chunk_table *table = sample_table(first_alike);
    uint8_t *copy = alloc_zeroed(size ? size : 1);

    if (size)
        memcpy(copy, data, size);
    try_frames(copy, size, table, first_alike);
    try_index(copy, size, table);
    try_patches(copy, size, table);
    free(copy);
    chunk_table_free(table);
    return 0;
}
