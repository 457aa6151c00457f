/* SPDX-License-Identifier: MIT */
/* Random plans, carried out in any order, and interrupted. */
#include "common/sinter/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/plan_checks.h"
#include "tests/unit/plan_world.h"

static struct world shared; /* too large for the stack, and made anew by every test */

static void test_random_plans_carried_out_in_any_order(void **state)
{
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        uint64_t lost;
        world_init(&shared, seed);
        check_totals(&shared);
        uint64_t planned = plan_totals(shared.plan)->bytes_fetched;
        assert_true(world_execute(&shared, UINT32_MAX, &lost));
        check_result(&shared);
        assert_int_equal(shared.fetched, planned);
        world_finish(&shared);
    }
}

static void test_random_plans_with_a_pack_carried_out_in_any_order(void **state)
{
    uint64_t lost, patched = 0, broken = 0, batched = 0;

    for (uint64_t seed = 20001; seed <= 22500; seed++) {
        world_init(&shared, seed);
        uint64_t without = plan_download_bytes(plan_totals(shared.plan));
        uint64_t broken_without = plan_totals(shared.plan)->cycles_broken;
        plan_free(shared.plan);
        shared.patch_source = dice_below(&shared.dice, shared.seed_count + 1);
        world_make_patches(&shared);
        if (seed & 1)
            world_make_frames(&shared);
        world_plan(&shared);
        const struct plan_totals totals = *plan_totals(shared.plan);
        check_totals(&shared);
        /* Patches are taken for what they save only. */
        if (totals.cycles_broken + broken_without == 0)
            assert_true(plan_download_bytes(&totals) - totals.gap_bytes <= without);
        patched += totals.chunks_patched;
        broken += totals.cycles_broken;
        batched += totals.gap_bytes;
        assert_true(world_execute(&shared, UINT32_MAX, &lost));
        check_result(&shared);
        world_finish(&shared);
    }
    assert_true(patched > 1000 && broken > 100 && batched > 1000); /* else this has tested nothing */
}

/* Killed at any moment, scanned and planned again: the end is right, and nothing is fetched twice but what
 * was under way (and what breaking other circles than before costs). */
static void test_random_plans_interrupted_and_resumed(void **state)
{
    for (uint64_t seed = 10001; seed <= 10700; seed++) {
        world_init(&shared, seed);
        uint64_t allowed = plan_totals(shared.plan)->bytes_fetched, lost;
        for (uint32_t kills = 0; !world_execute(&shared, dice_below(&shared.dice, 60), &lost); kills++) {
            assert_true(kills < 200);
            plan_free(shared.plan);
            world_scan(&shared, true);
            world_plan(&shared);
            check_totals(&shared);
            const struct plan_totals *totals = plan_totals(shared.plan);
            if (totals->cycles_broken == 0)
                assert_true(shared.fetched + totals->bytes_fetched <= allowed + lost);
            allowed = shared.fetched + totals->bytes_fetched;
        }
        check_result(&shared);
        world_finish(&shared);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_plans_carried_out_in_any_order),
        cmocka_unit_test(test_random_plans_with_a_pack_carried_out_in_any_order),
        cmocka_unit_test(test_random_plans_interrupted_and_resumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
