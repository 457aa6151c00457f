/* SPDX-License-Identifier: MIT */
/* A table by its difference: block by block from the rows of a base, and hostile operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/byte_writer.h"
#include "tests/unit/publisher.h"

#include "common/base/alloc.h"
#include "common/image/chunk_table.h"
#include "common/image/table_difference.h"

enum {
    ROW = CHUNK_TABLE_ROW_SIZE,
    COUNT = 2 * TABLE_DIFFERENCE_BLOCK_ROWS + 10,
    BASE_ROWS = 600,
    BASE_SIZE = 700 * 1000,
    TABLE_SIZE = CHUNK_TABLE_HEADER_SIZE + COUNT * ROW,
};

/* Rows are only bytes here: no difference depends on what they say. */
struct sample {
    uint64_t offsets[BASE_ROWS];
    uint8_t base_rows[BASE_ROWS * ROW];
    uint8_t rows[COUNT * ROW];
    struct table_rows base;
    struct byte_writer writer;
};

/* The table is 20 rows of its own among those that the base has from its chunk 30 on. */
static int set_up(void **state)
{
    struct sample *sample = alloc_zeroed(sizeof(*sample));
    struct dice dice = {11};

    dice_fill(&dice, sample->base_rows, sizeof(sample->base_rows));
    for (uint32_t i = 0; i < BASE_ROWS; i++)
        sample->offsets[i] = (uint64_t)i * 1000;
    sample->base = (struct table_rows){sample->offsets, sample->base_rows, BASE_ROWS};
    dice_fill(&dice, sample->rows, 20 * ROW);
    memcpy(sample->rows + 20 * ROW, sample->base_rows + 30 * ROW, (COUNT - 20) * ROW);
    *state = sample;
    return 0;
}

static int tear_down(void **state)
{
    struct sample *sample = *state;

    byte_writer_finish(&sample->writer);
    free(sample);
    return 0;
}

static void write_header(struct byte_writer *writer, uint32_t average, uint32_t count)
{
    byte_writer_bytes(writer, "MSBASE01", 8);
    byte_writer_fixed32(writer, average);
    byte_writer_fixed32(writer, count);
}

static void write_base_rows(struct byte_writer *writer, uint64_t rows, uint64_t offset)
{
    byte_writer_varint(writer, rows << 1 | 1);
    byte_writer_varint(writer, offset);
}

static void write_difference(struct sample *sample)
{
    struct byte_writer *writer = &sample->writer;

    write_header(writer, 1024, COUNT);
    byte_writer_fixed64(writer, digest_xxh3(sample->rows, 256 * ROW));
    byte_writer_varint(writer, 20 << 1);
    byte_writer_bytes(writer, sample->rows, 20 * ROW);
    write_base_rows(writer, 236, 30 * 1000);
    byte_writer_fixed64(writer, digest_xxh3(sample->rows + 256 * ROW, 256 * ROW));
    write_base_rows(writer, 200, 266 * 1000);
    write_base_rows(writer, 56, 466 * 1000);
    byte_writer_fixed64(writer, digest_xxh3(sample->rows + 512 * ROW, 10 * ROW));
    write_base_rows(writer, 10, 522 * 1000);
}

/* Parses an exact copy, which *ret_copy keeps for as long as the difference needs it. */
static struct table_difference *parse(const struct byte_writer *writer, size_t size, uint8_t **ret_copy,
                                      size_t *ret_used)
{
    struct table_difference *difference = NULL;
    struct error error = {0};

    *ret_copy = malloc(size ? size : 1);
    memcpy(*ret_copy, writer->data, size);
    bool ok = table_difference_parse(*ret_copy, size, TABLE_SIZE, BASE_SIZE, &difference, ret_used, &error);
    assert_int_equal(ok, difference != NULL);
    if (!ok)
        assert_int_equal(error.kind, ERROR_FORMAT);
    return difference;
}

static void assert_refused(struct byte_writer *writer)
{
    uint8_t *copy;
    size_t used;

    assert_null(parse(writer, writer->size, &copy, &used));
    free(copy);
    byte_writer_finish(writer);
}

