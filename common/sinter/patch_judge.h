/* SPDX-License-Identifier: MIT */
/*
 * Which patches can be used: those that make a chunk that is missing, and whose bytes of the base a source
 * really holds. Looked at before anything of a patch is fetched, so that the plan is exact. Works in slices,
 * so that on a slow medium it shows progress and can be stopped.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/image/patch_list.h"
#include "common/io/device.h"
#include "common/sinter/chunk_index.h"
#include "common/sinter/plan.h"

struct patch_judge_source {
    uint8_t number; /* the plan's */
    const struct device *device;
};

/* All of it must outlive the judge and stay as it is meanwhile. */
struct patch_judge_input {
    const struct chunk_index *index;
    const struct patch_list *patches;
    /* Where the base may be, the likeliest first: the next is tried where one does not hold what a patch
     * needs, or cannot be read there. */
    const struct patch_judge_source *sources;
    uint32_t source_count;
    const bool *kept;                /* see plan.h */
    const struct plan_place *places; /* likewise */
    const bool *never_copy;          /* likewise */
    const bool *failed;              /* of each patch: it was tried and is out of the question */
    const atomic_bool *stop;         /* ends a slice early; the result is of no use then */
};

struct patch_judge;

/* `from` has an entry for each patch, which is filled slice by slice: the source whose bytes it can be used
 * with, or PLAN_SOURCE_NONE. Never blocks. */
struct patch_judge *patch_judge_new(const struct patch_judge_input *input, uint8_t *from);

/* Frees; NULL is fine. Returns NULL. */
struct patch_judge *patch_judge_free(struct patch_judge *judge);

/* Bytes that all slices together are done with. */
uint64_t patch_judge_total(const struct patch_list *patches);

/* Looks at some more patches. `ret_bytes` says how many bytes of their spans that settles, read or found not
 * to be needed. False where there is no memory. Blocks on the medium: on a pool thread. */
bool patch_judge_slice(struct patch_judge *judge, uint64_t *ret_bytes);

/* Whether all were looked at. */
bool patch_judge_is_over(const struct patch_judge *judge);
