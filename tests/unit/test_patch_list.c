/* SPDX-License-Identifier: MIT */
/* The list of patches: what it says, and every number of it against the table, the base and the pack. */
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
#include "common/image/patch_list.h"

enum { CHUNK = 1024, COUNT = 10, PACK_SIZE = 5000 };

struct sample {
    struct chunk_table *table;
    struct manifest_base base;
    struct byte_writer writer;
};

static int set_up(void **state)
{
    struct sample *sample = alloc_zeroed(sizeof(*sample));
    struct dice dice = {5};
    uint8_t data[COUNT * CHUNK];
    uint32_t sizes[COUNT];

    dice_fill(&dice, data, sizeof(data));
    for (uint32_t i = 0; i < COUNT; i++)
        sizes[i] = CHUNK;
    sample->table = publish_table_cut(data, sizes, COUNT, CHUNK);
    sample->base = (struct manifest_base){
        .size = 100000, .patches_offset = 4000, .span_max = 20000, .output_max = 4 * CHUNK};
    *state = sample;
    return 0;
}

static int tear_down(void **state)
{
    struct sample *sample = *state;

    chunk_table_free(sample->table);
    byte_writer_finish(&sample->writer);
    free(sample);
    return 0;
}

/* Parses an exact copy of the first `size` bytes. */
static struct patch_list *parse(struct sample *sample, size_t size)
{
    struct patch_list *list = NULL;
    struct error error = {0};
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, sample->writer.data, size);
    bool ok = patch_list_parse(copy, size, sample->table, &sample->base, PACK_SIZE, &list, &error);
    free(copy);
    assert_int_equal(ok, list != NULL);
    if (!ok)
        assert_int_equal(error.kind, ERROR_FORMAT);
    return list;
}

/* A patch with one span. */
static void write_patch(struct sample *sample, uint64_t gap, uint64_t count, uint64_t frame_size,
                        uint64_t offset, uint64_t span)
{
    byte_writer_varint(&sample->writer, gap);
    byte_writer_varint(&sample->writer, count);
    byte_writer_varint(&sample->writer, frame_size);
    byte_writer_varint(&sample->writer, 1);
    byte_writer_varint(&sample->writer, offset);
    byte_writer_varint(&sample->writer, span);
    byte_writer_fixed64(&sample->writer, UINT64_C(0x0123456789abcdef));
}

static void write_good(struct sample *sample)
{
    byte_writer_varint(&sample->writer, 2);
    write_patch(sample, 1, 3, 300, 99000, 1000);
    byte_writer_varint(&sample->writer, 2);
    byte_writer_varint(&sample->writer, 4);
    byte_writer_varint(&sample->writer, 700);
    byte_writer_varint(&sample->writer, 2);
    byte_writer_varint(&sample->writer, 0);
    byte_writer_varint(&sample->writer, 15000);
    byte_writer_varint(&sample->writer, 10000);
    byte_writer_varint(&sample->writer, 5000);
    byte_writer_fixed64(&sample->writer, 7);
}

static void test_what_it_says(void **state)
{
    struct sample *sample = *state;

    write_good(sample);
    struct patch_list *list = parse(sample, sample->writer.size);
    assert_non_null(list);
    assert_int_equal(patch_list_count(list), 2);
    const struct patch *patch = patch_list_at(list, 0);
    assert_int_equal(patch->first, 1);
    assert_int_equal(patch->count, 3);
    assert_int_equal(patch->output_size, 3 * CHUNK);
    assert_int_equal(patch->frame_offset, 4000);
    assert_int_equal(patch->frame_size, 300);
    assert_int_equal(patch->spans_size, 1000);
    assert_true(patch->spans_xxh3 == UINT64_C(0x0123456789abcdef));
    patch = patch_list_at(list, 1);
    assert_int_equal(patch->first, 6);
    assert_int_equal(patch->count, 4);
    assert_int_equal(patch->frame_offset, 4300);
    assert_int_equal(patch->spans_size, 20000);
    assert_int_equal(patch->span_count, 2);
    assert_int_equal(patch_list_spans(list, patch)[1].offset, 10000);
    assert_int_equal(patch_list_spans(list, patch)[1].size, 5000);
    assert_null(patch_list_free(list));
    assert_null(patch_list_free(NULL));
}

