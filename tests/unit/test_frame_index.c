/* SPDX-License-Identifier: MIT */
/* Where the frames of chunks lie: the places, and every number against the table and the pack. */
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
#include "common/image/frame_index.h"

enum { CHUNK = 1024, COUNT = 4, PACK_SIZE = 8 + 2 * CHUNK };

struct sample {
    struct chunk_table *table;
    uint32_t first_alike[COUNT];
};

/* Four chunks, of which the third is the first once more. */
static int set_up(void **state)
{
    static const uint32_t sizes[COUNT] = {CHUNK, CHUNK, CHUNK, 100};
    struct sample *sample = alloc_zeroed(sizeof(*sample));
    struct dice dice = {3};
    uint8_t data[3 * CHUNK + 100];

    dice_fill(&dice, data, sizeof(data));
    memcpy(data + 2 * CHUNK, data, CHUNK);
    sample->table = publish_table_cut(data, sizes, COUNT, CHUNK);
    for (uint32_t i = 0; i < COUNT; i++)
        sample->first_alike[i] = i == 2 ? 0 : i;
    *state = sample;
    return 0;
}

static int tear_down(void **state)
{
    struct sample *sample = *state;

    chunk_table_free(sample->table);
    free(sample);
    return 0;
}

/* Parses these numbers, with `more` zero bytes after them, in an exact copy. */
static struct frame_index *parse(struct sample *sample, const uint64_t *numbers, size_t count, size_t more,
                                 uint64_t pack_size)
{
    struct byte_writer writer = {0};
    struct frame_index *index = NULL;
    struct error error = {0};

    for (size_t i = 0; i < count; i++)
        byte_writer_varint(&writer, numbers[i]);
    for (size_t i = 0; i < more; i++)
        byte_writer_bytes(&writer, "", 1);
    uint8_t *copy = malloc(writer.size ? writer.size : 1);
    if (writer.size)
        memcpy(copy, writer.data, writer.size);
    bool ok =
        frame_index_parse(copy, writer.size, sample->table, sample->first_alike, pack_size, &index, &error);
    free(copy);
    byte_writer_finish(&writer);
    assert_int_equal(ok, index != NULL);
    if (!ok)
        assert_int_equal(error.kind, ERROR_FORMAT);
    return index;
}

static void assert_refused(struct sample *sample, const uint64_t numbers[COUNT])
{
    assert_null(parse(sample, numbers, COUNT, 0, PACK_SIZE));
}

static void test_places(void **state)
{
    static const uint64_t numbers[COUNT] = {500, CHUNK, 0, 100};
    struct frame_index *index = parse(*state, numbers, COUNT, 0, 8 + 500 + CHUNK + 100);

    assert_non_null(index);
    assert_int_equal(frame_index_offset(index, 0), 8);
    assert_int_equal(frame_index_size(index, 0), 500);
    assert_int_equal(frame_index_offset(index, 1), 508);
    assert_int_equal(frame_index_size(index, 1), CHUNK);
    assert_int_equal(frame_index_offset(index, 2), 8);
    assert_int_equal(frame_index_size(index, 2), 500);
    assert_int_equal(frame_index_offset(index, 3), 508 + CHUNK);
    assert_int_equal(frame_index_size(index, 3), 100);
    assert_null(frame_index_free(index));
    assert_null(frame_index_free(NULL));
}

/* A chunk that is alike another by its key may have a frame of its own all the same. */
static void test_an_own_frame_for_a_chunk_that_is_alike(void **state)
{
    static const uint64_t numbers[COUNT] = {500, 400, 600, 100};
    struct frame_index *index = parse(*state, numbers, COUNT, 0, PACK_SIZE);

    assert_int_equal(frame_index_offset(index, 2), 908);
    assert_int_equal(frame_index_size(index, 2), 600);
    frame_index_free(index);
}

static void test_numbers_that_do_not_fit(void **state)
{
    assert_refused(*state, (const uint64_t[COUNT]){0, CHUNK, 0, 100});
    assert_refused(*state, (const uint64_t[COUNT]){500, 0, 0, 100});
    assert_refused(*state, (const uint64_t[COUNT]){500, CHUNK + 1, 0, 100});
    assert_refused(*state, (const uint64_t[COUNT]){500, CHUNK, 0, 101});
    assert_refused(*state, (const uint64_t[COUNT]){500, UINT64_C(1) << 32, 0, 100});
    assert_refused(*state, (const uint64_t[COUNT]){UINT64_MAX, 500, 0, 100});
    assert_refused(*state, (const uint64_t[COUNT]){500, UINT64_C(0) - 500, 0, 100});
}

static void test_frames_outside_the_pack(void **state)
{
    static const uint64_t numbers[COUNT] = {500, 400, 0, 100};

    assert_null(parse(*state, numbers, COUNT, 0, 1007));
    assert_null(parse(*state, numbers, COUNT, 0, 8));
    frame_index_free(parse(*state, numbers, COUNT, 0, 1008));
}

static void test_too_few_and_too_many(void **state)
{
    static const uint64_t numbers[COUNT] = {500, 400, 0, 100};

    for (size_t count = 0; count < COUNT; count++)
        assert_null(parse(*state, numbers, count, 0, PACK_SIZE));
    assert_null(parse(*state, numbers, COUNT, 1, PACK_SIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_own_frame_for_a_chunk_that_is_alike, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frames_outside_the_pack, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_few_and_too_many, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
