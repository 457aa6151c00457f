/* SPDX-License-Identifier: MIT */
/* The table of chunks, for an image of the size that its rows add up to and for one of another. */
#include "common/image/chunk_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/fuzz/fuzz.h"

/* The first eight bytes are the image's size, the rest is the table. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_table *table;
    struct error error;
    uint64_t image_size;

    if (size < sizeof(image_size))
        return 0;
    memcpy(&image_size, data, sizeof(image_size));
    size -= sizeof(image_size);
    uint8_t *copy = alloc_zeroed(size ? size : 1);
    memcpy(copy, data + sizeof(image_size), size);
    if (!chunk_table_parse(copy, size, image_size, &table, &error))
        return 0;
    uint32_t count = chunk_table_count(table);
    assert(chunk_table_is_content_defined(table) && chunk_table_image_size(table) == image_size);
    assert(chunk_table_offset(table, count) == image_size);
    for (uint32_t i = 0; i < count; i++) {
        assert(chunk_table_size(table, i) >= 1 && chunk_table_size(table, i) <= chunk_table_size_max(table));
        assert(chunk_table_offset(table, i) + chunk_table_size(table, i) == chunk_table_offset(table, i + 1));
        chunk_table_key(table, i);
    }
    chunk_table_free(table);
    return 0;
}
