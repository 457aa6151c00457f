/* SPDX-License-Identifier: MIT */
/* Where an old image looks like a piece of a new one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publisher.h"

#include "common/base/alloc.h"
#include "common/publish/similarity.h"

enum { BLOCK = SIMILARITY_BLOCK_SIZE, SIZE = 64 * BLOCK };

static struct similarity *similarity_of(const uint8_t *data, size_t size)
{
    struct similarity *similarity = similarity_new(size);
    uint64_t *samples;
    size_t count = similarity_take_samples(similarity, data, size, 0, &samples);

    similarity_add(similarity, samples, count);
    free(samples);
    similarity_finish(similarity);
    return similarity;
}

/* How many of the piece's samples each block of the old image has. */
static void count_votes(const struct similarity *similarity, const uint8_t *data, size_t size,
                        unsigned *ret_votes)
{
    uint64_t *samples;
    size_t count = similarity_take_samples(similarity, data, size, 0, &samples), found_count;

    memset(ret_votes, 0, SIZE / BLOCK * sizeof(*ret_votes));
    for (size_t i = 0; i < count; i++) {
        const uint64_t *found = similarity_find(similarity, samples[i], &found_count);
        for (size_t j = 0; j < found_count; j++) {
            assert_int_equal(found[j] >> 32, samples[i] >> 32);
            assert_true(j == 0 || found[j] > found[j - 1]);
            ret_votes[(uint32_t)found[j]]++;
        }
    }
    free(samples);
}

static void test_a_piece_is_found_at_any_offset(void **state)
{
    CLEANUP_FREE uint8_t *old = alloc_zeroed(SIZE);
    struct dice dice = {1};
    unsigned votes[SIZE / BLOCK];

    dice_fill(&dice, old, SIZE);
    struct similarity *similarity = similarity_of(old, SIZE);
    for (size_t offset = 12345; offset + 3 * BLOCK < SIZE; offset += 111111) {
        count_votes(similarity, old + offset, 3 * BLOCK, votes);
        for (size_t i = 0; i < SIZE / BLOCK; i++) {
            /* 256 windows of a whole block are samples; by accident none of these is elsewhere. */
            bool inside = i * BLOCK >= offset && (i + 1) * BLOCK <= offset + 3 * BLOCK;
            bool outside = (i + 1) * BLOCK <= offset || i * BLOCK >= offset + 3 * BLOCK;
            assert_true(!inside || votes[i] > 180);
            assert_true(!outside || votes[i] == 0);
        }
    }
    similarity_free(similarity);
}

static void test_in_pieces_as_at_once(void **state)
{
    CLEANUP_FREE uint8_t *old = alloc_zeroed(SIZE);
    struct dice dice = {2};
    struct similarity *similarity = similarity_new(SIZE);
    uint64_t *whole, *piece;

    dice_fill(&dice, old, SIZE);
    size_t count = similarity_take_samples(similarity, old, SIZE, 0, &whole), done = 0;
    for (size_t begin = 0; begin < SIZE; begin += 50000) {
        size_t from = begin < SIMILARITY_WINDOW - 1 ? 0 : begin - (SIMILARITY_WINDOW - 1);
        size_t end = begin + 50000 < SIZE ? begin + 50000 : SIZE;
        size_t piece_count = similarity_take_samples(similarity, old + from, end - from, from, &piece);
        assert_true(done + piece_count <= count);
        assert_memory_equal(piece, whole + done, piece_count * sizeof(*piece));
        done += piece_count;
        free(piece);
    }
    assert_int_equal(done, count);
    free(whole);
    similarity_free(similarity);
}

static void test_what_is_everywhere_says_nothing(void **state)
{
    CLEANUP_FREE uint8_t *old = alloc_zeroed(SIZE);
    struct dice dice = {3};
    unsigned votes[SIZE / BLOCK];

    for (size_t i = 0; i < SIZE / BLOCK; i++) /* the same in every block, at an offset of its own */
        dice_fill(&(struct dice){4}, old + i * BLOCK + dice_below(&dice, 5000), 5000);
    dice_fill(&dice, old + 5 * BLOCK + 11000, 5000);
    struct similarity *similarity = similarity_of(old, SIZE);
    count_votes(similarity, old, SIZE, votes);
    for (size_t i = 0; i < SIZE / BLOCK; i++)
        assert_in_range(votes[i], i == 5 ? 40 : 0, i == 5 ? 200 : 3);
    similarity_free(similarity);
}

static void test_nothing_at_all(void **state)
{
    uint8_t few[SIMILARITY_WINDOW - 1] = {0};
    unsigned votes[SIZE / BLOCK];
    struct similarity *similarity = similarity_of(few, sizeof(few));

    count_votes(similarity, few, sizeof(few), votes);
    assert_int_equal(votes[0], 0);
    similarity_free(similarity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_piece_is_found_at_any_offset),
        cmocka_unit_test(test_in_pieces_as_at_once),
        cmocka_unit_test(test_what_is_everywhere_says_nothing),
        cmocka_unit_test(test_nothing_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
