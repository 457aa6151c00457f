/* SPDX-License-Identifier: MIT */
/*
 * Checks what must be true of every plan, and carries plans out in any order, for the tests of plans.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/plan_world.h"

/* Fails unless the world's plan is right in every run and batch, and its totals are theirs. */
void check_totals(const struct world *world);

/* Carries out at most `steps` steps of the plan, in a random one of the orders that a transfer could take.
 * Returns whether all is done. If not, what was under way is left half written, and *ret_lost gets how many
 * bytes were fetched for it. */
bool world_execute(struct world *world, uint32_t steps, uint64_t *ret_lost);

/* Fails unless the target holds the image. */
void check_result(const struct world *world);
