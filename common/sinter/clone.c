#include "common/sinter/clone.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/sinter/outline.h"
#include "common/sinter/patch_judge.h"
#include "common/sinter/sources.h"
#include "common/sinter/transfer.h"
#include "common/sinter/verify.h"

enum {
    CLONE_CONNECTIONS = 4,
    CLONE_GIVE_UP_MS = 2 * 60 * 1000,
};

struct clone {
    struct event_base *base;
    struct http *http;
    struct pool *pool;
    struct clone_settings settings; /* its strings are not used after clone_new() */
    const struct clone_events *events;
    void *owner;

    enum clone_phase phase;
    struct clone_progress progress;
    uint64_t received_before; /* by `http`, before this clone */
    uint64_t requests_told;   /* of the outline's, in progress.requests already */

    /* Work on threads that belongs to none of the parts below: one at a time. */
    struct pool_job job;
    void (*job_next)(struct clone *clone);
    bool job_failed;
    struct error job_error;
    atomic_bool stop; /* for jobs */

    struct sources *sources;
    bool *source_changed; /* of each: since it was scanned; told once */
    bool has_base;
    uint32_t base_number, source_number;
    struct outline *outline;
    bool *never_copy;                  /* of each chunk: see plan.h */
    bool *patch_failed, *patch_usable; /* of each patch */
    uint32_t run_size_max;
    struct plan *plan;
    unsigned rounds; /* of planning and transferring */
    struct transfer *transfer;
    struct verify *verify;

    bool stopping; /* cancelled or failed; `done` comes when nothing is under way any more */
    bool overtaken;
    struct error error;

    bool is_proved; /* by reading it back whole: the target's SHA-256 is */
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

static const struct manifest *clone_manifest(const struct clone *clone)
{
    return clone->settings.release->manifest;
}

static void clone_enter(struct clone *clone, enum clone_phase phase)
{
    clone->phase = phase;
    if (clone->events->phase)
        clone->events->phase(clone->owner, phase);
}

/* Closing a block device writes what is dirty, which may take its time; so it is a job, too. The target of a
 * clone that succeeded stays open. */
static void clone_run_close(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);

    sources_close(clone->sources, !clone->stopping && !clone->settings.plan_only);
}

static void clone_closed(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);

    clone->phase = CLONE_PHASE_FINISHED;
    clone->events->done(clone->owner, clone->stopping ? &clone->error : NULL);
}

/* Nothing is under way any more. From here on a clone can no longer be cancelled. */
static void clone_end(struct clone *clone)
{
    clone_enter(clone, CLONE_PHASE_CLOSING);
    clone->job = (struct pool_job){.run = clone_run_close, .done = clone_closed};
    pool_submit(clone->pool, &clone->job);
}

static void clone_stop(struct clone *clone, const struct error *error)
{
    if (clone->stopping)
        return;
    clone->stopping = true;
    atomic_store_explicit(&clone->stop, true, memory_order_relaxed);
    clone->error = *error;
}

static void clone_fail(struct clone *clone, const struct error *error)
{
    clone_stop(clone, error);
    clone_end(clone);
}

/* ---- jobs ---- */

static void clone_job_done(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);

    if (clone->stopping)
        clone_end(clone);
    else if (clone->job_failed)
        clone_fail(clone, &clone->job_error);
    else
        clone->job_next(clone);
}

/* Runs `run` on a thread, then `next` on the loop; `run` sets job_failed and error where it fails. */
static void clone_run_job(struct clone *clone, pool_run_fn run, void (*next)(struct clone *clone))
{
    clone->job = (struct pool_job){.run = run, .done = clone_job_done};
    clone->job_next = next;
    pool_submit(clone->pool, &clone->job);
}

/* ---- opening ---- */

static void clone_run_open(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);
    const struct manifest *manifest = clone_manifest(clone);
    const struct sources_open open = {
        .image_size = manifest->file_size,
        .create_target = clone->settings.create_target,
        .read_only = clone->settings.plan_only,
        .check_target = clone->settings.check_target,
        .check_owner = clone->owner,
    };

    clone->job_failed = !sources_open(clone->sources, &open, &clone->job_error);
    if (!clone->job_failed && manifest->pack.present)
        clone->has_base =
            sources_match_base(clone->sources, &manifest->pack, &clone->base_number, &clone->source_number);
}

/* ---- what is known of the image ---- */

