/* SPDX-License-Identifier: MIT */
/* The cut function against its definition, and the stream against the cut function. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "common/base/alloc.h"
#include "common/image/chunker.h"
#include "tests/unit/publisher.h"

/* docs/manifest.md word by word, and as slow. */
static size_t cut_by_definition(const struct chunker *chunker, const uint8_t *data, size_t size)
{
    for (size_t length = chunker->minimum; length < size && length < chunker->maximum; length++) {
        uint64_t hash = 0;
        for (size_t i = 0; i < 64; i++)
            hash += chunker->gear[data[length - 1 - i]] << i;
        if (!(hash & (length < chunker->average ? chunker->mask_hard : chunker->mask_easy)))
            return length;
    }
    return size < chunker->maximum ? size : chunker->maximum;
}

static void test_parameters(void **state)
{
    struct chunker chunker;

    assert_int_equal(chunker_init(&chunker, 32768), 0);
    assert_int_equal(chunker.minimum, 8192);
    assert_int_equal(chunker.maximum, 131072);
    /* SplitMix64 from seed 0, as published. */
    assert_true(chunker.gear[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(chunker.gear[1] == UINT64_C(0x6e789e6aa1b965f4));
    assert_true(chunker.gear[2] == UINT64_C(0x06c45d188009454f));
    assert_true(chunker.gear[3] == UINT64_C(0xf88bb8a8724c81ec));
    assert_true(chunker.mask_hard == UINT64_C(0xa492924949240000));
    assert_true(chunker.mask_easy == UINT64_C(0x9112224448880000));
}

static void test_masks(void **state)
{
    for (uint32_t bits = 10; bits <= 18; bits++) {
        struct chunker chunker;
        assert_int_equal(chunker_init(&chunker, UINT32_C(1) << bits), 0);
        assert_int_equal(__builtin_popcountll(chunker.mask_hard), bits + 2);
        assert_int_equal(__builtin_popcountll(chunker.mask_easy), bits - 2);
        assert_true(((chunker.mask_hard | chunker.mask_easy) & 0xffff) == 0);
    }
}

static void test_bad_averages(void **state)
{
    static const uint32_t averages[] = {0, 1, 512, 1023, 1025, 3000, 32767, 524288, 0x80000000u, UINT32_MAX};
    struct chunker chunker;

    for (size_t i = 0; i < sizeof(averages) / sizeof(averages[0]); i++)
        assert_int_equal(chunker_init(&chunker, averages[i]), -EINVAL);
}

static void test_cuts_as_defined(void **state)
{
    const size_t size = 3 * 1024 * 1024;
    CLEANUP_FREE uint8_t *data = noise(size, 1);

    for (uint32_t average = CHUNKER_AVERAGE_MIN; average <= CHUNKER_AVERAGE_MAX; average *= 4) {
        struct chunker chunker;
        assert_int_equal(chunker_init(&chunker, average), 0);
        for (size_t offset = 0; offset < size;) {
            size_t length = chunker_cut(&chunker, data + offset, size - offset);
            assert_int_equal(length, cut_by_definition(&chunker, data + offset, size - offset));
            offset += length;
        }
    }
}

static void test_short_ends(void **state)
{
    CLEANUP_FREE uint8_t *data = noise(8192, 2);
    struct chunker chunker;

    assert_int_equal(chunker_init(&chunker, 1024), 0);
    for (size_t size = 1; size <= 4200; size++) {
        size_t length = chunker_cut(&chunker, data, size);
        assert_int_equal(length, cut_by_definition(&chunker, data, size));
        assert_in_range(length, 1, size);
    }
}

/* A long run of one byte is what a half empty image mostly holds: few, large chunks. */
static void test_runs_of_zeros_make_the_largest_chunks(void **state)
{
    CLEANUP_FREE uint8_t *zeros = alloc_zeroed((size_t)4 * CHUNKER_AVERAGE_MAX);

    for (uint32_t average = CHUNKER_AVERAGE_MIN; average <= CHUNKER_AVERAGE_MAX; average *= 2) {
        struct chunker chunker;
        assert_int_equal(chunker_init(&chunker, average), 0);
        assert_int_equal(chunker_cut(&chunker, zeros, chunker.maximum), chunker.maximum);
    }
}

struct record {
    size_t lengths[1024];
    size_t count;
    size_t stop_at; /* refuse this chunk; 0 = none */
    const uint8_t *expected;
};

static bool record_chunk(void *owner, const uint8_t *data, size_t size)
{
    struct record *record = owner;

    assert_in_range(record->count, 0, 1023);
    assert_memory_equal(data, record->expected, size);
    record->expected += size;
    record->lengths[record->count++] = size;
    return record->count != record->stop_at;
}

static void test_stream_cuts_the_same_however_it_is_fed(void **state)
{
    static const size_t pieces[] = {1, 7, 4095, 8192, 100000, 1 << 20};
    const size_t size = 1 << 20;
    CLEANUP_FREE uint8_t *data = noise(size, 3);
    struct chunker chunker;

    assert_int_equal(chunker_init(&chunker, 2048), 0);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct record record = {.expected = data};
        struct chunker_stream *stream = chunker_stream_new(&chunker, record_chunk, &record);
        for (size_t done = 0; done < size; done += pieces[i])
            assert_true(
                chunker_stream_add(stream, data + done, size - done < pieces[i] ? size - done : pieces[i]));
        assert_true(chunker_stream_end(stream));
        chunker_stream_free(stream);
        assert_ptr_equal(record.expected, data + size);
        size_t offset = 0;
        for (size_t chunk = 0; chunk < record.count; chunk++) {
            assert_int_equal(record.lengths[chunk], chunker_cut(&chunker, data + offset, size - offset));
            offset += record.lengths[chunk];
        }
    }
}

static void test_stream_of_nothing(void **state)
{
    struct record record = {0};
    struct chunker chunker;

    assert_int_equal(chunker_init(&chunker, 1024), 0);
    struct chunker_stream *stream = chunker_stream_new(&chunker, record_chunk, &record);
    assert_true(chunker_stream_end(stream));
    assert_int_equal(record.count, 0);
    assert_null(chunker_stream_free(stream));
    assert_null(chunker_stream_free(NULL));
}

static void test_stream_stops_when_told(void **state)
{
    CLEANUP_FREE uint8_t *data = noise(1 << 20, 4);
    struct record record = {.stop_at = 3, .expected = data};
    struct chunker chunker;

    assert_int_equal(chunker_init(&chunker, 1024), 0);
    struct chunker_stream *stream = chunker_stream_new(&chunker, record_chunk, &record);
    assert_false(chunker_stream_add(stream, data, 1 << 20));
    assert_int_equal(record.count, 3);
    chunker_stream_free(stream);
}

/* What content-defined chunks are for: after an insertion the same chunks come again. */
static void test_insertion_moves_chunks_without_changing_them(void **state)
{
    const size_t size = 1 << 20;
    CLEANUP_FREE uint8_t *data = noise(size + 5, 5);
    CLEANUP_FREE uint8_t *shifted = malloc(size + 5);
    CLEANUP_FREE bool *is_cut = alloc_array(size + 1, sizeof(bool));
    struct chunker chunker;
    size_t common = 0, count = 0;

    memcpy(shifted, data, 1000);
    memcpy(shifted + 1000, "hello", 5);
    memcpy(shifted + 1005, data + 1000, size - 1000);
    assert_int_equal(chunker_init(&chunker, 4096), 0);
    for (size_t offset = 0; offset < size; is_cut[offset] = true)
        offset += chunker_cut(&chunker, data + offset, size - offset);
    for (size_t offset = 0; offset < size + 5; count++) {
        offset += chunker_cut(&chunker, shifted + offset, size + 5 - offset);
        common += offset >= 5 && is_cut[offset - 5];
    }
    assert_in_range(count - common, 0, 8);
    assert_in_range(count, 100, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_bad_averages),
        cmocka_unit_test(test_cuts_as_defined),
        cmocka_unit_test(test_short_ends),
        cmocka_unit_test(test_runs_of_zeros_make_the_largest_chunks),
        cmocka_unit_test(test_stream_cuts_the_same_however_it_is_fed),
        cmocka_unit_test(test_stream_of_nothing),
        cmocka_unit_test(test_stream_stops_when_told),
        cmocka_unit_test(test_insertion_moves_chunks_without_changing_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
