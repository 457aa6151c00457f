/* SPDX-License-Identifier: MIT */
#include "common/sinter/chunk_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/publisher.h"

static struct chunk_table *table_of_rows(const uint32_t *sizes, const uint64_t *keys, uint32_t count,
                                         uint32_t average)
{
    static const uint8_t sha256[DIGEST_SHA256_SIZE];
    struct chunker chunker;
    struct chunk_table *table;
    uint64_t image_size = 0;
    uint8_t *data;
    size_t size;

    assert_int_equal(chunker_init(&chunker, average), 0);
    struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
    for (uint32_t i = 0; i < count; image_size += sizes[i++])
        assert_int_equal(chunk_table_writer_add(writer, sizes[i], keys[i], sha256), 0);
    chunk_table_writer_take(writer, &data, &size);
    chunk_table_writer_free(writer);
    assert_true(chunk_table_parse(data, size, image_size, &table, NULL));
    return table;
}

static void test_an_empty_table_finds_nothing(void **state)
{
    struct chunk_table *table = table_of_rows(NULL, NULL, 0, 1024);
    struct chunk_index *index = chunk_index_new(table);

    assert_int_equal(chunk_index_find(index, 0, 0), CHUNK_INDEX_NONE);
    assert_int_equal(chunk_index_find(index, UINT64_MAX, 1024), CHUNK_INDEX_NONE);
    assert_null(chunk_index_free(index));
    assert_null(chunk_index_free(NULL));
    chunk_table_free(table);
}

static void test_chunks_are_alike_by_key_and_size(void **state)
{
    static const uint32_t sizes[] = {256, 512, 256, 512, 512, 300};
    static const uint64_t keys[] = {7, 7, 7, 7, 8, 7};
    static const uint32_t alike[] = {0, 1, 0, 1, 4, 5};
    struct chunk_table *table = table_of_rows(sizes, keys, 6, 1024);
    struct chunk_index *index = chunk_index_new(table);

    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(chunk_index_first_alike(index, i), alike[i]);
        assert_int_equal(chunk_index_find(index, keys[i], sizes[i]), alike[i]);
    }
    assert_int_equal(chunk_index_find(index, 8, 256), CHUNK_INDEX_NONE);
    assert_int_equal(chunk_index_find(index, 9, 512), CHUNK_INDEX_NONE);
    chunk_index_free(index);
    chunk_table_free(table);
}

static void test_fixed_chunks_are_never_alike(void **state)
{
    static const uint8_t zeros[4096];
    struct chunk_table *table = publish_fixed_table(zeros, sizeof(zeros), 1024);
    struct chunk_index *index = chunk_index_new(table);

    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(chunk_index_first_alike(index, i), i);
    assert_int_equal(chunk_index_find(index, chunk_table_key(table, 0), 1024), CHUNK_INDEX_NONE);
    chunk_index_free(index);
    chunk_table_free(table);
}

/* A table whose sizes and keys are chosen so that key and size cancel out must not fill one bucket: it would
 * keep a thread busy for minutes. */
static void test_a_hostile_table_is_indexed_as_fast_as_any(void **state)
{
    enum { COUNT = 100 * 1000, AVERAGE = 32 * 1024 };
    CLEANUP_FREE uint32_t *sizes = alloc_array(COUNT, sizeof(uint32_t));
    CLEANUP_FREE uint64_t *keys = alloc_array(COUNT, sizeof(uint64_t));

    for (uint32_t i = 0; i < COUNT; i++) {
        sizes[i] = AVERAGE / 4 + i;
        keys[i] = UINT64_C(0x123456789abcdef) - ((uint64_t)sizes[i] << 32 | sizes[i]);
    }
    struct chunk_table *table = table_of_rows(sizes, keys, COUNT, AVERAGE);
    clock_t before = clock();
    struct chunk_index *index = chunk_index_new(table);
    assert_true((double)(clock() - before) / CLOCKS_PER_SEC < 2);
    for (uint32_t i = 0; i < COUNT; i += 997)
        assert_int_equal(chunk_index_find(index, keys[i], sizes[i]), i);
    chunk_index_free(index);
    chunk_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_table_finds_nothing),
        cmocka_unit_test(test_chunks_are_alike_by_key_and_size),
        cmocka_unit_test(test_fixed_chunks_are_never_alike),
        cmocka_unit_test(test_a_hostile_table_is_indexed_as_fast_as_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