static void test_no_patches(void **state)
{
    struct sample *sample = *state;

    byte_writer_varint(&sample->writer, 0);
    struct patch_list *list = parse(sample, 1);
    assert_int_equal(patch_list_count(list), 0);
    patch_list_free(list);
}

static void test_truncated_or_longer(void **state)
{
    struct sample *sample = *state;

    write_good(sample);
    for (size_t size = 0; size < sample->writer.size; size++)
        assert_null(parse(sample, size));
    byte_writer_varint(&sample->writer, 0);
    assert_null(parse(sample, sample->writer.size));
}

static void assert_refused(struct sample *sample)
{
    assert_null(parse(sample, sample->writer.size));
    byte_writer_finish(&sample->writer);
}

static void assert_patch_refused(struct sample *sample, uint64_t gap, uint64_t count, uint64_t frame_size,
                                 uint64_t offset, uint64_t span)
{
    byte_writer_varint(&sample->writer, 1);
    write_patch(sample, gap, count, frame_size, offset, span);
    assert_refused(sample);
}

static void test_numbers_that_do_not_fit(void **state)
{
    static const uint64_t large[] = {UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX};
    struct sample *sample = *state;

    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        assert_patch_refused(sample, large[i], 1, 100, 0, 1000);
        assert_patch_refused(sample, 1, large[i], 100, 0, 1000);
        assert_patch_refused(sample, 0, 1, large[i], 0, 1000);
        assert_patch_refused(sample, 0, 1, 100, large[i], 1000);
        assert_patch_refused(sample, 0, 1, 100, 0, large[i]);
        assert_patch_refused(sample, 0, 1, 100, 1, large[i]);
        byte_writer_varint(&sample->writer, large[i]);
        write_patch(sample, 0, 1, 100, 0, 1000);
        assert_refused(sample);
    }
    assert_patch_refused(sample, 0, 0, 100, 0, 1000);     /* no chunks */
    assert_patch_refused(sample, 9, 2, 100, 0, 1000);     /* past the last chunk */
    assert_patch_refused(sample, 0, 5, 100, 0, 1000);     /* more than output_max */
    assert_patch_refused(sample, 0, 1, 0, 0, 1000);       /* no frame */
    assert_patch_refused(sample, 0, 1, CHUNK, 0, 1000);   /* no smaller than the run */
    assert_patch_refused(sample, 0, 1, 1001, 0, 1000);    /* ends outside the pack */
    assert_patch_refused(sample, 0, 1, 100, 0, 0);        /* an empty span */
    assert_patch_refused(sample, 0, 1, 100, 99001, 1000); /* outside the base */
    assert_patch_refused(sample, 0, 1, 100, 100000, 1);
    assert_patch_refused(sample, 0, 1, 100, 0, 20001); /* more than span_max */
    byte_writer_varint(&sample->writer, 1);
    write_patch(sample, 9, 1, 1000, 99999, 1);
    patch_list_free(parse(sample, sample->writer.size));
}

static void test_numbers_of_spans(void **state)
{
    static const uint64_t counts[] = {0, PATCH_SPANS_MAX + 1, UINT64_C(1) << 32, UINT64_MAX};
    struct sample *sample = *state;

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        static const uint8_t zeros[100];
        byte_writer_varint(&sample->writer, 1);
        byte_writer_varint(&sample->writer, 0);
        byte_writer_varint(&sample->writer, 1);
        byte_writer_varint(&sample->writer, 100);
        byte_writer_varint(&sample->writer, counts[i]);
        for (size_t span = 0; span < PATCH_SPANS_MAX + 1; span++) {
            byte_writer_varint(&sample->writer, 0);
            byte_writer_varint(&sample->writer, 1);
        }
        byte_writer_bytes(&sample->writer, zeros, sizeof(zeros));
        assert_refused(sample);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_it_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_patches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncated_or_longer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers_of_spans, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
