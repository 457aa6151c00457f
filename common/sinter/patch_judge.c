/* SPDX-License-Identifier: MIT */
#include "common/sinter/patch_judge.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/sinter/assemble.h"

enum {
    /* Read in one slice: as much as a scan reads, see common/sinter/scan.c. */
    JUDGE_SLICE_SIZE = 8 * 1024 * 1024,
};

struct patch_judge {
    struct patch_judge_input input;
    uint8_t *from;
    uint8_t *spans; /* the joined spans of the patch being looked at; NULL before the first */
    uint32_t next;  /* the first patch that was not looked at */
};

struct patch_judge *patch_judge_new(const struct patch_judge_input *input, uint8_t *from)
{
    struct patch_judge *judge = alloc_zeroed(sizeof(*judge));

    judge->input = *input;
    judge->from = from;
    return judge;
}

struct patch_judge *patch_judge_free(struct patch_judge *judge)
{
    if (!judge)
        return NULL;
    free(judge->spans);
    free(judge);
    return NULL;
}

uint64_t patch_judge_total(const struct patch_list *patches)
{
    uint64_t total = 0;

    for (uint32_t p = 0; p < patch_list_count(patches); p++)
        total += patch_list_at(patches, p)->spans_size;
    return total;
}

/* Whether the patch makes a chunk that neither stands in place nor can be copied. */
static bool is_needed(const struct patch_judge_input *input, const struct patch *patch)
{
    for (uint32_t chunk = patch->first; chunk < patch->first + patch->count; chunk++) {
        uint32_t first = chunk_index_first_alike(input->index, chunk);
        if (!input->kept[chunk] &&
            (input->never_copy[chunk] || input->places[first].source == PLAN_SOURCE_NONE))
            return true;
    }
    return false;
}

/* Room for the spans of the largest patch. */
static bool make_room(struct patch_judge *judge)
{
    const struct patch_list *patches = judge->input.patches;
    uint32_t room = 1;

    for (uint32_t p = 0; p < patch_list_count(patches); p++)
        if (patch_list_at(patches, p)->spans_size > room)
            room = patch_list_at(patches, p)->spans_size;
    judge->spans = malloc(room);
    return judge->spans;
}

/* The source that the patch can be used with; adds the bytes read to *read. */
static uint8_t find_source(const struct patch_judge *judge, const struct patch *patch, uint64_t *read)
{
    const struct patch_judge_input *input = &judge->input;

    for (uint32_t i = 0; i < input->source_count; i++) {
        *read += patch->spans_size;
        if (assemble_read_spans(input->patches, patch, input->sources[i].device, judge->spans))
            return input->sources[i].number;
    }
    return PLAN_SOURCE_NONE;
}

bool patch_judge_slice(struct patch_judge *judge, uint64_t *ret_bytes)
{
    const struct patch_judge_input *input = &judge->input;
    uint64_t bytes = 0, read = 0;

    if (!judge->spans && !make_room(judge))
        return false;
    for (; !patch_judge_is_over(judge) && read < JUDGE_SLICE_SIZE &&
           !atomic_load_explicit(input->stop, memory_order_relaxed);
         judge->next++) {
        const struct patch *patch = patch_list_at(input->patches, judge->next);
        bool wanted = !input->failed[judge->next] && is_needed(input, patch);
        judge->from[judge->next] = wanted ? find_source(judge, patch, &read) : PLAN_SOURCE_NONE;
        bytes += patch->spans_size;
    }
    *ret_bytes = bytes;
    return true;
}

bool patch_judge_is_over(const struct patch_judge *judge)
{
    return judge->next == patch_list_count(judge->input.patches);
}
