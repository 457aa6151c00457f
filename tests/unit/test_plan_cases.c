/* SPDX-License-Identifier: MIT */
/* Plans for worlds that were thought out: circles of moves, batches, what occurs more than once. */
#include "common/sinter/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/byte_writer.h"
#include "tests/unit/plan_checks.h"
#include "tests/unit/plan_world.h"

static struct world shared; /* too large for the stack, and made anew by every test */

/* The target's old content as numbers of chunks of the image; -1 is noise. */
static void world_set_target(struct world *world, const int *chunks, uint32_t count)
{
    uint8_t noise[256];

    world->target.size = 0;
    for (uint32_t i = 0; i < count; i++) {
        dice_fill(&world->dice, noise, sizeof(noise));
        bytes_append(&world->target, chunks[i] < 0 ? noise : world->image.data + chunks[i] * 256, 256);
    }
    world_scan(world, true);
    world_plan(world);
    check_totals(world);
}

static void check_fetches(struct world *world, uint64_t chunks_fetched, uint64_t cycles_broken)
{
    uint64_t lost;

    assert_int_equal(plan_totals(world->plan)->chunks_fetched, chunks_fetched);
    assert_int_equal(plan_totals(world->plan)->cycles_broken, cycles_broken);
    assert_true(world_execute(world, UINT32_MAX, &lost));
    check_result(world);
    world_finish(world);
}

/* An image of so many chunks, and what the target held of them before. */
static const struct move_case {
    const char *test;
    uint32_t chunks;
    uint32_t run_size_max; /* 0 = what the world has */
    uint32_t count;        /* of old */
    int old[10];           /* numbers of chunks of the image; -1 is noise */
    uint64_t fetched, cycles_broken;
    int runs; /* -1 = any */
} move_cases[] = {
    {"test_an_empty_image", 0, 0, 0, {0}, 0, 0, 0},
    /* four chunks a run */
    {"test_nothing_there_and_all_there", 10, 1024, 0, {0}, 10, 0, 3},
    {"test_nothing_there_and_all_there", 4, 0, 5, {0, 1, 2, 3, -1}, 0, 0, 0},
    {"test_an_insertion_moves_everything_without_a_fetch_but_its_own",
     8,
     0,
     7,
     {1, 2, 3, 4, 5, 6, 7},
     1,
     0,
     -1},
    /* runs overwrite part of their own source */
    {"test_an_insertion_moves_everything_without_a_fetch_but_its_own",
     8,
     1024,
     7,
     {1, 2, 3, 4, 5, 6, 7},
     1,
     0,
     -1},
    {"test_an_insertion_moves_everything_without_a_fetch_but_its_own",
     8,
     0,
     10,
     {-1, -1, 0, 1, 2, 3, 4, 5, 6, 7},
     0,
     0,
     -1},
    {"test_two_that_change_places_cost_one_fetch", 4, 0, 4, {0, 2, 1, 3}, 1, 1, -1},
    {"test_a_rotation_costs_one_fetch", 6, 0, 6, {1, 2, 3, 4, 5, 0}, 1, 1, -1},
    {"test_two_circles_cost_two_fetches", 7, 0, 7, {1, 0, 2, 4, 5, 3, 6}, 2, 2, -1},
};

/* All cases of the test that *state names. */
static void check_move_cases(void **state)
{
    const char *test = *state;
    unsigned found = 0;

    for (size_t i = 0; i < sizeof(move_cases) / sizeof(move_cases[0]); i++) {
        const struct move_case *move = &move_cases[i];
        uint32_t runs;
        if (strcmp(move->test, test) != 0)
            continue;
        world_init_plain(&shared, move->chunks);
        if (move->run_size_max)
            shared.run_size_max = move->run_size_max;
        world_set_target(&shared, move->old, move->count);
        plan_runs(shared.plan, &runs);
        if (move->runs >= 0)
            assert_int_equal(runs, move->runs);
        check_fetches(&shared, move->fetched, move->cycles_broken);
        found++;
    }
    assert_true(found > 0);
}

static void test_no_plan_is_freed(void **state)
{
    assert_null(plan_free(NULL));
}

/* An image of random bytes in chunks of these sizes; the target is the caller's to fill. */
static void init_cut(uint64_t seed, const uint32_t *sizes, uint32_t count)
{
    memset(&shared, 0, sizeof(shared));
    shared.dice.state = seed;
    for (uint32_t i = 0; i < count; i++)
        shared.image.size += sizes[i];
    dice_fill(&shared.dice, shared.image.data, shared.image.size);
    shared.table = publish_table_cut(shared.image.data, sizes, count, 1024);
    shared.index = chunk_index_new(shared.table);
    shared.run_size_max = 512;
}

