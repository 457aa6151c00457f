/* SPDX-License-Identifier: MIT */
/* Which base lies in which source; the rest of what sources do is tested with the clone. */
#include "common/sinter/sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "tests/unit/publisher.h"

enum { SIZE = 100 * 1000, PROBES = 4 };

struct fixture {
    char *folder, *paths[4];
    struct event_base *base;
    struct pool *pool;
    struct sources *sources;
    uint8_t releases[3][SIZE];
    struct manifest_base bases[2];
    struct manifest_pack pack;
};

static const uint64_t places[PROBES] = {0, 30 * 1000, 70 * 1000, SIZE - 100};

/* The pack has patches against releases 0 and 1; release 2 is like release 0 in half of the places. */
static int set_up(void **state)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));
    struct dice dice = {4};

    fixture->folder = folder_new();
    fixture->base = event_base_new();
    assert_true(pool_new(fixture->base, 1, &fixture->pool, NULL));
    for (unsigned i = 0; i < 3; i++)
        dice_fill(&dice, fixture->releases[i], SIZE);
    memcpy(fixture->releases[2], fixture->releases[0], SIZE / 2);
    for (unsigned b = 0; b < 2; b++) {
        struct manifest_base *base = &fixture->bases[b];
        base->size = SIZE;
        base->probe_count = PROBES;
        for (unsigned i = 0; i < PROBES; i++) {
            size_t left = SIZE - places[i];
            base->probes[i].offset = places[i];
            base->probes[i].xxh3 = digest_xxh3(fixture->releases[b] + places[i],
                                               left < MANIFEST_PROBE_SIZE ? left : MANIFEST_PROBE_SIZE);
        }
    }
    fixture->pack = (struct manifest_pack){.present = true, .bases = fixture->bases, .base_count = 2};
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    sources_free(fixture->sources);
    pool_free(fixture->pool);
    event_base_free(fixture->base);
    folder_free(fixture->folder);
    for (unsigned i = 0; i < 4; i++)
        free(fixture->paths[i]);
    free(fixture);
    return 0;
}

/* The target holds release target, the seeds the others; -1 is a missing file. Returns whether a base was
 * found. */
static bool match(struct fixture *fixture, int target, int first, int second, size_t size, uint32_t *ret_base,
                  uint32_t *ret_number)
{
    static const struct sources_events events = {0};
    const int held[] = {target, first, second};
    const struct sources_open open = {.image_size = SIZE, .create_target = true, .read_only = true};
    struct error error;

    for (unsigned i = 0; i < 3; i++) {
        CLEANUP_FREE char *name = alloc_printf("source-%u", i);
        fixture->paths[i] = held[i] < 0
                                ? alloc_printf("%s/%s", fixture->folder, name)
                                : folder_write(fixture->folder, name, fixture->releases[held[i]], size);
    }
    const char *const seeds[] = {fixture->paths[1], fixture->paths[2], NULL};
    fixture->sources = sources_new(fixture->base, fixture->pool, fixture->paths[0], seeds, &events, fixture);
    assert_true(sources_open(fixture->sources, &open, &error));
    return sources_match_base(fixture->sources, &fixture->pack, ret_base, ret_number);
}

static void test_the_one_that_is_there(void **state)
{
    uint32_t base = 9, number = 9;

    assert_true(match(*state, -1, 2, 1, SIZE, &base, &number));
    assert_int_equal(base, 1);
    assert_int_equal(number, 2);
}

static void test_the_better_of_two(void **state)
{
    uint32_t base = 9, number = 9;

    assert_true(match(*state, 2, -1, 0, SIZE, &base, &number));
    assert_int_equal(base, 0);
    assert_int_equal(number, 2);
}

static void test_part_is_better_than_none(void **state)
{
    uint32_t base = 9, number = 9;

    assert_true(match(*state, 2, -1, -1, SIZE, &base, &number));
    assert_int_equal(base, 0);
    assert_int_equal(number, 0);
}

static void test_a_seed_is_better_than_the_target(void **state)
{
    uint32_t base = 9, number = 9;

    assert_true(match(*state, 1, -1, 0, SIZE, &base, &number));
    assert_int_equal(base, 0);
    assert_int_equal(number, 2);
}

/* A source that ends before a probe does has not that one; a share of fewer probes counts as much. */
static void test_shorter_sources_and_shares(void **state)
{
    struct fixture *fixture = *state;
    uint32_t base = 9, number = 9;

    fixture->bases[1] = fixture->bases[0];
    fixture->bases[1].probe_count = 1;
    assert_true(match(*state, -1, 0, -1, SIZE / 2, &base, &number));
    assert_int_equal(base, 1);
    assert_int_equal(number, 1);
}

static void test_none(void **state)
{
    struct fixture *fixture = *state;
    uint32_t base = 9, number = 9;

    fixture->pack.bases = &fixture->bases[1];
    fixture->pack.base_count = 1;
    assert_false(match(*state, 0, 2, -1, SIZE, &base, &number));
    assert_int_equal(base, 9);
    assert_int_equal(number, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_one_that_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_better_of_two, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_part_is_better_than_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_seed_is_better_than_the_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shorter_sources_and_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_none, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