static void clone_on_retry(struct clone *clone, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    clone->progress.retries++;
    if (clone->events->retry)
        clone->events->retry(clone->owner, chunk, error, wait_ms);
}

static void clone_on_outline_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    clone_on_retry(owner, 0, error, wait_ms);
}

/* What every source holds is read once, but for a target that is cut and scanned. */
static void clone_count_scan(struct clone *clone)
{
    if (clone->progress.scan_total == 0)
        for (uint32_t i = 0; i < sources_count(clone->sources); i++)
            clone->progress.scan_total += sources_scan_bytes(clone->sources, i);
}

static void clone_on_cutting(void *owner, uint64_t total_bytes)
{
    struct clone *clone = owner;

    clone_count_scan(clone);
    if (clone->source_number == 0)
        clone->progress.scan_total += total_bytes;
    clone_enter(clone, CLONE_PHASE_SCANNING);
}

static void clone_on_scan_progress(void *owner, uint64_t bytes)
{
    ((struct clone *)owner)->progress.scan_bytes += bytes;
}

static void clone_on_source_hashed(void *owner, uint32_t number, uint32_t xxh32)
{
    struct clone *clone = owner;

    if (clone->events->source_hashed)
        clone->events->source_hashed(clone->owner, number ? sources_path(clone->sources, number) : NULL,
                                     xxh32);
}

static void clone_on_source_skipped(void *owner, const char *path, const struct error *error)
{
    struct clone *clone = owner;

    if (clone->events->seed_skipped)
        clone->events->seed_skipped(clone->owner, path, error);
}

static void clone_on_pack_skipped(void *owner, const struct error *error)
{
    struct clone *clone = owner;

    if (clone->events->pack_skipped)
        clone->events->pack_skipped(clone->owner, error);
}

static void clone_on_table_skipped(void *owner, const struct error *error)
{
    struct clone *clone = owner;

    if (clone->events->table_skipped)
        clone->events->table_skipped(clone->owner, error);
}

static void clone_make_plan(struct clone *clone);

static void clone_outlined(struct clone *clone)
{
    const struct chunk_table *table = outline_table(clone->outline);
    uint32_t patches =
        outline_patches(clone->outline) ? patch_list_count(outline_patches(clone->outline)) : 0;

    clone->settings.connections = transfer_connections(table, clone->settings.connections);
    clone->run_size_max = transfer_run_size_max(table, clone->settings.connections);
    clone->never_copy = alloc_array(chunk_table_count(table), sizeof(bool));
    clone->patch_failed = alloc_array(patches, sizeof(bool));
    clone->patch_usable = alloc_array(patches, sizeof(bool));
    clone_count_scan(clone);
    if (clone->phase != CLONE_PHASE_SCANNING)
        clone_enter(clone, CLONE_PHASE_SCANNING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    sources_scan(clone->sources, clone->settings.keep_verified_only, clone->settings.hash_sources);
}

/* The outline has the table, or later the frames. */
static void clone_on_outline(void *owner, const struct error *error)
{
    struct clone *clone = owner;

    clone->progress.requests += outline_overhead(clone->outline).requests - clone->requests_told;
    clone->requests_told = outline_overhead(clone->outline).requests;
    clone->overtaken = outline_was_overtaken(clone->outline);
    if (error)
        clone_stop(clone, error);
    if (clone->stopping)
        clone_end(clone);
    else if (!clone->never_copy)
        clone_outlined(clone);
    else
        clone_make_plan(clone);
}

static void clone_opened(struct clone *clone)
{
    static const struct outline_events events = {
        .retry = clone_on_outline_retry,
        .cutting = clone_on_cutting,
        .cut = clone_on_scan_progress,
        .hashed = clone_on_source_hashed,
        .pack_skipped = clone_on_pack_skipped,
        .table_skipped = clone_on_table_skipped,
        .done = clone_on_outline,
    };
    const struct outline_settings settings = {
        .base = clone->base,
        .http = clone->http,
        .pool = clone->pool,
        .release = clone->settings.release,
        .sources = clone->sources,
        .give_up_ms = clone->settings.give_up_ms,
        .keep_stock = clone->settings.plan_only,
        .hash = clone->settings.hash_sources,
        .has_base = clone->has_base,
        .base_number = clone->base_number,
        .source_number = clone->source_number,
    };

    sources_tell_skipped(clone->sources);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone->outline = outline_new(&settings, &events, clone);
    outline_start(clone->outline);
}

/* ---- planning ---- */

static void clone_judge(struct clone *clone);

static void clone_on_scanned(void *owner)
{
    struct clone *clone = owner;

    if (clone->stopping)
        clone_end(clone);
    else
        clone_judge(clone);
}

static void clone_run_judge(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);
    const struct patch_judge_input input = {
        .table = outline_table(clone->outline),
        .index = outline_index(clone->outline),
        .patches = outline_patches(clone->outline),
        .source = sources_device(clone->sources, clone->source_number),
        .kept = sources_kept(clone->sources),
        .places = sources_places(clone->sources),
        .never_copy = clone->never_copy,
        .failed = clone->patch_failed,
        .stop = &clone->stop,
    };

    if (!patch_judge(&input, clone->patch_usable)) {
        error_set_errno(&clone->job_error, ENOMEM, "cannot hold what the patches need");
        clone->job_failed = true;
    }
}

