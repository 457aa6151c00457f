/* SPDX-License-Identifier: MIT */
#include "common/sinter/clone_private.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/container.h"

static void clone_run_judge(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);

    if (!patch_judge_slice(clone->judge, &clone->judged_bytes)) {
        error_set_errno(&clone->job_error, ENOMEM, "cannot hold what the patches need");
        clone->job_failed = true;
    }
}

static void clone_judged(struct clone *clone)
{
    clone->progress.scan_bytes += clone->judged_bytes;
    if (!patch_judge_is_over(clone->judge)) {
        clone_run_job(clone, clone_run_judge, clone_judged);
        return;
    }
    clone->judge = patch_judge_free(clone->judge);
    free(clone->bases);
    clone->bases = NULL;
    clone_make_plan(clone);
}

static void add_base(struct clone *clone, struct patch_judge_input *input, uint32_t number)
{
    clone->bases[input->source_count++] = (struct patch_judge_source){
        .number = (uint8_t)number, .device = sources_device(clone->sources, number)};
    input->sources = clone->bases;
}

/* The source that was cut is asked first, as it is the likeliest to hold the base; of the others the target
 * last, as patches that read it constrain the order of writing. */
void clone_judge(struct clone *clone)
{
    struct patch_judge_input input = {
        .index = outline_index(clone->outline),
        .patches = outline_patches(clone->outline),
        .kept = sources_kept(clone->sources),
        .places = sources_places(clone->sources),
        .never_copy = clone->never_copy,
        .failed = clone->patch_failed,
        .stop = &clone->stop,
    };

    if (!input.patches) {
        clone_make_plan(clone);
        return;
    }
    clone->bases = alloc_array(sources_count(clone->sources), sizeof(*clone->bases));
    add_base(clone, &input, clone->source_number);
    for (uint32_t turn = 1; turn <= sources_count(clone->sources); turn++) {
        uint32_t number = turn % sources_count(clone->sources); /* the target last */
        if (number != clone->source_number && sources_may_hold_base(clone->sources, number))
            add_base(clone, &input, number);
    }
    clone->judge = patch_judge_new(&input, clone->patch_sources);
    clone_run_job(clone, clone_run_judge, clone_judged);
}

static void clone_run_plan(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);
    const struct plan_input input = {
        .table = outline_table(clone->outline),
        .index = outline_index(clone->outline),
        .kept = sources_kept(clone->sources),
        .places = sources_places(clone->sources),
        .run_size_max = clone->run_size_max,
        .never_copy = clone->never_copy,
        .frames = outline_frames(clone->outline),
        .patches = outline_patches(clone->outline),
        .patch_sources = clone->patch_sources,
    };
    struct plan_overhead overhead = outline_overhead(clone->outline);

    overhead.manifest_bytes =
        clone->settings.release->manifest_size + clone->settings.release->signature_size;
    plan_free(clone->plan);
    clone->plan = plan_new(&input);
    plan_set_overhead(clone->plan, &overhead);
}

static void clone_planned(struct clone *clone)
{
    const struct plan_totals *totals = plan_totals(clone->plan);

    /* The index of the frames costs bytes, too, so it is fetched only if a chunk must be fetched. Then
     * follows another plan, by frames. */
    if (totals->chunks_fetched && outline_has_frames(clone->outline) && !outline_frames(clone->outline)) {
        outline_fetch_frames(clone->outline);
        return;
    }
    if (clone->rounds++ > 0) {
        clone->progress.bytes_planned = http_received_bytes(clone->http) - clone->received_before +
                                        totals->chunk_bytes + totals->patch_bytes + totals->gap_bytes;
        clone_transfer(clone);
        return;
    }
    clone->progress.image_bytes = totals->image_bytes;
    clone->progress.bytes_kept = totals->bytes_kept;
    clone->progress.bytes_planned = plan_download_bytes(totals);
    bool waits = clone->settings.wait_planned && !clone->settings.plan_only && !clone->stopping;
    if (waits)
        clone_wait(clone);
    if (clone->events->planned)
        clone->events->planned(clone->owner, clone->plan);
    /* One that waits was perhaps sent on or cancelled from within the call. */
    if (waits)
        return;
    if (clone->stopping || clone->settings.plan_only)
        clone_end(clone);
    else
        clone_transfer(clone);
}

void clone_make_plan(struct clone *clone)
{
    clone_run_job(clone, clone_run_plan, clone_planned);
}

static void clone_on_chunks(void *owner, enum plan_kind kind, uint32_t first, uint32_t count, uint64_t bytes)
{
    struct clone *clone = owner;
    enum clone_fate fate = CLONE_FATE_FETCHED;

    sources_add_kept(clone->sources, first, count);
    clone->progress.bytes_written += bytes;
    switch (kind) {
    case PLAN_KIND_COPY:
        fate = CLONE_FATE_COPIED;
        clone->progress.bytes_copied += bytes;
        break;
    case PLAN_KIND_PATCH:
        fate = CLONE_FATE_PATCHED;
        clone->progress.bytes_patched += bytes;
        break;
    case PLAN_KIND_FETCH:
        clone->progress.bytes_fetched += bytes;
        break;
    }
    if (clone->events->chunks)
        clone->events->chunks(clone->owner, fate, first, count, bytes);
}

