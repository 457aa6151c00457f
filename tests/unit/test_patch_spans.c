/* SPDX-License-Identifier: MIT */
/* Spans of a base for a run: near where it was, and where its like is; never more than allowed, always
 * within. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publisher.h"

#include "common/base/alloc.h"
#include "common/publish/patch_spans.h"

enum { KIB = 1024, MIB = 1024 * KIB, BASE_SIZE = 8 * MIB + 5000 /* not whole blocks */ };

struct sample {
    uint8_t *data; /* of the base */
    struct base_image base;
    struct patch_span spans[PATCH_SPANS_MAX];
    uint32_t count;
};

static int set_up(void **state)
{
    struct sample *sample = alloc_zeroed(sizeof(*sample));
    struct dice dice = {1};
    uint64_t *samples;

    sample->data = alloc_zeroed(BASE_SIZE);
    dice_fill(&dice, sample->data, BASE_SIZE);
    sample->base.size = BASE_SIZE;
    sample->base.similarity = similarity_new(BASE_SIZE);
    size_t count = similarity_take_samples(sample->base.similarity, sample->data, BASE_SIZE, 0, &samples);
    similarity_add(sample->base.similarity, samples, count);
    similarity_finish(sample->base.similarity);
    free(samples);
    *state = sample;
    return 0;
}

static int tear_down(void **state)
{
    struct sample *sample = *state;

    similarity_free(sample->base.similarity);
    free(sample->data);
    free(sample);
    return 0;
}

static void choose(struct sample *sample, const struct patch_run *run, const uint8_t *data, uint32_t span_max)
{
    uint64_t sum = 0;

    sample->count = patch_spans_choose(&sample->base, run, data, span_max, sample->spans);
    assert_in_range(sample->count, 1, PATCH_SPANS_MAX);
    for (uint32_t i = 0; i < sample->count; i++) {
        assert_true(sample->spans[i].size >= 1);
        assert_true(sample->spans[i].offset + sample->spans[i].size <= BASE_SIZE);
        sum += sample->spans[i].size;
        for (uint32_t j = 0; j < i; j++) /* nothing twice */
            assert_true(sample->spans[i].offset + sample->spans[i].size <= sample->spans[j].offset ||
                        sample->spans[j].offset + sample->spans[j].size <= sample->spans[i].offset);
    }
    assert_true(sum <= span_max);
}

static bool has(const struct sample *sample, uint64_t begin, uint64_t end)
{
    for (uint32_t i = 0; i < sample->count; i++)
        if (sample->spans[i].offset <= begin && sample->spans[i].offset + sample->spans[i].size >= end)
            return true;
    return false;
}

static void test_between_the_neighbours(void **state)
{
    struct sample *sample = *state;
    struct dice dice = {2};
    CLEANUP_FREE uint8_t *data = alloc_zeroed(300 * KIB);
    struct patch_run run = {.size = 300 * KIB,
                            .has_before = true,
                            .before_end = 2 * MIB,
                            .has_after = true,
                            .after_begin = 2 * MIB + 310 * KIB};

    dice_fill(&dice, data, run.size);
    choose(sample, &run, data, 2 * MIB);
    assert_int_equal(sample->count, 1);
    assert_true(has(sample, 2 * MIB - 32 * KIB, 2 * MIB + 342 * KIB));
}

static void test_at_both_ends_of_the_base(void **state)
{
    struct sample *sample = *state;
    struct dice dice = {3};
    CLEANUP_FREE uint8_t *data = alloc_zeroed(200 * KIB);
    struct patch_run first = {.size = 200 * KIB, .has_after = true, .after_begin = 100};
    struct patch_run last = {.size = 200 * KIB, .has_before = true, .before_end = BASE_SIZE - 100};
    struct patch_run alone = {.size = 200 * KIB};

    dice_fill(&dice, data, 200 * KIB);
    choose(sample, &first, data, 2 * MIB);
    assert_true(has(sample, 0, 100));
    choose(sample, &last, data, 2 * MIB);
    assert_true(has(sample, BASE_SIZE - 100, BASE_SIZE));
    choose(sample, &alone, data, 2 * MIB);
    assert_int_equal(sample->count, 1);
}

/* From five places, at odd offsets; the end of the base, which is no whole block, among them. */
static void test_what_is_alike_elsewhere(void **state)
{
    struct sample *sample = *state;
    static const uint64_t places[] = {77777, MIB + 33, 3 * MIB + 16383, 6 * MIB + 1, BASE_SIZE - 60000};
    CLEANUP_FREE uint8_t *data = alloc_zeroed(300 * KIB);
    struct patch_run run = {.size = 300 * KIB, .has_before = true, .before_end = 5 * MIB};

    for (size_t i = 0; i < 5; i++)
        memcpy(data + i * 60000, sample->data + places[i], 60000);
    choose(sample, &run, data, 2 * MIB);
    for (size_t i = 0; i < 5; i++)
        assert_true(
            has(sample, places[i] + 1000, places[i] + 59000)); /* a block of which less is used may lack */
    assert_true(has(sample, 5 * MIB, 5 * MIB + 300 * KIB));
}

static void test_never_more_than_allowed(void **state)
{
    struct sample *sample = *state;
    struct dice dice = {4};
    CLEANUP_FREE uint8_t *data = alloc_zeroed(MIB);
    static const uint32_t bounds[] = {1, 100, 16 * KIB, 64 * KIB, 300 * KIB, MIB, 8 * MIB};

    for (int round = 0; round < 40; round++) {
        struct patch_run run = {.size = 1 + dice_below(&dice, MIB),
                                .has_before = dice_below(&dice, 2),
                                .before_end = dice_below(&dice, BASE_SIZE),
                                .before_distance = dice_below(&dice, 3) * MIB,
                                .has_after = dice_below(&dice, 2),
                                .after_begin = dice_below(&dice, BASE_SIZE),
                                .after_distance = dice_below(&dice, 3) * MIB};
        for (size_t at = 0; at < run.size;) {
            size_t size = 1 + dice_below(&dice, 40000);
            size = size < run.size - at ? size : run.size - at;
            memcpy(data + at, sample->data + dice_below(&dice, (uint32_t)(BASE_SIZE - size)), size);
            at += size;
        }
        choose(sample, &run, data, bounds[round % 7]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_between_the_neighbours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_at_both_ends_of_the_base, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_alike_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_never_more_than_allowed, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
