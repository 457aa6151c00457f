/* SPDX-License-Identifier: MIT */
/* Packs of real files, taken apart again: every chunk and every patch must come out as the image has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "tests/unit/pack_bench.h"
#include "tests/unit/publisher.h"

static void test_whatever_was_edited(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {1};

    for (int round = 0; round < 24; round++) {
        fixture->with_pack = dice_below(&dice, 2);
        fixture->bases[fixture->base_count++] = make_image(&dice, 1 + dice_below(&dice, 400000));
        fixture->image = copy_of(fixture->bases[0]);
        for (uint32_t edits = dice_below(&dice, 12); edits > 0; edits--)
            edit(&dice, &fixture->image);
        if (fixture->image.size > 0)
            pack_bench_check(fixture);
        pack_bench_forget(fixture);
    }
}

/* A device with the base fetches little more than what is new. */
static void test_only_what_is_new_is_in_the_patches(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {2};
    struct bytes base = {.data = alloc_zeroed(2000000), .size = 2000000};
    static const size_t places[] = {0, 300000, 1000000, 1990000};

    dice_fill(&dice, base.data, base.size);
    fixture->bases[fixture->base_count++] = base;
    fixture->image = copy_of(base);
    for (size_t i = 0; i < 4; i++)
        dice_fill(&dice, fixture->image.data + places[i], 10000);
    uint64_t bytes = pack_bench_check(fixture);
    /* Each place touches a dozen chunks, whose rows cost 44 bytes each and prove them. */
    assert_in_range(bytes, 40000, 40000 + 4 * 1500);
}

/* Content that moved by an odd distance, far from where it was, and comes compressed so that no chunk is
 * alike. */
static void test_moved_content_is_found_again(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {3};
    struct bytes base = {.data = alloc_zeroed(3000000), .size = 3000000};

    dice_fill(&dice, base.data, base.size);
    fixture->bases[fixture->base_count++] = base;
    fixture->image = copy_of(base);
    memmove(fixture->image.data + 1000001, fixture->image.data, 50000);
    for (size_t i = 0; i < 50000; i += 500) /* not one whole chunk is left of it */
        fixture->image.data[1000001 + i] ^= 1;
    uint64_t bytes = pack_bench_check(fixture);
    assert_in_range(bytes, 100, 8000);
}

static void test_images_that_are_alike(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {4};

    fixture->bases[fixture->base_count++] = make_image(&dice, 300000);
    fixture->image = copy_of(fixture->bases[0]);
    uint64_t bytes = pack_bench_check(fixture);
    assert_in_range(bytes, 1, 300);
}

static void test_zeros_and_repetitions(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {5};

    fixture->with_pack = true;
    fixture->bases[fixture->base_count++] = (struct bytes){alloc_zeroed(1), 1};
    fixture->bases[fixture->base_count++] = (struct bytes){alloc_zeroed(500000), 500000};
    fixture->image = (struct bytes){alloc_zeroed(700001), 700001};
    pack_bench_check(fixture);
    for (int i = 1; i < 7; i++)
        dice_fill(&(struct dice){7}, fixture->image.data + i * 100000, 30000);
    pack_bench_check(fixture);
    /* The repetitions are there once. */
    assert_true(fixture->published.pack.size < 3 * 40000);
    fixture->bases[fixture->base_count++] = make_image(&dice, 2000000);
    pack_bench_check(fixture);
}

static void test_chunks_alone(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {6};
    static const size_t sizes[] = {1, 255, 4096, 300000};

    fixture->with_pack = true;
    for (size_t i = 0; i < 4; i++) {
        fixture->image = make_image(&dice, sizes[i]);
        pack_bench_check(fixture);
        pack_bench_forget(fixture);
    }
}

/* XXH3 multiplies the halves of what it reads with a key laid over it; where one half comes to nothing, the
 * other counts for the sum only. */
static void test_chunks_that_were_made_to_look_alike(void **state)
{
    struct fixture *fixture = *state;
    enum { SIZE = 4 * AVERAGE };
    static const uint8_t keys[2][4] = {{0xb8, 0xfe, 0x6c, 0x39}, {0x7c, 0x01, 0x81, 0x2c}};

    fixture->with_pack = true;
    fixture->image = (struct bytes){alloc_zeroed(2 * SIZE), 2 * SIZE};
    for (size_t i = 0; i < 4; i++) {
        uint8_t *place = fixture->image.data + i / 2 * SIZE + i % 2 * 64;
        memcpy(place, keys[i % 2], 4);
        place[4] = i == 1 || i == 2;
    }
    assert_memory_not_equal(fixture->image.data, fixture->image.data + SIZE, SIZE);
    assert_true(digest_xxh3(fixture->image.data, SIZE) == digest_xxh3(fixture->image.data + SIZE, SIZE));
    pack_bench_check(fixture);
    assert_int_equal(chunk_index_first_alike(fixture->published.index, 1), 0);
}

