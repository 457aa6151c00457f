/* SPDX-License-Identifier: MIT */
/*
 * Which runs of a plan are fetched by one request: those that lie side by side in the pack, within bounds.
 * Only for common/sinter/plan.c. Pure.
 */
#pragma once

#include <stdint.h>

#include "common/sinter/plan.h"

struct plan_batches {
    struct plan_batch *items;
    uint32_t count;
    uint32_t *runs;     /* their numbers, grouped by batch */
    uint64_t gap_bytes; /* what lies between the runs of a batch and is fetched with them */
};

/* Puts the runs that are fetched into batches, and sets plan_run::batch. */
void plan_batches_init(struct plan_batches *batches, const struct plan_input *input, struct plan_run *runs,
                       uint32_t run_count);

void plan_batches_finish(struct plan_batches *batches);
