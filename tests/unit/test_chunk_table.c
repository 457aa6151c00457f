/* SPDX-License-Identifier: MIT */
/* IMAGE.chunks: what was written is read, and whatever does not fit together is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "common/base/alloc.h"
#include "common/image/chunk_table.h"

static const char *const contents[] = {"alpha", "beta", "gamma"};

/* A good table of three chunks (300, 4096 and 17 bytes), which the caller frees. */
static uint8_t *sample(size_t *ret_size)
{
    static const uint32_t sizes[] = {300, 4096, 17};
    struct chunker chunker;
    uint8_t *data, sha256[DIGEST_SHA256_SIZE];

    assert_int_equal(chunker_init(&chunker, 1024), 0);
    struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
    for (size_t i = 0; i < 3; i++) {
        digest_sha256(contents[i], strlen(contents[i]), sha256);
        assert_int_equal(
            chunk_table_writer_add(writer, sizes[i], digest_xxh3(contents[i], strlen(contents[i])), sha256),
            0);
    }
    chunk_table_writer_take(writer, &data, ret_size);
    chunk_table_writer_free(writer);
    return data;
}

enum { SAMPLE_IMAGE_SIZE = 300 + 4096 + 17 };

static void assert_refused(uint8_t *data, size_t size, uint64_t image_size, const char *words)
{
    struct chunk_table *table = NULL;
    struct error error = {0};

    assert_false(chunk_table_parse(data, size, image_size, &table, &error));
    assert_null(table);
    assert_int_equal(error.kind, ERROR_FORMAT);
    if (!strstr(error.message, words))
        fail_msg("no \"%s\" in: %s", words, error.message);
}

static void test_layout(void **state)
{
    static const uint8_t header[24] = {'M', 'S', 'C', 'H', 'U', 'N', 'K', 'S', 1, 0, 0, 0,
                                       0,   4,   0,   0,   3,   0,   0,   0,   0, 0, 0, 0};
    size_t size;
    CLEANUP_FREE uint8_t *data = sample(&size);
    uint8_t sha256[DIGEST_SHA256_SIZE];

    assert_int_equal(size, 44 + 3 * 44);
    assert_memory_equal(data, header, sizeof(header));
    for (size_t i = 20; i < 44; i++)
        assert_int_equal(data[i], 0);
    assert_memory_equal(data + 44, "\x2c\x01\x00\x00", 4);
    uint64_t key = digest_xxh3("alpha", 5);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(data[48 + i], (key >> (8 * i)) & 0xff);
    digest_sha256("alpha", 5, sha256);
    assert_memory_equal(data + 56, sha256, 32);
}

static void test_reads_what_was_written(void **state)
{
    size_t size;
    uint8_t *data = sample(&size);
    struct chunk_table *table;
    struct error error;

    assert_true(chunk_table_parse(data, size, SAMPLE_IMAGE_SIZE, &table, &error));
    assert_true(chunk_table_is_content_defined(table));
    assert_int_equal(chunk_table_chunker(table)->average, 1024);
    assert_int_equal(chunk_table_count(table), 3);
    assert_int_equal(chunk_table_image_size(table), SAMPLE_IMAGE_SIZE);
    assert_int_equal(chunk_table_size_max(table), 4096);
    assert_int_equal(chunk_table_offset(table, 0), 0);
    assert_int_equal(chunk_table_offset(table, 2), 4396);
    assert_int_equal(chunk_table_offset(table, 3), SAMPLE_IMAGE_SIZE);
    assert_int_equal(chunk_table_size(table, 2), 17);
    assert_true(chunk_table_key(table, 1) == digest_xxh3("beta", 4));
    assert_true(chunk_table_key_of(table, "beta", 4) == digest_xxh3("beta", 4));
    assert_null(chunk_table_free(table));
}

