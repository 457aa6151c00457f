/* SPDX-License-Identifier: MIT */
/*
 * In which order the runs of a plan may be carried out: a run that reads old content of the target comes
 * before the runs that overwrite it, and a run that copies what was written comes after the runs that write
 * it. Only for common/sinter/plan.c. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/sinter/plan.h"

/* Edges, grouped by the run that comes first: edges[starts[r]] to edges[starts[r + 1] - 1] wait for r. */
struct plan_order {
    uint32_t *edges;
    uint32_t *starts; /* one more than runs */
};

/* Finds the edges. False if patches that read the target make too many: then plan without them. */
bool plan_order_init(struct plan_order *order, const struct plan_input *input, const struct plan_run *runs,
                     uint32_t run_count);

void plan_order_finish(struct plan_order *order);

/* Finds circles, in which each run would overwrite what the next one reads, and marks one run of each in
 * `ret_broken` (an entry for each run, all false before). Without the marked runs there is no circle. Returns
 * how many it marked. */
uint32_t plan_order_break_cycles(const struct plan_order *order, const struct plan_run *runs,
                                 uint32_t run_count, bool *ret_broken);
