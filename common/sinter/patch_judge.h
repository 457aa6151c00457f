/*
 * Which patches can be used: those that make a chunk that is missing, and whose bytes of the base the source
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

/* All of it must outlive the judge and stay as it is meanwhile. */
struct patch_judge_input {
    const struct chunk_index *index;
    const struct patch_list *patches;
    const struct device *source;
    const bool *kept;                /* see plan.h */
    const struct plan_place *places; /* likewise */
    const bool *never_copy;          /* likewise */
    const bool *failed;              /* of each patch: it was tried and is out of the question */
    const atomic_bool *stop;         /* ends a slice early; the result is of no use then */
};

struct patch_judge;

/* `usable` has an entry for each patch, which is filled slice by slice. Never blocks. */
struct patch_judge *patch_judge_new(const struct patch_judge_input *input, bool *usable);

/* Frees; NULL is fine. Returns NULL. */
struct patch_judge *patch_judge_free(struct patch_judge *judge);

/* Bytes that all slices together are done with. */
uint64_t patch_judge_total(const struct patch_list *patches);

/* Looks at some more patches. `ret_bytes` says how many bytes of their spans that settles, read or found not
 * to be needed. False where there is no memory. Blocks on the medium: on a pool thread. */
bool patch_judge_slice(struct patch_judge *judge, uint64_t *ret_bytes);

/* Whether all were looked at. */
bool patch_judge_is_over(const struct patch_judge *judge);