/* Chunk 0 waits for a circle but is not part of it: fetching it would not help anybody. The target's old
 * content lies so that one run of the circle reads chunk 0's place, too. */
static void test_what_merely_waits_for_a_circle_is_not_fetched(void **state)
{
    static const uint32_t sizes[] = {256, 512, 512};
    uint64_t lost;

    init_cut(3, sizes, 3);
    /* Old: [0, 512) holds chunk 2, [512, 1024) holds chunk 1, [1280, 1536) holds chunk 0. Chunk 2's source
     * overlaps the places of chunks 0 and 1, chunk 1's own source overlaps the places of chunks 1 and 2. */
    memcpy(shared.target.data, shared.image.data + 768, 512);
    memcpy(shared.target.data + 512, shared.image.data + 256, 512);
    memcpy(shared.target.data + 1280, shared.image.data, 256);
    shared.target.size = 1536;
    world_scan(&shared, true);
    world_plan(&shared);
    check_totals(&shared);
    assert_int_equal(plan_totals(shared.plan)->cycles_broken, 1);
    assert_int_equal(plan_totals(shared.plan)->bytes_fetched, 512);
    assert_true(world_execute(&shared, UINT32_MAX, &lost));
    check_result(&shared);
    world_finish(&shared);
}

/* Of a circle, what costs least is fetched. */
static void test_the_smallest_run_of_a_circle_is_fetched(void **state)
{
    static const uint32_t sizes[] = {512, 256};
    uint64_t lost;

    init_cut(4, sizes, 2);
    memcpy(shared.target.data, shared.image.data + 512, 256);
    memcpy(shared.target.data + 256, shared.image.data, 512);
    shared.target.size = 768;
    world_scan(&shared, true);
    world_plan(&shared);
    check_totals(&shared);
    assert_int_equal(plan_totals(shared.plan)->bytes_fetched, 256);
    assert_true(world_execute(&shared, UINT32_MAX, &lost));
    check_result(&shared);
    world_finish(&shared);
}

static void add_patch(struct byte_writer *list, uint32_t gap, uint32_t chunks, uint32_t frame_size,
                      uint64_t span_offset, uint32_t span_size)
{
    byte_writer_varint(list, gap);
    byte_writer_varint(list, chunks);
    byte_writer_varint(list, frame_size);
    byte_writer_varint(list, 1);
    byte_writer_varint(list, span_offset);
    byte_writer_varint(list, span_size);
    byte_writer_fixed64(list, 1);
}

/* A pack in which every circle that is broken makes a patch worth its bytes, which closes another circle. */
static void test_circles_that_patches_close_again_and_again(void **state)
{
    enum { COUNT = CHUNKS_MAX, PATCHES = COUNT / 2 };
    int target[COUNT];
    struct byte_writer list = {0};
    struct manifest_base base = {
        .size = COUNT * 256, .patches_offset = 8, .span_max = 256, .output_max = 512};

    /* Each second chunk is in place, the others go around. */
    world_init_plain(&shared, COUNT);
    byte_writer_varint(&list, PATCHES);
    for (uint32_t i = 0; i < COUNT; i += 2) {
        target[i] = (int)((i + 2) % COUNT);
        target[i + 1] = (int)i + 1;
        add_patch(&list, 0, 2, 1, (i + 2) % COUNT * 256, 256);
        shared.patch_sources[i / 2] = PLAN_SOURCE_TARGET;
    }
    assert_true(patch_list_parse(list.data, list.size, shared.table, &base, 1 << 20, &shared.patches, NULL));
    byte_writer_finish(&list);
    world_set_target(&shared, target, COUNT);
    assert_true(plan_totals(shared.plan)->cycles_broken > 2);
    assert_true(plan_totals(shared.plan)->cycles_broken <= 10);
    check_fetches(&shared, plan_totals(shared.plan)->chunks_fetched, plan_totals(shared.plan)->cycles_broken);
}

/* Each patch reads what thousands of copies overwrite, so that the order would take more memory than there
 * is. */
