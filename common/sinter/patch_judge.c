#include "common/sinter/patch_judge.h"

#include <stdlib.h>

#include "common/sinter/assemble.h"

/* Whether the patch makes a chunk that is nowhere at hand. */
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

bool patch_judge(const struct patch_judge_input *input, bool *ret_usable)
{
    uint32_t count = patch_list_count(input->patches), spans_size = 0;

    for (uint32_t p = 0; p < count; p++) {
        const struct patch *patch = patch_list_at(input->patches, p);
        ret_usable[p] = !input->failed[p] && is_needed(input, patch);
        if (ret_usable[p] && patch->spans_size > spans_size)
            spans_size = patch->spans_size;
    }
    if (spans_size == 0)
        return true;
    uint8_t *spans = malloc(spans_size);
    if (!spans)
        return false;
    for (uint32_t p = 0; p < count && !atomic_load_explicit(input->stop, memory_order_relaxed); p++)
        ret_usable[p] = ret_usable[p] && assemble_read_spans(input->patches, patch_list_at(input->patches, p),
                                                             input->source, spans);
    free(spans);
    return true;
}
