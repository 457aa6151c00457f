/* SPDX-License-Identifier: MIT */
#include "common/sinter/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/sinter/plan_batches.h"
#include "common/sinter/plan_order.h"

struct plan {
    struct plan_totals totals;
    struct plan_run *runs;
    uint32_t run_count;
    size_t run_room;
    struct plan_order order;
    struct plan_batches batches;
};

enum {
    /* When a copy is taken back to break a circle, a patch may become worth its bytes and close the next
     * circle. A pack can be made so that this goes on for as many tries as there are patches. So from this
     * try on no patch reads the target. */
    DRAFT_TRIES_WITH_TARGET_PATCHES = 8,
};

/* The state while a plan is being made. */
struct draft {
    const struct plan_input *input;
    /* What the next try must do without, because it was part of a circle: copies by chunk, patches by
     * number. */
    bool *never_copy, *never_patch;
    uint32_t *
        makers; /* of each class, by its first chunk: a chunk that is kept or made, to copy the others from */
    uint32_t *counted; /* of each class: 1 + the last patch whose saving includes it */
    bool *patched;     /* of each patch: it is used */
};

static uint32_t patch_count(const struct plan_input *input)
{
    return input->patches ? patch_list_count(input->patches) : 0;
}

/* Whether chunk `chunk`, of class `first`, is to be fetched if no patch makes it. */
static bool draft_lacks(const struct draft *draft, uint32_t chunk, uint32_t first)
{
    return draft->never_copy[chunk] || (draft->input->places[first].source == PLAN_SOURCE_NONE &&
                                        draft->makers[first] == CHUNK_INDEX_NONE);
}

static uint32_t draft_cost(const struct draft *draft, uint32_t chunk)
{
    return draft->input->frames ? frame_index_size(draft->input->frames, chunk)
                                : chunk_table_size(draft->input->table, chunk);
}

/* The bytes that need not be fetched if patch `p` is. Chunks of one class count once, as the others can be
 * copied, except those that must not be copied. */
static uint64_t draft_saving(struct draft *draft, uint32_t p, const struct patch *patch)
{
    uint64_t saving = 0;

    for (uint32_t chunk = patch->first; chunk < patch->first + patch->count; chunk++) {
        uint32_t first = chunk_index_first_alike(draft->input->index, chunk);
        if (draft->input->kept[chunk] || !draft_lacks(draft, chunk, first))
            continue;
        if (draft->never_copy[chunk] || draft->counted[first] != p + 1)
            saving += draft_cost(draft, chunk);
        draft->counted[first] = p + 1;
    }
    return saving;
}

/* A patch is used if its frame is smaller than what it saves. The patches are judged one after another, so
 * that what an earlier one makes is not credited to a later one. */
static void draft_choose_patches(struct draft *draft)
{
    for (uint32_t p = 0; p < patch_count(draft->input); p++) {
        const struct patch *patch = patch_list_at(draft->input->patches, p);
        draft->patched[p] = draft->input->patch_sources[p] != PLAN_SOURCE_NONE && !draft->never_patch[p] &&
                            patch->frame_size < draft_saving(draft, p, patch);
        for (uint32_t i = 0; draft->patched[p] && i < patch->count; i++) {
            uint32_t first = chunk_index_first_alike(draft->input->index, patch->first + i);
            if (!draft->input->kept[patch->first + i] && draft_lacks(draft, patch->first + i, first))
                draft->makers[first] = patch->first + i;
        }
    }
}

/* Where chunk `chunk`, which is not kept and which no patch makes, comes from. */
static void draft_choose(struct draft *draft, uint32_t chunk, struct plan_run *ret_run)
{
    const struct plan_input *input = draft->input;
    uint32_t first = chunk_index_first_alike(input->index, chunk);
    const struct plan_place *place = &input->places[first];

    *ret_run = (struct plan_run){.source = PLAN_SOURCE_NONE,
                                 .first = chunk,
                                 .count = 1,
                                 .size = chunk_table_size(input->table, chunk)};
    if (draft_lacks(draft, chunk, first)) {
        ret_run->kind = PLAN_KIND_FETCH;
        ret_run->fetch_size = draft_cost(draft, chunk);
        ret_run->source_offset = input->frames ? frame_index_offset(input->frames, chunk)
                                               : chunk_table_offset(input->table, chunk);
        if (draft->makers[first] == CHUNK_INDEX_NONE)
            draft->makers[first] = chunk;
        return;
    }
    ret_run->kind = PLAN_KIND_COPY;
    ret_run->source = place->source;
    ret_run->source_offset = place->offset;
    if (place->source == PLAN_SOURCE_NONE) {
        /* One chunk of the class is made, this one is copied from it. */
        ret_run->source = PLAN_SOURCE_WRITTEN;
        ret_run->source_offset = chunk_table_offset(input->table, draft->makers[first]);
    }
}

