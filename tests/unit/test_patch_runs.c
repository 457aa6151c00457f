/* SPDX-License-Identifier: MIT */
/* Runs of chunks that a base lacks: where they begin and end, and what their neighbours are in the base. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publisher.h"

#include "common/base/alloc.h"
#include "common/publish/patch_runs.h"

enum { AVERAGE = 8192, CHUNK = 16384, COUNT = 40 };

/* An image of COUNT chunks of CHUNK bytes, and a base that has some of them. */
struct sample {
    uint8_t *data;
    struct chunk_table *table;
    struct chunk_index *index;
    struct base_image base;
    struct patch_run *runs;
    uint32_t count;
};

/* `picture` has a letter for each chunk: '.' the base has it, at the same place, '>' it has it 100 bytes
 * later, 'x' it lacks it, '2' it lacks it and it is the same as chunk 2. */
static struct sample *sample_new(const char *picture, uint32_t output_max)
{
    struct sample *sample = alloc_zeroed(sizeof(*sample));
    uint32_t sizes[COUNT], count = (uint32_t)strlen(picture);
    struct dice dice = {1};

    assert_true(count <= COUNT);
    sample->data = alloc_zeroed((size_t)count * CHUNK + 1);
    dice_fill(&dice, sample->data, (size_t)count * CHUNK);
    sample->base.chunks = alloc_array(count + 1, sizeof(*sample->base.chunks));
    sample->base.held = alloc_array(count + 1, sizeof(*sample->base.held));
    for (uint32_t i = 0; i < count; i++) {
        sizes[i] = CHUNK;
        if (picture[i] == '2')
            memcpy(sample->data + (size_t)i * CHUNK, sample->data + 2 * CHUNK, CHUNK);
        bool held = picture[i] == '.' || picture[i] == '>';
        sample->base.held[i] = held ? i : BASE_IMAGE_NONE;
        sample->base.chunks[i] =
            (struct base_chunk){.offset = (uint64_t)i * CHUNK + (picture[i] == '>' ? 100 : 0), .size = CHUNK};
    }
    sample->table = publish_table_cut(sample->data, sizes, count, AVERAGE);
    sample->index = chunk_index_new(sample->table);
    sample->count = patch_runs_find(sample->table, sample->index, &sample->base, output_max, &sample->runs);
    return sample;
}

static void sample_free(struct sample *sample)
{
    free(sample->data);
    chunk_table_free(sample->table);
    chunk_index_free(sample->index);
    free(sample->base.chunks);
    free(sample->base.held);
    free(sample->runs);
    free(sample);
}

/* The runs as the chunks they cover: "first+count first+count". */
static void assert_runs(const char *picture, uint32_t output_chunks, const char *expected)
{
    struct sample *sample = sample_new(picture, output_chunks * CHUNK);
    char found[400] = "";

    for (uint32_t i = 0; i < sample->count; i++) {
        const struct patch_run *run = &sample->runs[i];
        snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%u+%u", i > 0 ? " " : "",
                 run->first, run->count);
        assert_int_equal(run->offset, run->first * CHUNK);
        assert_int_equal(run->size, run->count * CHUNK);
        assert_true(run->size <= output_chunks * CHUNK);
    }
    assert_string_equal(found, expected);
    sample_free(sample);
}

static void test_where_runs_begin_and_end(void **state)
{
    assert_runs("", 64, "");
    assert_runs("....", 64, "");
    assert_runs("x", 64, "0+1");
    assert_runs("xxx", 64, "0+3");
    assert_runs("x.......................x", 64, "0+1 24+1");
    assert_runs("..xx......", 64, "2+2");
    assert_runs(".......xx", 64, "7+2");
}

static void test_a_short_gap_joins_and_a_long_one_does_not(void **state)
{
    /* 128 KiB are eight chunks. */
    assert_runs(".x........x.", 64, "1+10");
    assert_runs(".x.........x.", 64, "1+1 11+1");
    assert_runs("x.x..x...x........x", 64, "0+19");
}

static void test_long_runs_are_cut_up(void **state)
{
    assert_runs("xxxxxxxxxx", 4, "0+4 4+4 8+2");
    assert_runs("xx..xx..xx", 4, "0+2 4+2 8+2");
    assert_runs("xx..xx..xx", 6, "0+6 8+2");
    assert_runs("xxxxx", 1, "0+1 1+1 2+1 3+1 4+1");
}

static void test_a_repetition_is_copied(void **state)
{
    assert_runs("..x..........2...", 64, "2+1");
    assert_runs("..x.2..x", 64, "2+6");
}

static void test_the_neighbours_places(void **state)
{
    struct sample *sample = sample_new("..xxxx>>...........xx", 2 * CHUNK);
    const struct patch_run *runs = sample->runs;

    assert_int_equal(sample->count, 3);
    for (uint32_t i = 0; i < 2; i++) { /* both halves of the long run look at the same neighbours */
        assert_true(runs[i].has_before && runs[i].has_after);
        assert_int_equal(runs[i].before_end, 2 * CHUNK);
        assert_int_equal(runs[i].before_distance, i * 2 * CHUNK);
        assert_int_equal(runs[i].after_begin, 6 * CHUNK + 100);
        assert_int_equal(runs[i].after_distance, (1 - i) * 2 * CHUNK);
    }
    assert_true(runs[2].has_before && !runs[2].has_after);
    assert_int_equal(runs[2].before_end, 19 * CHUNK);
    sample_free(sample);

    sample = sample_new("xx.", 8 * CHUNK);
    assert_true(!sample->runs[0].has_before && sample->runs[0].has_after);
    assert_int_equal(sample->runs[0].after_begin, 2 * CHUNK);
    sample_free(sample);

    sample = sample_new("xx", 8 * CHUNK);
    assert_true(!sample->runs[0].has_before && !sample->runs[0].has_after);
    sample_free(sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_runs_begin_and_end),
        cmocka_unit_test(test_a_short_gap_joins_and_a_long_one_does_not),
        cmocka_unit_test(test_long_runs_are_cut_up),
        cmocka_unit_test(test_a_repetition_is_copied),
        cmocka_unit_test(test_the_neighbours_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