static void clone_judge(struct clone *clone)
{
    if (outline_patches(clone->outline))
        clone_run_job(clone, clone_run_judge, clone_make_plan);
    else
        clone_make_plan(clone);
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
        .usable = clone->patch_usable,
        .patch_source = clone->source_number,
    };
    struct plan_overhead overhead = outline_overhead(clone->outline);

    overhead.manifest_bytes = clone->settings.release->manifest_size;
    plan_free(clone->plan);
    clone->plan = plan_new(&input);
    plan_set_overhead(clone->plan, &overhead);
}

static void clone_transfer(struct clone *clone);

static void clone_planned(struct clone *clone)
{
    const struct plan_totals *totals = plan_totals(clone->plan);

    /* Where the frames lie costs bytes, too, so it is asked for only where a chunk is to be fetched. */
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
    if (clone->events->planned)
        clone->events->planned(clone->owner, clone->plan);
    if (clone->stopping || clone->settings.plan_only)
        clone_end(clone);
    else
        clone_transfer(clone);
}

static void clone_make_plan(struct clone *clone)
{
    clone_run_job(clone, clone_run_plan, clone_planned);
}

/* ---- transferring ---- */

static void clone_finish_target(struct clone *clone);

static void clone_on_chunks(void *owner, enum plan_kind kind, uint32_t first, uint32_t count, uint64_t bytes)
{
    struct clone *clone = owner;
    enum clone_fate fate = CLONE_FATE_FETCHED;

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

static void clone_on_transfer_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    clone_on_retry(owner, chunk, error, wait_ms);
}

/* What a failed copy was to make is not copied again; but where it copied what was to be written before and
 * was not, that is not its fault. */
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
    clone->transfer = transfer_free(clone->transfer); /* with the error */
    clone->overtaken = outcome == TRANSFER_OUTCOME_OVERTAKEN;
    if (clone->stopping)
        clone_end(clone);
    else if (outcome == TRANSFER_OUTCOME_INCOMPLETE) {
        /* Each round rules out one copy or patch at least, so there are only so many. */
        sources_forget_target(clone->sources);
        clone_judge(clone);
    } else
        clone_finish_target(clone);
}

/* Chunks that are kept are told of run by run, as the ancestor tells of every chunk. */
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

static void clone_transfer(struct clone *clone)
{
    static const struct transfer_events events = {
        .chunks = clone_on_chunks,
        .retry = clone_on_transfer_retry,
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
    };

    clone->progress.requests += plan_totals(clone->plan)->requests;
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

/* ---- the medium ---- */

static void clone_run_sync(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);
    const struct device *target = sources_device(clone->sources, 0);

    clone->job_failed = !device_set_size(target, clone_manifest(clone)->file_size, &clone->job_error) ||
                        !device_sync(target, &clone->job_error);
}

static void clone_on_verify_progress(void *owner, uint64_t bytes)
{
    ((struct clone *)owner)->progress.bytes_verified += bytes;
}

static void clone_on_verified(void *owner, const struct error *error, uint32_t xxh32)
{
    struct clone *clone = owner;

    if (error)
        clone_stop(clone, error);
    else
        clone->is_proved = verify_get_sha256(clone->verify, clone->sha256);
    clone->verify = verify_free(clone->verify); /* with the error */
    if (clone->events->read_back && clone->progress.bytes_verified == clone_manifest(clone)->file_size)
        clone->events->read_back(clone->owner, xxh32);
    clone_end(clone);
}