static void test_proves(void **state)
{
    static const uint8_t data[300] = "some bytes";
    uint8_t other[300], sha256[DIGEST_SHA256_SIZE], *file;
    struct chunker chunker;
    struct chunk_table *table;
    struct error error;
    size_t size;

    memcpy(other, data, sizeof(data));
    other[299] ^= 1;
    assert_int_equal(chunker_init(&chunker, 1024), 0);
    struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
    digest_sha256(data, sizeof(data), sha256);
    assert_int_equal(chunk_table_writer_add(writer, 300, digest_xxh3(data, 300), sha256), 0);
    chunk_table_writer_take(writer, &file, &size);
    assert_true(chunk_table_parse(file, size, 300, &table, &error));
    assert_true(chunk_table_proves(table, 0, data));
    assert_false(chunk_table_proves(table, 0, other));
    chunk_table_free(table);

    /* The writer is empty again. */
    chunk_table_writer_take(writer, &file, &size);
    assert_int_equal(size, 44);
    assert_true(chunk_table_parse(file, size, 0, &table, &error));
    assert_int_equal(chunk_table_count(table), 0);
    assert_int_equal(chunk_table_offset(table, 0), 0);
    assert_int_equal(chunk_table_size_max(table), 0);
    chunk_table_free(table);
    assert_null(chunk_table_writer_free(writer));
}

static void test_wrong_lengths(void **state)
{
    size_t size;

    for (size_t length = 0; length < 176; length++) {
        CLEANUP_FREE uint8_t *data = sample(&size);
        /* A copy of just these bytes, so that a sanitizer sees a read past them. */
        uint8_t *cut = malloc(length ? length : 1);
        memcpy(cut, data, length);
        assert_refused(cut, length, SAMPLE_IMAGE_SIZE, length < 44 ? "begin" : "does not fit");
    }
    uint8_t *data = sample(&size);
    data = realloc(data, size + 44);
    memset(data + size, 1, 44);
    assert_refused(data, size + 44, SAMPLE_IMAGE_SIZE, "does not fit");
    assert_refused(NULL, 0, 0, "begin");
}

