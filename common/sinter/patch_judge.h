/* SPDX-License-Identifier: MIT */
/*
 * Finds out which patches can be used: those that make a missing chunk, and whose bytes of the base are
 * really in a source. This is done before anything of a patch is fetched, so that the plan is exact. Works in
 * slices, so that on a slow medium it shows progress and can be stopped.
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

/* Everything it points to must outlive the judge, unchanged. */
struct patch_judge_input {
    const struct chunk_index *index;
    const struct patch_list *patches;
    /* Sources that may hold the base, the likeliest first. If one lacks what a patch needs, or cannot be read
     * there, the next is tried. */
    const struct patch_judge_source *sources;
    uint32_t source_count;
    const bool *kept;                /* see plan.h */
    const struct plan_place *places; /* see plan.h */
    const bool *never_copy;          /* see plan.h */
    const bool *failed;              /* of each patch: it was tried and failed */
    const atomic_bool *stop;         /* ends a slice early; the result is then of no use */
};

struct patch_judge;

/* `from` has an entry for each patch, filled slice by slice: the source that the patch can be used with, or
 * PLAN_SOURCE_NONE. Never blocks. */
struct patch_judge *patch_judge_new(const struct patch_judge_input *input, uint8_t *from);

/* Frees; NULL is fine. Returns NULL. */
struct patch_judge *patch_judge_free(struct patch_judge *judge);

/* The sum of ret_bytes over all slices. */
uint64_t patch_judge_total(const struct patch_list *patches);

/* Looks at some more patches. *ret_bytes is the size of their spans, whether read or found not to be needed.
 * False if there is no memory. Blocks on the medium: pool threads only. */
bool patch_judge_slice(struct patch_judge *judge, uint64_t *ret_bytes);

/* Whether all patches were looked at. */
bool patch_judge_is_over(const struct patch_judge *judge);
