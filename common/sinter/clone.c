/* SPDX-License-Identifier: MIT */
#include "common/sinter/clone.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/sinter/clone_private.h"

enum {
    CLONE_CONNECTIONS = 4,
};

const struct manifest *clone_manifest(const struct clone *clone)
{
    return clone->settings.release->manifest;
}

void clone_enter(struct clone *clone, enum clone_phase phase)
{
    clone->phase = phase;
    if (clone->events->phase)
        clone->events->phase(clone->owner, phase);
}

/* Closing a block device writes what is dirty, which may take long, so it is a job. The target of a clone
 * that succeeded stays open. */
static void clone_run_close(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);

    sources_close(clone->sources, !clone->stopping && !clone->settings.plan_only);
}

static void clone_closed(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);

    clone_progress(clone); /* for the last time, as others use `http` from now on */
    clone->phase = CLONE_PHASE_FINISHED;
    clone->events->done(clone->owner, clone->stopping ? &clone->error : NULL);
}

void clone_end(struct clone *clone)
{
    clone_enter(clone, CLONE_PHASE_CLOSING);
    clone->job = (struct pool_job){.run = clone_run_close, .done = clone_closed};
    pool_submit(clone->pool, &clone->job);
}

void clone_stop(struct clone *clone, const struct error *error)
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

void clone_run_job(struct clone *clone, pool_run_fn run, void (*next)(struct clone *clone))
{
    clone->job = (struct pool_job){.run = run, .done = clone_job_done};
    clone->job_next = next;
    pool_submit(clone->pool, &clone->job);
}

void clone_on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    struct clone *clone = owner;

    clone->progress.retries++;
    if (clone->events->retry)
        clone->events->retry(clone->owner, chunk, error, wait_ms);
}

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

static void clone_on_cached(void *owner, const struct error *why)
{
    struct clone *clone = owner;

    if (clone->events->read_back_cached)
        clone->events->read_back_cached(clone->owner, why);
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
    static const struct verify_events events = {
        .progress = clone_on_verify_progress,
        .cached = clone_on_cached,
        .done = clone_on_verified,
    };

    clone_enter(clone, CLONE_PHASE_VERIFYING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone->verify =
        verify_start(clone->pool, sources_device(clone->sources, 0), clone_manifest(clone), &events, clone);
}

void clone_finish_target(struct clone *clone)
{
    clone_enter(clone, CLONE_PHASE_SYNCING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone_run_job(clone, clone_run_sync, clone_synced);
}

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
    clone->sources =
        sources_new(base, pool, settings->target_path, settings->seed_paths, &sources_events, clone);
    clone->source_changed = alloc_array(sources_count(clone->sources), sizeof(bool));
    return clone;
}

void clone_start(struct clone *clone)
{
    clone->received_before = http_received_bytes(clone->http);
    clone->requests_before = http_requests_made(clone->http);
    clone_enter(clone, CLONE_PHASE_PREPARING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone_run_job(clone, clone_run_open, clone_opened);
}

void clone_wait(struct clone *clone)
{
    clone_progress(clone);
    clone->waits = true;
}

void clone_go_on(struct clone *clone)
{
    assert(clone->waits);
    clone->waits = false;
    clone->received_before = http_received_bytes(clone->http) - clone->progress.bytes_received;
    clone->requests_before = http_requests_made(clone->http) - clone->progress.requests;
    clone_transfer(clone);
}

void clone_cancel(struct clone *clone)
{
    struct error error;

    if (clone->stopping || clone->phase >= CLONE_PHASE_CLOSING)
        return;
    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    clone_stop(clone, &error);
    if (clone->waits) {
        clone_end(clone);
        return;
    }
    if (clone->outline)
        outline_cancel(clone->outline);
    sources_stop(clone->sources);
    if (clone->transfer)
        transfer_cancel(clone->transfer);
    if (clone->verify)
        verify_stop(clone->verify);
}

void clone_leave_stock(struct clone *clone)
{
    struct release_stock *stock = &clone->settings.release->stock;

    if (clone->patch_failed && outline_patches(clone->outline)) {
        free(stock->patch_failed);
        stock->patch_failed = clone->patch_failed;
        stock->failed_base = clone->base_number;
        clone->patch_failed = NULL;
    }
    if (clone->outline)
        outline_leave_table(clone->outline);
}

struct clone *clone_free(struct clone *clone)
{
    if (!clone)
        return NULL;
    patch_judge_free(clone->judge);
    plan_free(clone->plan);
    outline_free(clone->outline);
    sources_free(clone->sources);
    free(clone->source_changed);
    free(clone->never_copy);
    free(clone->patch_failed);
    free(clone->patch_sources);
    free(clone->bases);
    free(clone);
    return NULL;
}

enum clone_phase clone_phase(const struct clone *clone)
{
    return clone->phase;
}

const struct clone_progress *clone_progress(struct clone *clone)
{
    if (!clone->waits && clone->phase != CLONE_PHASE_FINISHED) {
        clone->progress.bytes_received = http_received_bytes(clone->http) - clone->received_before;
        clone->progress.requests = http_requests_made(clone->http) - clone->requests_before;
    }
    return &clone->progress;
}

bool clone_was_overtaken(const struct clone *clone)
{
    return clone->overtaken;
}

bool clone_lacks_file(const struct clone *clone)
{
    return clone->lacking;
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
    static const char *const names[] = {
        [CLONE_PHASE_PREPARING] = "preparing",       [CLONE_PHASE_SCANNING] = "scanning",
        [CLONE_PHASE_TRANSFERRING] = "transferring", [CLONE_PHASE_SYNCING] = "syncing",
        [CLONE_PHASE_VERIFYING] = "verifying",       [CLONE_PHASE_CLOSING] = "closing",
        [CLONE_PHASE_FINISHED] = "finished",
    };

    assert(phase < sizeof(names) / sizeof(names[0]));
    return names[phase];
}