/* The chunks that a failed copy should have made are not copied again. Except where the copied chunk should
 * have been written to the target earlier and was not: then the copy is not to blame and may be tried
 * again. */
static void clone_rule_out_copy(struct clone *clone, const struct plan_run *run)
{
    const struct chunk_table *table = outline_table(clone->outline);
    const bool *kept = sources_kept(clone->sources);

    for (uint32_t i = 0, at = 0; i < run->count; i++) {
        uint32_t chunk = run->first + i;
        bool was_there =
            run->source != PLAN_SOURCE_WRITTEN || kept[chunk_table_at(table, run->source_offset + at)];
        clone->never_copy[chunk] = clone->never_copy[chunk] || (!kept[chunk] && was_there);
        at += chunk_table_size(table, chunk);
    }
}

static void clone_on_run_failed(void *owner, const struct plan_run *run)
{
    struct clone *clone = owner;
    struct error error;

    if (run->kind == PLAN_KIND_PATCH)
        clone->patch_failed[run->patch] = true;
    else
        clone_rule_out_copy(clone, run);
    if (run->source >= sources_count(clone->sources) || clone->source_changed[run->source])
        return;
    if (run->kind == PLAN_KIND_PATCH)
        error_set(&error, ERROR_MISMATCH,
                  "a patch did not make of it what it should; what is missing is fetched");
    else
        error_set(&error, ERROR_MISMATCH,
                  "it changed since it was scanned, or cannot be read; what is missing is fetched");
    clone->source_changed[run->source] = true;
    clone_on_source_skipped(clone, sources_path(clone->sources, run->source), &error);
}

static void clone_on_transferred(void *owner, enum transfer_outcome outcome, const struct error *error)
{
    struct clone *clone = owner;

    if (error)
        clone_stop(clone, error);
    /* With the table of chunks the pack alone might have been enough, so the lack of the table is named as
     * the cause. */
    if (outcome == TRANSFER_OUTCOME_FAILED && clone->error.kind == ERROR_REMOTE && clone->table_error.kind)
        error_prefix(&clone->error, "%s; without the table", clone->table_error.message);
    clone->transfer = transfer_free(clone->transfer); /* with the error */
    clone->overtaken = outcome == TRANSFER_OUTCOME_OVERTAKEN;
    if (clone->stopping)
        clone_end(clone);
    else if (outcome == TRANSFER_OUTCOME_INCOMPLETE) {
        /* Each round rules out at least one copy or patch, so the number of rounds is bounded. */
        sources_forget_target(clone->sources);
        clone_count_judging(clone);
        clone_judge(clone);
    } else
        clone_finish_target(clone);
}

/* Reports the chunks that are kept, run by run, because the ancestor reports every chunk. */
static void clone_tell_kept(struct clone *clone)
{
    const struct chunk_table *table = outline_table(clone->outline);
    const bool *kept = sources_kept(clone->sources);
    uint32_t count = chunk_table_count(table);

    for (uint32_t from = 0, to; clone->events->chunks && from < count; from = to) {
        for (to = from; to < count && kept[to] == kept[from]; to++)
            continue;
        if (kept[from])
            clone->events->chunks(clone->owner, CLONE_FATE_KEPT, from, to - from,
                                  chunk_table_offset(table, to) - chunk_table_offset(table, from));
    }
}

void clone_transfer(struct clone *clone)
{
    static const struct transfer_events events = {
        .chunks = clone_on_chunks,
        .retry = clone_on_retry,
        .failed = clone_on_run_failed,
        .done = clone_on_transferred,
    };
    const struct transfer_settings settings = {
        .base = clone->base,
        .http = clone->http,
        .pool = clone->pool,
        .table = outline_table(clone->outline),
        .plan = clone->plan,
        .kept = sources_kept(clone->sources),
        .image_url = clone->settings.release->image_url,
        .pack_url = outline_pack_url(clone->outline),
        .pack_size = clone_manifest(clone)->pack.size,
        .frames = outline_frames(clone->outline),
        .patches = outline_patches(clone->outline),
        .target = sources_device(clone->sources, 0),
        .seeds = sources_seeds(clone->sources),
        .connections = clone->settings.connections,
        .run_size_max = clone->run_size_max,
        .ignore_etag = clone->settings.ignore_etag,
        .give_up_ms = clone->settings.give_up_ms,
        .patient = clone->settings.patient,
    };

    if (clone->rounds == 1) {
        clone_enter(clone, CLONE_PHASE_TRANSFERRING);
        clone_tell_kept(clone);
    }
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone->transfer = transfer_start(&settings, &events, clone);
}