static void test_the_table_comes_out(void **state)
{
    struct sample *sample = *state;
    uint8_t rows[256 * ROW], *copy;
    size_t used = 0;

    write_difference(sample);
    size_t expected = sample->writer.size;
    byte_writer_bytes(&sample->writer, "patches", 7);
    struct table_difference *difference = parse(&sample->writer, sample->writer.size, &copy, &used);
    assert_non_null(difference);
    assert_int_equal(used, expected);
    assert_int_equal(table_difference_average(difference), 1024);
    assert_int_equal(table_difference_count(difference), COUNT);
    assert_int_equal(table_difference_blocks(difference), 3);
    assert_int_equal(table_difference_block_rows(difference, 2), 10);
    for (uint32_t block = 0; block < 3; block++) {
        assert_true(table_difference_make_block(difference, block, &sample->base, rows));
        assert_memory_equal(rows, sample->rows + block * 256 * ROW,
                            table_difference_block_rows(difference, block) * ROW);
    }
    assert_null(table_difference_free(difference));
    assert_null(table_difference_free(NULL));
    free(copy);
}

/* What a modified base lacks or has otherwise spoils the blocks it touches and no other. */
static void test_only_what_a_base_lacks_fails(void **state)
{
    struct sample *sample = *state;
    uint8_t rows[256 * ROW], *copy;
    size_t used;

    write_difference(sample);
    struct table_difference *difference = parse(&sample->writer, sample->writer.size, &copy, &used);
    sample->base_rows[300 * ROW + 5] ^= 1;
    assert_true(table_difference_make_block(difference, 0, &sample->base, rows));
    assert_false(table_difference_make_block(difference, 1, &sample->base, rows));
    assert_true(table_difference_make_block(difference, 2, &sample->base, rows));
    sample->offsets[30]++;
    assert_false(table_difference_make_block(difference, 0, &sample->base, rows));
    sample->base.count = 531;
    assert_false(table_difference_make_block(difference, 2, &sample->base, rows));
    sample->base.count = 0;
    assert_false(table_difference_make_block(difference, 2, &sample->base, rows));
    table_difference_free(difference);
    free(copy);
}

static void test_truncated_anywhere(void **state)
{
    struct sample *sample = *state;
    uint8_t *copy;
    size_t used;

    write_difference(sample);
    for (size_t size = 0; size < sample->writer.size; size++) {
        assert_null(parse(&sample->writer, size, &copy, &used));
        free(copy);
    }
}

static void test_headers_that_do_not_fit(void **state)
{
    struct byte_writer *writer = &((struct sample *)*state)->writer;

    byte_writer_bytes(writer, "MSBASE02", 8);
    byte_writer_fixed32(writer, 1024);
    byte_writer_fixed32(writer, COUNT);
    assert_refused(writer);
    write_header(writer, 1000, COUNT);
    assert_refused(writer);
    write_header(writer, 1024, COUNT + 1);
    assert_refused(writer);
    write_header(writer, 1024, UINT32_MAX);
    assert_refused(writer);
}

static void test_operations_that_do_not_fit(void **state)
{
    struct byte_writer *writer = &((struct sample *)*state)->writer;
    static const uint64_t rows[] = {0, 257, UINT64_C(1) << 32, UINT64_MAX >> 1};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (unsigned from_base = 0; from_base < 2; from_base++) {
            write_header(writer, 1024, COUNT);
            byte_writer_fixed64(writer, 1);
            byte_writer_varint(writer, rows[i] << 1 | from_base);
            for (size_t fill = 0; fill < 300 * ROW; fill++)
                byte_writer_bytes(writer, "\3", 1);
            assert_refused(writer);
        }
    write_header(writer, 1024, COUNT);
    byte_writer_fixed64(writer, 1);
    write_base_rows(writer, 256, BASE_SIZE);
    byte_writer_fixed64(writer, 1);
    write_base_rows(writer, 256, 0);
    byte_writer_fixed64(writer, 1);
    write_base_rows(writer, 10, 0);
    assert_refused(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_table_comes_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_what_a_base_lacks_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncated_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_headers_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_operations_that_do_not_fit, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
