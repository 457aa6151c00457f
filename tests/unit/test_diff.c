/* SPDX-License-Identifier: MIT */
/* What an update from one image to another costs, as diff counts it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/chunk_table.h"
#include "common/publish/diff.h"
#include "common/publish/generate.h"
#include "tests/unit/publish_scene.h"
#include "tests/unit/publisher.h"

/* Bytes of NEW by what becomes of them, in a list of chunks without gaps. */
static void count_fates(const struct diff_result *result, uint64_t ret_bytes[DIFF_FATES])
{
    uint64_t offset = 0;

    memset(ret_bytes, 0, DIFF_FATES * sizeof(*ret_bytes));
    for (uint64_t i = 0; i < result->chunks; i++) {
        const struct diff_chunk *chunk = &result->chunk_list[i];
        assert_int_equal(chunk->offset, offset);
        ret_bytes[chunk->fate] += chunk->size;
        offset += chunk->size;
    }
    assert_int_equal(offset, result->new_size);
    assert_int_equal(ret_bytes[DIFF_FATE_PATCH], 0);
    assert_int_equal(ret_bytes[DIFF_FATE_FETCH], result->bytes_missing);
}

static struct diff_result must_diff_fates(struct fixture *fixture, const void *new_data, size_t new_size,
                                          const void *old_data, size_t old_size, uint32_t chunk_size,
                                          uint64_t ret_bytes[DIFF_FATES])
{
    CLEANUP_FREE char *new_path = alloc_printf("%s/new", fixture->folder);
    CLEANUP_FREE char *old_path = alloc_printf("%s/old", fixture->folder);
    struct diff_settings settings = {
        .new_path = new_path, .old_path = old_path, .chunk_size = chunk_size, .average = 1024};
    struct diff_result result;
    struct error error;

    publish_scene_write(new_path, new_data, new_size);
    publish_scene_write(old_path, old_data, old_size);
    if (!diff_files(&settings, &result, &error))
        fail_msg("%s", error.message);
    assert_int_equal(result.new_size, new_size);
    assert_int_equal(result.old_size, old_size);
    count_fates(&result, ret_bytes);
    diff_result_finish(&result);
    return result;
}

static struct diff_result must_diff(struct fixture *fixture, const void *new_data, size_t new_size,
                                    const void *old_data, size_t old_size, uint32_t chunk_size)
{
    uint64_t bytes[DIFF_FATES];

    return must_diff_fates(fixture, new_data, new_size, old_data, old_size, chunk_size, bytes);
}

static void test_diff_counts_as_the_ancestor(void **state)
{
    struct diff_result result = must_diff(*state, "aabbccd", 7, "aaxbcc", 6, 2);

    assert_int_equal(result.total, 3);
    assert_int_equal(result.same, 2);
    assert_int_equal(result.same_bytes, 4);
    /* The chunk in which only one file ends. */
    result = must_diff(*state, "aabb", 4, "aab", 3, 2);
    assert_int_equal(result.total, 2);
    assert_int_equal(result.same, 1);
    result = must_diff(*state, "aab", 3, "aab", 3, 2);
    assert_int_equal(result.total, 2);
    assert_int_equal(result.same, 2);
    assert_int_equal(result.same_bytes, 3);
    result = must_diff(*state, "", 0, "aab", 3, 2);
    assert_int_equal(result.total, 0);
    assert_int_equal(result.chunks, 0);
    assert_int_equal(result.table_bytes, 44);
}

static void test_diff_in_chunks_larger_than_a_block(void **state)
{
    CLEANUP_FREE uint8_t *data = noise(3000000, 1);
    CLEANUP_FREE uint8_t *other = noise(3000000, 1);

    other[1500000] ^= 1;
    struct diff_result result = must_diff(*state, data, 3000000, other, 3000000, 1600000);
    assert_int_equal(result.total, 2);
    assert_int_equal(result.same, 1);
    assert_int_equal(result.same_bytes, 1400000);
}

static void test_diff_finds_chunks_anywhere(void **state)
{
    CLEANUP_FREE uint8_t *old_data = noise(500000, 1);
    CLEANUP_FREE uint8_t *new_data = malloc(500003);

    memcpy(new_data, "abc", 3);
    memcpy(new_data + 3, old_data, 500000);
    struct diff_result result = must_diff(*state, new_data, 500003, old_data, 500000, 1000);
    assert_int_equal(result.same, 0);
    assert_in_range(result.bytes_missing, 1, 8192);
    assert_in_range(result.chunks_missing, 1, 2);
    assert_int_equal(result.table_bytes, 44 + 44 * result.chunks);
    result = must_diff(*state, old_data, 500000, old_data, 500000, 1000);
    assert_int_equal(result.bytes_missing, 0);
}

/* Equal chunks are fetched once. */
static void test_diff_counts_repeated_chunks_once(void **state)
{
    CLEANUP_FREE uint8_t *zeros = alloc_zeroed(409600);
    struct diff_result result = must_diff(*state, zeros, 409600, "x", 1, 1000);

    assert_int_equal(result.chunks, 100);
    assert_int_equal(result.chunks_missing, 1);
    assert_int_equal(result.bytes_missing, 4096);
}

static void test_diff_says_what_becomes_of_chunks(void **state)
{
    CLEANUP_FREE uint8_t *old_data = noise(400000, 1);
    CLEANUP_FREE uint8_t *new_data = noise(400000, 1);
    uint64_t bytes[DIFF_FATES];

    /* The first half is changed in one place, the second moved by as much as came in between. */
    new_data[100000] ^= 1;
    memmove(new_data + 201000, new_data + 200000, 199000);
    must_diff_fates(*state, new_data, 400000, old_data, 400000, 1000, bytes);
    assert_in_range(bytes[DIFF_FATE_KEEP], 190000, 200000);
    assert_in_range(bytes[DIFF_FATE_COPY], 190000, 199000);
    assert_in_range(bytes[DIFF_FATE_FETCH], 2000, 20000);
    /* Zeros are the same at the same place, wherever the chunks before them ended. */
    memset(old_data + 100000, 0, 300000);
    memset(new_data + 100000, 0, 300000);
    memcpy(new_data, "other", 5);
    must_diff_fates(*state, new_data + 1, 399999, old_data + 1, 399999, 1000, bytes);
    assert_in_range(bytes[DIFF_FATE_KEEP], 380000, 399999);
    /* A chunk that repeats is fetched once. */
    memset(new_data, 1, 400000);
    must_diff_fates(*state, new_data, 400000, old_data, 400000, 1000, bytes);
    assert_in_range(bytes[DIFF_FATE_FETCH], 4096, 8192);
    assert_int_equal(bytes[DIFF_FATE_COPY], 400000 - bytes[DIFF_FATE_FETCH]);
}

static void test_diff_refused(void **state)
{
    struct fixture *fixture = *state;
    struct diff_settings settings = {
        .new_path = fixture->image, .old_path = fixture->folder, .chunk_size = 1, .average = 1024};
    struct diff_result result;
    struct error error;

    assert_false(diff_files(&settings, &result, &error));
    assert_int_equal(error.code, ENOENT);
    publish_scene_write(fixture->image, "x", 1);
    assert_false(diff_files(&settings, &result, &error));
    settings.old_path = fixture->image;
    settings.average = 0;
    assert_false(diff_files(&settings, &result, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_diff_counts_as_the_ancestor, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_diff_in_chunks_larger_than_a_block, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_diff_finds_chunks_anywhere, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_diff_counts_repeated_chunks_once, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_diff_says_what_becomes_of_chunks, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_diff_refused, publish_scene_set_up, publish_scene_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