/* Whether `next` begins where `run` ends, both in the image and in its source. */
static bool run_continues(const struct plan_run *run, const struct plan_run *next, uint32_t run_size_max)
{
    if (run->kind != next->kind || run->source != next->source || run->first + run->count != next->first ||
        run->size + next->size > run_size_max)
        return false;
    return run->source_offset + (run->kind == PLAN_KIND_FETCH ? run->fetch_size : run->size) ==
           next->source_offset;
}

static void plan_add_run(struct plan *plan, const struct plan_run *next, uint32_t run_size_max)
{
    struct plan_run *last = plan->run_count ? &plan->runs[plan->run_count - 1] : NULL;

    if (last && next->kind != PLAN_KIND_PATCH && run_continues(last, next, run_size_max)) {
        last->count += next->count;
        last->size += next->size;
        last->fetch_size += next->fetch_size;
        return;
    }
    plan->runs = alloc_grow(plan->runs, sizeof(plan->runs[0]), plan->run_count + 1, &plan->run_room);
    plan->runs[plan->run_count++] = *next;
}

/* Goes through the chunks in order: a chosen patch makes all of its chunks, kept ones included; of the rest
 * each chunk that is not kept is copied or fetched. */
static void plan_make_runs(struct plan *plan, struct draft *draft)
{
    const struct plan_input *input = draft->input;
    uint32_t p = 0, patches = patch_count(input);

    for (uint32_t chunk = 0; chunk < chunk_table_count(input->table);) {
        struct plan_run next;
        while (p < patches && (!draft->patched[p] || patch_list_at(input->patches, p)->first < chunk))
            p++;
        const struct patch *patch = p < patches ? patch_list_at(input->patches, p) : NULL;
        if (patch && patch->first == chunk)
            next = (struct plan_run){.kind = PLAN_KIND_PATCH,
                                     .source = input->patch_sources[p],
                                     .first = chunk,
                                     .count = patch->count,
                                     .size = patch->output_size,
                                     .patch = p,
                                     .fetch_size = patch->frame_size,
                                     .source_offset = patch->frame_offset};
        else if (input->kept[chunk]) {
            chunk++;
            continue;
        } else
            draft_choose(draft, chunk, &next);
        plan_add_run(plan, &next, input->run_size_max);
        chunk += next.count;
    }
}

/* The runs at which circles were broken are neither copied nor patched in the next try. */
static void draft_take_back(struct draft *draft, const struct plan *plan, const bool *broken)
{
    for (uint32_t r = 0; r < plan->run_count; r++) {
        const struct plan_run *run = &plan->runs[r];
        if (!broken[r])
            continue;
        if (run->kind == PLAN_KIND_PATCH)
            draft->never_patch[run->patch] = true;
        else
            memset(draft->never_copy + run->first, true, run->count);
    }
}

/* From now on no patch reads the target. */
static void draft_forgo_target_patches(struct draft *draft)
{
    for (uint32_t p = 0; p < patch_count(draft->input); p++)
        if (draft->input->patch_sources[p] == PLAN_SOURCE_TARGET)
            draft->never_patch[p] = true;
}

/* Whether the runs can be put in order; if not, the draft has given something up and another try is
 * needed. */
static bool draft_put_in_order(struct draft *draft, struct plan *plan)
{
    if (!plan_order_init(&plan->order, draft->input, plan->runs, plan->run_count)) {
        draft_forgo_target_patches(draft);
        return false;
    }
    bool *broken = alloc_array(plan->run_count, sizeof(bool));
    uint32_t circles = plan_order_break_cycles(&plan->order, plan->runs, plan->run_count, broken);
    if (circles) {
        plan->totals.cycles_broken += circles;
        draft_take_back(draft, plan, broken);
        plan_order_finish(&plan->order);
    }
    free(broken);
    return circles == 0;
}

/* One try to make all runs. False if the draft has given something up and another try is needed. */
static bool draft_try(struct draft *draft, struct plan *plan)
{
    const struct plan_input *input = draft->input;
    uint32_t count = chunk_table_count(input->table);

    plan->run_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        draft->makers[i] = CHUNK_INDEX_NONE;
        draft->counted[i] = 0;
    }
    /* A chunk that is kept stays in place, so others can be copied from it. */
    for (uint32_t i = 0; i < count; i++)
        if (input->kept[i])
            draft->makers[chunk_index_first_alike(input->index, i)] = i;
    draft_choose_patches(draft);
    plan_make_runs(plan, draft);
    return draft_put_in_order(draft, plan);
}