static void test_wrong_headers(void **state)
{
    static const struct {
        size_t at;
        uint8_t bytes[4];
        const char *words;
    } cases[] = {
        {0, {'m', 'S', 'C', 'H'}, "IMAGE.chunks"},
        {8, {2, 0, 0, 0}, "needs a moonsinter with table version 2"},
        {8, {0, 0, 0, 0}, "version 0"},
        {12, {0, 0, 0, 0}, "average of 0"},
        {12, {0, 5, 0, 0}, "average of 1280"},
        {12, {0, 0, 0, 0x80}, "average of 2147483648"},
        {16, {2, 0, 0, 0}, "2 chunks"},
        {16, {0, 0, 0, 0}, "0 chunks"},
        {16, {0xff, 0xff, 0xff, 0xff}, "4294967295 chunks"},
        /* 2^30 + 3 rows of 44 bytes are three rows in 32 bits. */
        {16, {3, 0, 0, 0x40}, "1073741827 chunks"},
        {20, {1, 0, 0, 0}, "byte 20"},
        {40, {0, 0, 0, 1}, "byte 43"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size;
        uint8_t *data = sample(&size);
        memcpy(data + cases[i].at, cases[i].bytes, 4);
        assert_refused(data, size, SAMPLE_IMAGE_SIZE, cases[i].words);
    }
}

static void test_wrong_sizes(void **state)
{
    static const struct {
        size_t row;
        uint8_t bytes[4];
        const char *words;
    } cases[] = {
        {0, {0, 0, 0, 0}, "chunk 1 "},    {0, {0xff, 0, 0, 0}, "chunk 1 "}, /* 255, below the minimum */
        {0, {0x2d, 1, 0, 0}, "together"},                                   /* one more than the image */
        {1, {1, 16, 0, 0}, "chunk 2 "},                                     /* 4097, above the maximum */
        {2, {0, 0, 0, 0}, "chunk 3 "},    {2, {0xff, 0xff, 0xff, 0xff}, "chunk 3 "},
        {2, {0, 0, 0, 0x80}, "chunk 3 "},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size;
        uint8_t *data = sample(&size);
        memcpy(data + 44 + 44 * cases[i].row, cases[i].bytes, 4);
        assert_refused(data, size, SAMPLE_IMAGE_SIZE, cases[i].words);
    }
    static const uint64_t image_sizes[] = {0,
                                           SAMPLE_IMAGE_SIZE - 1,
                                           SAMPLE_IMAGE_SIZE + 1,
                                           UINT64_C(1) << 62,
                                           UINT64_MAX,
                                           SAMPLE_IMAGE_SIZE + (UINT64_C(1) << 32)};
    for (size_t i = 0; i < sizeof(image_sizes) / sizeof(image_sizes[0]); i++) {
        size_t size;
        uint8_t *data = sample(&size);
        assert_refused(data, size, image_sizes[i], "together");
    }
}

static void test_too_large_to_write(void **state)
{
    static const uint8_t sha256[DIGEST_SHA256_SIZE];
    struct chunker chunker;
    uint32_t count = 0;
    int result;

    assert_int_equal(chunker_init(&chunker, 1024), 0);
    struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
    while ((result = chunk_table_writer_add(writer, 1024, count, sha256)) == 0)
        count++;
    assert_int_equal(result, -EFBIG);
    assert_int_equal(count, CHUNK_TABLE_SIZE_MAX / CHUNK_TABLE_ROW_SIZE - 1);
    chunk_table_writer_free(writer);
}

static void test_fixed(void **state)
{
    uint32_t *hashes = alloc_array(3, sizeof(*hashes));

    hashes[0] = digest_xxh32("abcd", 4);
    hashes[1] = digest_xxh32("efgh", 4);
    hashes[2] = digest_xxh32("i", 1);
    struct chunk_table *table = chunk_table_new_fixed(hashes, 3, 4, 1);
    assert_false(chunk_table_is_content_defined(table));
    assert_int_equal(chunk_table_count(table), 3);
    assert_int_equal(chunk_table_image_size(table), 9);
    assert_int_equal(chunk_table_offset(table, 2), 8);
    assert_int_equal(chunk_table_offset(table, 3), 9);
    assert_int_equal(chunk_table_size(table, 0), 4);
    assert_int_equal(chunk_table_size(table, 2), 1);
    assert_int_equal(chunk_table_size_max(table), 4);
    assert_int_equal(chunk_table_key(table, 1), chunk_table_key_of(table, "efgh", 4));
    assert_true(chunk_table_proves(table, 2, "i"));
    assert_false(chunk_table_proves(table, 2, "j"));
    chunk_table_free(table);

    table = chunk_table_new_fixed(NULL, 0, 131072, 0);
    assert_int_equal(chunk_table_image_size(table), 0);
    assert_int_equal(chunk_table_size_max(table), 0);
    chunk_table_free(table);
    assert_null(chunk_table_free(NULL));
}

/* The largest fixed chunks and the most of them: offsets past 2^32. */
static void test_fixed_offsets_past_32_bits(void **state)
{
    uint32_t *hashes = alloc_array(9, sizeof(*hashes));
    struct chunk_table *table = chunk_table_new_fixed(hashes, 9, UINT32_C(1) << 30, 5);

    assert_true(chunk_table_offset(table, 8) == UINT64_C(8) << 30);
    assert_true(chunk_table_image_size(table) == (UINT64_C(8) << 30) + 5);
    chunk_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_reads_what_was_written),
        cmocka_unit_test(test_proves),
        cmocka_unit_test(test_wrong_lengths),
        cmocka_unit_test(test_wrong_headers),
        cmocka_unit_test(test_wrong_sizes),
        cmocka_unit_test(test_too_large_to_write),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_fixed_offsets_past_32_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