static void test_patches_that_everything_waits_for(void **state)
{
    enum { COUNT = 4096, HALF = COUNT / 2, PATCHES = 600, SIZE = 256 };
    uint8_t *image = alloc_zeroed((size_t)COUNT * SIZE);
    uint32_t *sizes = alloc_array(COUNT, sizeof(*sizes));
    uint8_t *patch_sources = alloc_array(COUNT, sizeof(uint8_t));
    bool *kept = alloc_array(COUNT, sizeof(bool));
    struct plan_place *places = alloc_array(COUNT, sizeof(*places));
    struct byte_writer list = {0};
    struct manifest_base base = {
        .size = 2 * COUNT * SIZE, .patches_offset = 8, .span_max = COUNT * SIZE, .output_max = SIZE};
    struct patch_list *patches;

    byte_writer_varint(&list, PATCHES);
    for (uint32_t i = 0; i < COUNT; i++) {
        memcpy(image + (size_t)i * SIZE, &i, sizeof(i));
        sizes[i] = SIZE;
        patch_sources[i] = PLAN_SOURCE_TARGET;
        if (i < PATCHES)
            add_patch(&list, 0, 1, 1, HALF * SIZE, HALF * SIZE);
        places[i].source = i < HALF ? PLAN_SOURCE_NONE : PLAN_SOURCE_TARGET;
        places[i].offset = (uint64_t)(2 * COUNT - 1 - i) * SIZE; /* beyond the image, and none side by side */
    }
    struct chunk_table *table = publish_table_cut(image, sizes, COUNT, 1024);
    struct chunk_index *index = chunk_index_new(table);
    assert_true(patch_list_parse(list.data, list.size, table, &base, 1 << 20, &patches, NULL));
    struct plan_input input = {.table = table,
                               .index = index,
                               .kept = kept,
                               .places = places,
                               .run_size_max = SIZE,
                               .patches = patches,
                               .patch_sources = patch_sources};
    struct plan *plan = plan_new(&input);
    assert_int_equal(plan_totals(plan)->chunks_patched, 0);
    assert_int_equal(plan_totals(plan)->chunks_fetched, HALF);
    assert_int_equal(plan_totals(plan)->chunks_copied, COUNT - HALF);
    plan_free(plan);
    memset(patch_sources, PLAN_SOURCE_SEED_FIRST, COUNT);
    plan = plan_new(&input);
    assert_int_equal(plan_totals(plan)->chunks_patched, PATCHES);
    plan_free(plan);
    patch_list_free(patches);
    chunk_index_free(index);
    chunk_table_free(table);
    byte_writer_finish(&list);
    free(image);
    free(sizes);
    free(patch_sources);
    free(kept);
    free(places);
}

/* Small patches may make much, and a batch is only so long under way. */
static void test_a_batch_makes_only_so_much(void **state)
{
    enum { COUNT = 80, SIZE = 1024 * 1024, AVERAGE = 256 * 1024 };
    uint8_t *image = alloc_zeroed((size_t)COUNT * SIZE);
    uint32_t sizes[COUNT], batch_count;
    uint8_t patch_sources[COUNT];
    bool kept[COUNT] = {0};
    struct plan_place places[COUNT];
    struct byte_writer list = {0};
    struct manifest_base base = {.size = SIZE, .patches_offset = 8, .span_max = 256, .output_max = 4 * SIZE};
    struct patch_list *patches;

    byte_writer_varint(&list, COUNT / 4);
    for (uint32_t i = 0; i < COUNT; i++) {
        image[(size_t)i * SIZE] = (uint8_t)(i + 1);
        sizes[i] = SIZE;
        patch_sources[i] = PLAN_SOURCE_SEED_FIRST;
        places[i] = (struct plan_place){.source = PLAN_SOURCE_NONE};
        if (i % 4 == 0)
            add_patch(&list, 0, 4, 100, 0, 1);
    }
    struct chunk_table *table = publish_table_cut(image, sizes, COUNT, AVERAGE);
    struct chunk_index *index = chunk_index_new(table);
    assert_true(patch_list_parse(list.data, list.size, table, &base, 1 << 20, &patches, NULL));
    const struct plan_input input = {.table = table,
                                     .index = index,
                                     .kept = kept,
                                     .places = places,
                                     .run_size_max = SIZE,
                                     .patches = patches,
                                     .patch_sources = patch_sources};
    struct plan *plan = plan_new(&input);
    assert_int_equal(plan_totals(plan)->bytes_patched, (uint64_t)COUNT * SIZE);
    const struct plan_batch *batches = plan_batches(plan, &batch_count);
    assert_int_equal(batch_count, 5); /* of 16 MiB each */
    for (uint32_t b = 0; b < batch_count; b++)
        assert_int_equal(batches[b].run_count, 4);
    plan_free(plan);
    patch_list_free(patches);
    chunk_index_free(index);
    chunk_table_free(table);
    byte_writer_finish(&list);
    free(image);
}