static void test_several_bases_and_their_probes(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {8};

    fixture->image = make_image(&dice, 500000);
    for (uint32_t i = 0; i < MANIFEST_BASES_MAX; i++) {
        fixture->bases[i] = copy_of(i == 0 ? fixture->image : fixture->bases[i - 1]);
        fixture->base_count++;
        dice_fill(&dice, fixture->bases[i].data + 20000 * i, 9000);
    }
    pack_bench_check(fixture);
    /* No base is taken for another: of each one's probes, more are right in it than in any other. */
    for (uint32_t i = 0; i < fixture->base_count; i++) {
        const struct manifest_base *manifest = &fixture->published.manifest->pack.bases[i];
        for (uint32_t other = 0; other < fixture->base_count; other++) {
            uint32_t right = 0;
            for (uint32_t j = 0; j < manifest->probe_count; j++)
                right += digest_xxh3(fixture->bases[other].data + manifest->probes[j].offset,
                                     MANIFEST_PROBE_SIZE) == manifest->probes[j].xxh3;
            assert_int_equal(right == manifest->probe_count, other == i);
        }
    }
}

static void test_as_many_processors_as_there_are_make_the_same_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {9};
    cpu_set_t all, one;

    fixture->with_pack = true;
    fixture->bases[fixture->base_count++] = make_image(&dice, 1500000);
    fixture->image = copy_of(fixture->bases[0]);
    for (int i = 0; i < 40; i++)
        edit(&dice, &fixture->image);
    pack_bench_check(fixture);
    struct bytes pack = copy_of(fixture->published.pack);
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    pack_bench_check(fixture);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    assert_int_equal(pack.size, fixture->published.pack.size);
    assert_memory_equal(pack.data, fixture->published.pack.data, pack.size);
    free(pack.data);
}

/* Nothing is left behind, and nothing is replaced. */
static void assert_refused(struct fixture *fixture, const char *sentence)
{
    static const char *const names[] = {"image.json", "image.chunks", "image.pack", "image.pack.new"};
    struct generate_result result;
    struct error error = {0};
    struct stat status;

    assert_false(pack_bench_generate(fixture, &result, &error));
    if (!strstr(error.message, sentence))
        fail_msg("not \"%s\" but \"%s\"", sentence, error.message);
    for (size_t i = 0; i < 4; i++) {
        CLEANUP_FREE char *path = alloc_printf("%s/%s", fixture->folder, names[i]);
        assert_int_equal(stat(path, &status), -1);
    }
}

static void test_nothing_to_make_a_pack_of(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {10};

    fixture->with_pack = true;
    fixture->image = (struct bytes){alloc_zeroed(1), 0};
    assert_refused(fixture, "is empty");
    free(fixture->image.data);
    fixture->image = make_image(&dice, 5000);
    fixture->bases[fixture->base_count++] = (struct bytes){alloc_zeroed(1), 0};
    assert_refused(fixture, "base0 is empty");
}

/* A manifest beside a base is of that base, or nothing is made. */
static void test_a_base_that_is_not_what_its_manifest_says(void **state)
{
    struct fixture *fixture = *state;
    struct dice dice = {11};

    fixture->image = make_image(&dice, 50000);
    fixture->bases[fixture->base_count++] = make_image(&dice, 60000);
    CLEANUP_FREE char *other = folder_write(fixture->folder, "base0", fixture->image.data, 50000);
    struct generate_settings settings = {.image_path = other, .chunk_size = 4096, .average = AVERAGE};
    struct generate_result result;
    struct error error;
    assert_true(generate_files(&settings, &result, &error));
    assert_refused(fixture, "base0 is not the image that");
    fixture->bases[0].size = 50000;
    memcpy(fixture->bases[0].data, fixture->image.data, 50000);
    fixture->bases[0].data[49999] ^= 1;
    assert_refused(fixture, "base0 is not the image that");
    fixture->bases[0].data[49999] ^= 1;
    pack_bench_check(fixture);
    free(folder_write(fixture->folder, "base0.json", "{}", 2));
    assert_false(pack_bench_generate(fixture, &result, &error));
    assert_non_null(strstr(error.message, "base0.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whatever_was_edited, pack_bench_set_up, pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_only_what_is_new_is_in_the_patches, pack_bench_set_up,
                                        pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_moved_content_is_found_again, pack_bench_set_up,
                                        pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_images_that_are_alike, pack_bench_set_up, pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_zeros_and_repetitions, pack_bench_set_up, pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_chunks_alone, pack_bench_set_up, pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_chunks_that_were_made_to_look_alike, pack_bench_set_up,
                                        pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_several_bases_and_their_probes, pack_bench_set_up,
                                        pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_as_many_processors_as_there_are_make_the_same_bytes,
                                        pack_bench_set_up, pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_to_make_a_pack_of, pack_bench_set_up,
                                        pack_bench_tear_down),
        cmocka_unit_test_setup_teardown(test_a_base_that_is_not_what_its_manifest_says, pack_bench_set_up,
                                        pack_bench_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