static void plan_count(struct plan *plan, const struct plan_input *input)
{
    struct plan_totals *totals = &plan->totals;

    totals->image_bytes = chunk_table_image_size(input->table);
    totals->requests = plan->batches.count;
    totals->gap_bytes = plan->batches.gap_bytes;
    for (uint32_t chunk = 0; chunk < chunk_table_count(input->table); chunk++)
        if (input->kept[chunk]) {
            totals->chunks_kept++;
            totals->bytes_kept += chunk_table_size(input->table, chunk);
        }
    for (uint32_t r = 0; r < plan->run_count; r++) {
        const struct plan_run *run = &plan->runs[r];
        switch (run->kind) {
        case PLAN_KIND_COPY:
            totals->chunks_copied += run->count;
            totals->bytes_copied += run->size;
            break;
        case PLAN_KIND_PATCH:
            for (uint32_t chunk = run->first; chunk < run->first + run->count; chunk++)
                if (!input->kept[chunk]) {
                    totals->chunks_patched++;
                    totals->bytes_patched += chunk_table_size(input->table, chunk);
                }
            totals->patch_bytes += run->fetch_size;
            break;
        case PLAN_KIND_FETCH:
            totals->chunks_fetched += run->count;
            totals->bytes_fetched += run->size;
            totals->chunk_bytes += run->fetch_size;
            break;
        }
    }
}

struct plan *plan_new(const struct plan_input *input)
{
    uint32_t count = chunk_table_count(input->table);
    struct plan *plan = alloc_zeroed(sizeof(*plan));
    struct draft draft = {
        .input = input,
        .never_copy = alloc_array(count, sizeof(bool)),
        .never_patch = alloc_array(patch_count(input), sizeof(bool)),
        .makers = alloc_array(count, sizeof(uint32_t)),
        .counted = alloc_array(count, sizeof(uint32_t)),
        .patched = alloc_array(patch_count(input), sizeof(bool)),
    };

    assert(input->run_size_max >= chunk_table_size_max(input->table));
    if (input->never_copy && count)
        memcpy(draft.never_copy, input->never_copy, count * sizeof(bool));
    /* Each failed try gives up at least one run; if no patch reads the target, the second try is the last. */
    for (unsigned tries = 1; !draft_try(&draft, plan); tries++)
        if (tries == DRAFT_TRIES_WITH_TARGET_PATCHES)
            draft_forgo_target_patches(&draft);
    plan_batches_init(&plan->batches, input, plan->runs, plan->run_count);
    plan_count(plan, input);
    free(draft.never_copy);
    free(draft.never_patch);
    free(draft.makers);
    free(draft.counted);
    free(draft.patched);
    return plan;
}

struct plan *plan_free(struct plan *plan)
{
    if (!plan)
        return NULL;
    plan_order_finish(&plan->order);
    free(plan->runs);
    plan_batches_finish(&plan->batches);
    free(plan);
    return NULL;
}

const struct plan_totals *plan_totals(const struct plan *plan)
{
    return &plan->totals;
}

void plan_set_overhead(struct plan *plan, const struct plan_overhead *overhead)
{
    plan->totals.table_bytes = overhead->table_bytes;
    plan->totals.section_bytes = overhead->section_bytes;
    plan->totals.manifest_bytes = overhead->manifest_bytes;
    plan->totals.requests_before = overhead->requests;
}

uint64_t plan_download_bytes(const struct plan_totals *totals)
{
    return totals->chunk_bytes + totals->patch_bytes + totals->gap_bytes + totals->table_bytes +
           totals->section_bytes;
}

const struct plan_run *plan_runs(const struct plan *plan, uint32_t *ret_count)
{
    *ret_count = plan->run_count;
    return plan->runs;
}

const uint32_t *plan_waiting_for(const struct plan *plan, uint32_t run, uint32_t *ret_count)
{
    *ret_count = plan->order.starts[run + 1] - plan->order.starts[run];
    return plan->order.edges + plan->order.starts[run];
}

const struct plan_batch *plan_batches(const struct plan *plan, uint32_t *ret_count)
{
    *ret_count = plan->batches.count;
    return plan->batches.items;
}

const uint32_t *plan_batch_runs(const struct plan *plan, const struct plan_batch *batch)
{
    return plan->batches.runs + batch->run_start;
}