static void test_a_chunk_that_occurs_often_is_fetched_once(void **state)
{
    uint32_t sizes[6];

    memset(&shared, 0, sizeof(shared));
    for (uint32_t i = 0; i < 6; i++)
        sizes[i] = 256;
    shared.image.size = sizeof(sizes) / sizeof(sizes[0]) * 256; /* all zero */
    shared.table = publish_table_cut(shared.image.data, sizes, 6, 1024);
    shared.index = chunk_index_new(shared.table);
    shared.run_size_max = 256;
    world_set_target(&shared, NULL, 0);
    check_fetches(&shared, 1, 0);
}

static void test_the_overhead_is_told(void **state)
{
    world_init_plain(&shared, 1);
    world_set_target(&shared, NULL, 0);
    plan_set_overhead(shared.plan, &(struct plan_overhead){44, 70, 200, 3});
    assert_int_equal(plan_totals(shared.plan)->table_bytes, 44);
    assert_int_equal(plan_totals(shared.plan)->section_bytes, 70);
    assert_int_equal(plan_totals(shared.plan)->manifest_bytes, 200);
    assert_int_equal(plan_totals(shared.plan)->requests_before, 3);
    assert_int_equal(plan_download_bytes(plan_totals(shared.plan)), 44 + 70 + 256);
    assert_int_equal(plan_totals(shared.plan)->bytes_fetched, 256);
    world_finish(&shared);
}

/* As many moves as fit, all in one circle or in one chain, are planned in time that grows with their number.
 */
static void test_long_circles_and_chains(void **state)
{
    enum { COUNT = 30000 };
    CLEANUP_FREE uint32_t *sizes = alloc_array(COUNT, sizeof(uint32_t));
    CLEANUP_FREE uint8_t *image = alloc_array(COUNT, 256);
    CLEANUP_FREE bool *kept = alloc_array(COUNT, sizeof(bool));
    CLEANUP_FREE struct plan_place *places = alloc_array(COUNT, sizeof(struct plan_place));
    struct dice dice = {5};

    for (uint32_t i = 0; i < COUNT; i++)
        sizes[i] = 256;
    dice_fill(&dice, image, COUNT * 256);
    struct chunk_table *table = publish_table_cut(image, sizes, COUNT, 1024);
    struct chunk_index *index = chunk_index_new(table);
    for (uint32_t shift = 0; shift < 3; shift++) {
        /* back to front, front to back, and two half-circles that meet */
        for (uint32_t i = 0; i < COUNT; i++)
            places[i] = (struct plan_place){.source = PLAN_SOURCE_TARGET,
                                            .offset = (shift == 0   ? (i + 1) % COUNT
                                                       : shift == 1 ? (i + COUNT - 1) % COUNT
                                                                    : COUNT - 1 - i) *
                                                      256};
        struct plan *plan = plan_new(&(struct plan_input){
            .table = table, .index = index, .kept = kept, .places = places, .run_size_max = 256});
        assert_int_equal(plan_totals(plan)->cycles_broken, shift < 2 ? 1 : COUNT / 2);
        plan_free(plan);
    }
    chunk_index_free(index);
    chunk_table_free(table);
}

int main(void)
{
#define MOVES(name)                                                                                          \
    {                                                                                                        \
        name, check_move_cases, NULL, NULL, (void *)(uintptr_t)name                                          \
    }
    const struct CMUnitTest tests[] = {
        MOVES("test_an_empty_image"),
        cmocka_unit_test(test_no_plan_is_freed),
        MOVES("test_nothing_there_and_all_there"),
        MOVES("test_an_insertion_moves_everything_without_a_fetch_but_its_own"),
        MOVES("test_two_that_change_places_cost_one_fetch"),
        MOVES("test_a_rotation_costs_one_fetch"),
        MOVES("test_two_circles_cost_two_fetches"),
        cmocka_unit_test(test_what_merely_waits_for_a_circle_is_not_fetched),
        cmocka_unit_test(test_the_smallest_run_of_a_circle_is_fetched),
        cmocka_unit_test(test_circles_that_patches_close_again_and_again),
        cmocka_unit_test(test_patches_that_everything_waits_for),
        cmocka_unit_test(test_a_batch_makes_only_so_much),
        cmocka_unit_test(test_a_chunk_that_occurs_often_is_fetched_once),
        cmocka_unit_test(test_the_overhead_is_told),
        cmocka_unit_test(test_long_circles_and_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
