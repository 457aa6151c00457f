/* SPDX-License-Identifier: MIT */
/*
 * What of a plan is fetched by one request: runs that lie side by side in the pack, within bounds. A part of
 * common/sinter/plan.c, and of no use to others. Pure.
 */
#pragma once

#include <stdint.h>

#include "common/sinter/plan.h"

struct plan_batches {
    struct plan_batch *items;
    uint32_t count;
    uint32_t *runs;     /* their numbers, grouped by batch */
    uint64_t gap_bytes; /* between the runs of a batch, and fetched with them */
};

/* Puts the runs that are fetched into batches, and notes in each run which one is its. */
void plan_batches_init(struct plan_batches *batches, const struct plan_input *input, struct plan_run *runs,
                       uint32_t run_count);

void plan_batches_finish(struct plan_batches *batches);
