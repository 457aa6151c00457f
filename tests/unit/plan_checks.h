/* SPDX-License-Identifier: MIT */
/*
 * What must hold of every plan, and what comes of carrying one out in any order, for the tests of plans.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/plan_world.h"

/* The world's plan, as it was made. */
void check_totals(const struct world *world);

/* Carries the plan out, at most `steps` steps of it, in an order that dice choose among those that a transfer
 * could take. What was under way at the end is torn: `ret_lost` says how many bytes were fetched for it.
 * Whether all is done. */
bool world_execute(struct world *world, uint32_t steps, uint64_t *ret_lost);

/* The target holds the image. */
void check_result(const struct world *world);
