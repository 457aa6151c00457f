/*
 * Which patches can be used: those that make a chunk that is missing, and whose bytes of the base the source
 * really holds. Looked at before anything of a patch is fetched, so that the plan is exact. Blocks on the
 * medium: on a pool thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/image/patch_list.h"
#include "common/io/device.h"
#include "common/sinter/chunk_index.h"
#include "common/sinter/plan.h"

struct patch_judge_input {
    const struct chunk_table *table;
    const struct chunk_index *index;
    const struct patch_list *patches;
    const struct device *source;
    const bool *kept;                /* see plan.h */
    const struct plan_place *places; /* likewise */
    const bool *never_copy;          /* likewise */
    const bool *failed;              /* of each patch: it was tried and is out of the question */
    const atomic_bool *stop;         /* ends it early; the result is of no use then */
};

/* ret_usable has an entry for each patch. False where there is no memory. */
bool patch_judge(const struct patch_judge_input *input, bool *ret_usable);