static void clone_synced(struct clone *clone)
{
    static const struct verify_events events = {.progress = clone_on_verify_progress,
                                                .done = clone_on_verified};

    clone_enter(clone, CLONE_PHASE_VERIFYING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone->verify =
        verify_start(clone->pool, sources_device(clone->sources, 0), clone_manifest(clone), &events, clone);
}

static void clone_finish_target(struct clone *clone)
{
    clone_enter(clone, CLONE_PHASE_SYNCING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone_run_job(clone, clone_run_sync, clone_synced);
}

/* ---- outside ---- */

struct clone *clone_new(struct event_base *base, struct http *http, struct pool *pool,
                        const struct clone_settings *settings, const struct clone_events *events, void *owner)
{
    static const struct sources_events sources_events = {
        .scanned = clone_on_scan_progress,
        .skipped = clone_on_source_skipped,
        .hashed = clone_on_source_hashed,
        .done = clone_on_scanned,
    };
    struct clone *clone = alloc_zeroed(sizeof(*clone));

    clone->base = base;
    clone->http = http;
    clone->pool = pool;
    clone->settings = *settings;
    if (!clone->settings.give_up_ms)
        clone->settings.give_up_ms = CLONE_GIVE_UP_MS;
    if (!clone->settings.connections)
        clone->settings.connections = CLONE_CONNECTIONS;
    clone->events = events;
    clone->owner = owner;
    clone->sources = sources_new(pool, settings->target_path, settings->seed_paths, &sources_events, clone);
    clone->source_changed = alloc_array(sources_count(clone->sources), sizeof(bool));
    return clone;
}

void clone_start(struct clone *clone)
{
    clone->received_before = http_received_bytes(clone->http);
    clone->progress.image_bytes = clone_manifest(clone)->file_size;
    clone_enter(clone, CLONE_PHASE_PREPARING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone_run_job(clone, clone_run_open, clone_opened);
}

void clone_cancel(struct clone *clone)
{
    struct error error;

    if (clone->stopping || clone->phase >= CLONE_PHASE_CLOSING)
        return;
    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    clone_stop(clone, &error);
    if (clone->outline)
        outline_cancel(clone->outline);
    sources_stop(clone->sources);
    if (clone->transfer)
        transfer_cancel(clone->transfer);
    if (clone->verify)
        verify_stop(clone->verify);
}

struct clone *clone_free(struct clone *clone)
{
    if (!clone)
        return NULL;
    plan_free(clone->plan);
    outline_free(clone->outline);
    sources_free(clone->sources);
    free(clone->source_changed);
    free(clone->never_copy);
    free(clone->patch_failed);
    free(clone->patch_usable);
    free(clone);
    return NULL;
}

enum clone_phase clone_phase(const struct clone *clone)
{
    return clone->phase;
}

const struct clone_progress *clone_progress(struct clone *clone)
{
    clone->progress.bytes_received = http_received_bytes(clone->http) - clone->received_before;
    return &clone->progress;
}

bool clone_was_overtaken(const struct clone *clone)
{
    return clone->overtaken;
}

const struct plan *clone_plan(const struct clone *clone)
{
    return clone->plan;
}

const struct chunk_table *clone_table(const struct clone *clone)
{
    return clone->outline ? outline_table(clone->outline) : NULL;
}

bool clone_get_sha256(const struct clone *clone, uint8_t ret_sha256[DIGEST_SHA256_SIZE])
{
    if (clone->is_proved)
        memcpy(ret_sha256, clone->sha256, sizeof(clone->sha256));
    return clone->is_proved;
}

struct device *clone_take_target(struct clone *clone)
{
    assert(clone->phase == CLONE_PHASE_FINISHED && !clone->stopping && !clone->settings.plan_only);
    return sources_take_target(clone->sources);
}

const char *clone_phase_name(enum clone_phase phase)
{
    switch (phase) {
    case CLONE_PHASE_PREPARING:
        return "preparing";
    case CLONE_PHASE_SCANNING:
        return "scanning";
    case CLONE_PHASE_TRANSFERRING:
        return "transferring";
    case CLONE_PHASE_SYNCING:
        return "syncing";
    case CLONE_PHASE_VERIFYING:
        return "verifying";
    case CLONE_PHASE_CLOSING:
        return "closing";
    case CLONE_PHASE_FINISHED:
        return "finished";
    }
    return "unknown";
}
