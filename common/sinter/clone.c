#include "common/sinter/clone.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/sinter/fetch.h"
#include "common/sinter/scan.h"
#include "common/sinter/transfer.h"
#include "common/sinter/verify.h"

enum {
    CLONE_CONNECTIONS = 4,
    CLONE_GIVE_UP_MS = 2 * 60 * 1000,
    CLONE_SCANS_AT_ONCE = 2, /* a buffer each */
};

/* The target, or a seed: something to be scanned and copied from. */
struct clone_source {
    struct clone *clone;
    char *path;
    struct device *device; /* NULL where it cannot be used */
    uint64_t scan_bytes;
    struct scan *scan;
    struct error error; /* why it cannot be used */
    bool changed;       /* since it was scanned; told once */
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

    /* Work on threads that is not a scan, a transfer or a verification: one at a time. */
    struct pool_job job;
    void (*job_next)(struct clone *clone);
    bool job_failed;
    struct error job_error;

    uint32_t source_count;        /* at least 1 */
    struct clone_source *sources; /* [0] is the target, the rest are the seeds */
    struct device **seeds;        /* their devices, as the transfer wants them */
    uint32_t scan_next, scans_under_way;

    char *table_url;
    struct fetch *table_fetch;
    uint8_t *table_data; /* fetched, not yet parsed */
    size_t table_size;
    uint64_t table_bytes_fetched;
    struct chunk_table *table;
    struct chunk_index *index;
    bool *kept;
    struct plan_place *places;
    uint32_t run_size_max;
    struct plan *plan;
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
    bool keep_target = !clone->stopping && !clone->settings.plan_only;

    for (uint32_t i = keep_target ? 1 : 0; i < clone->source_count; i++)
        clone->sources[i].device = device_close(clone->sources[i].device);
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

/* How much of a source is worth reading: files whole, partitions up to twice the image, for what an image
 * left behind further out is rarely worth the reading. */
static bool clone_measure(struct clone_source *source, uint64_t image_size)
{
    uint64_t size;

    if (!device_size(source->device, &size, &source->error))
        return false;
    if (device_is_block(source->device) && size / 2 > image_size)
        size = image_size * 2;
    source->scan_bytes = size;
    return true;
}

static void clone_run_open(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);
    uint64_t image_size = clone_manifest(clone)->file_size;
    struct clone_source *target = &clone->sources[0];
    bool ok;

    if (clone->settings.plan_only) {
        ok = device_open_source(target->path, &target->device, &target->error);
        ok = ok ? device_check_room(target->device, image_size, &target->error)
                : clone->settings.create_target && target->error.code == ENOENT;
    } else {
        ok = device_open_target(target->path, image_size, clone->settings.create_target, &target->device,
                                &target->error) &&
             (!clone->settings.check_target ||
              clone->settings.check_target(clone->owner, device_descriptor(target->device), &target->error));
    }
    ok = ok && (!target->device || clone_measure(target, image_size));
    if (!ok) {
        clone->job_failed = true;
        clone->job_error = target->error;
        return;
    }
    for (uint32_t i = 1; i < clone->source_count; i++) {
        struct clone_source *seed = &clone->sources[i];
        ok = device_open_source(seed->path, &seed->device, &seed->error) && clone_measure(seed, image_size);
        /* The target is a source in any case; twice would be once too often. */
        if (!ok || (target->device && device_is_same(seed->device, target->device)))
            seed->device = device_close(seed->device);
    }
}

/* ---- the table of chunks ---- */

static void clone_make_table(struct clone *clone);
static void clone_scan(struct clone *clone);

/* Fixed chunks are known by XXH32 only. Where a signature is demanded they do not serve; the table may be of
 * a newer release, so that reading the manifest again can help. */
static void clone_miss_table(struct clone *clone, struct error *error)
{
    /* REFUSED: it is longer than the manifest says. */
    clone->overtaken =
        error->kind == ERROR_MISMATCH || error->kind == ERROR_REMOTE || error->kind == ERROR_REFUSED;
    error_prefix(error, "a signature is demanded, so nothing is done without the table of chunks");
}

static void clone_skip_table(struct clone *clone, const struct error *error)
{
    struct error problem = *error;

    if (clone->settings.release->verdict.sha256_only) {
        clone_miss_table(clone, &problem);
        clone_fail(clone, &problem);
        return;
    }
    if (clone->events->table_skipped)
        clone->events->table_skipped(clone->owner, error);
    clone_make_table(clone);
}

static void clone_on_table_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct clone *clone = owner;

    clone->progress.retries++;
    if (clone->events->retry)
        clone->events->retry(clone->owner, 0, error, wait_ms);
}

static void clone_on_table(void *owner, char *body, size_t size, const struct error *error)
{
    struct clone *clone = owner;

    clone->table_fetch = NULL;
    if (error) {
        clone_skip_table(clone, error);
        return;
    }
    clone->table_data = (uint8_t *)body;
    clone->table_size = size;
    clone->table_bytes_fetched = size;
    clone_make_table(clone);
}

static void clone_opened(struct clone *clone)
{
    static const struct fetch_events events = {.retry = clone_on_table_retry, .done = clone_on_table};
    const struct manifest_chunks *chunks = &clone_manifest(clone)->chunks;
    struct error error;

    for (uint32_t i = 1; i < clone->source_count; i++)
        if (clone->sources[i].error.kind && clone->events->seed_skipped)
            clone->events->seed_skipped(clone->owner, clone->sources[i].path, &clone->sources[i].error);
    if (clone->stopping || !chunks->present) {
        clone_make_table(clone);
        return;
    }
    if (!manifest_resolve_url(clone->settings.release->manifest_url, chunks->url, &clone->table_url,
                              &error)) {
        CLEANUP_FREE char *shown = http_url_for_display(clone->settings.release->manifest_url);
        error_prefix(&error, "the table of chunks that %s refers to", shown);
        clone_skip_table(clone, &error);
        return;
    }
    clone->progress.requests++;
    clone->table_fetch = fetch_start(clone->base, clone->http, clone->table_url, (size_t)chunks->size_bytes,
                                     clone->settings.give_up_ms, &events, clone);
}

static bool clone_parse_table(struct clone *clone, struct error *error)
{
    const struct manifest_chunks *chunks = &clone_manifest(clone)->chunks;
    uint8_t sha256[DIGEST_SHA256_SIZE], *data = clone->table_data;

    clone->table_data = NULL;
    digest_sha256(data, clone->table_size, sha256);
    if (clone->table_size != chunks->size_bytes || memcmp(sha256, chunks->sha256, sizeof(sha256)) != 0) {
        free(data);
        return error_set(error, ERROR_MISMATCH, "%s is not the table of chunks that its manifest names",
                         clone->table_url);
    }
    return chunk_table_parse(data, clone->table_size, clone_manifest(clone)->file_size, &clone->table, error);
}

static bool clone_make_fixed_table(struct clone *clone, struct error *error)
{
    const struct manifest *manifest = clone_manifest(clone);

    if (manifest->chunk_size > MANIFEST_FIXED_CHUNK_CLONE_MAX &&
        manifest->file_size > MANIFEST_FIXED_CHUNK_CLONE_MAX)
        return error_set(error, ERROR_REFUSED,
                         "the manifest's chunks of %" PRIu32
                         " bytes are larger than the %d a device must have memory for; "
                         "generate it with smaller ones",
                         manifest->chunk_size, MANIFEST_FIXED_CHUNK_CLONE_MAX);
    uint32_t *hashes = alloc_array(manifest->chunk_count, sizeof(uint32_t));
    if (manifest->chunk_count)
        memcpy(hashes, manifest->chunk_hashes, manifest->chunk_count * sizeof(uint32_t));
    clone->table =
        chunk_table_new_fixed(hashes, manifest->chunk_count, manifest->chunk_size, manifest->last_chunk_size);
    return true;
}

static void clone_run_make_table(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);

    /* A table that does not fit is as good as none; the sources' first error slot carries the reason to the
     * loop. */
    if (clone->table_data)
        clone_parse_table(clone, &clone->sources[0].error);
    if (!clone->table && clone->settings.release->verdict.sha256_only) {
        clone->job_error = clone->sources[0].error;
        clone_miss_table(clone, &clone->job_error);
        clone->job_failed = true;
        return;
    }
    if (!clone->table && !clone_make_fixed_table(clone, &clone->job_error)) {
        clone->job_failed = true;
        return;
    }
    clone->index = chunk_index_new(clone->table);
}

static void clone_table_made(struct clone *clone)
{
    uint32_t count = chunk_table_count(clone->table);

    if (clone->sources[0].error.kind && clone->events->table_skipped)
        clone->events->table_skipped(clone->owner, &clone->sources[0].error);
    clone->settings.connections = transfer_connections(clone->table, clone->settings.connections);
    clone->run_size_max = transfer_run_size_max(clone->table, clone->settings.connections);
    clone->kept = alloc_array(count, sizeof(bool));
    clone->places = alloc_array(count, sizeof(struct plan_place));
    for (uint32_t i = 0; i < count; i++)
        clone->places[i].source = PLAN_SOURCE_NONE;
    for (uint32_t i = 0; i < clone->source_count; i++)
        if (clone->sources[i].device)
            clone->progress.scan_total += clone->sources[i].scan_bytes;
    clone_enter(clone, CLONE_PHASE_SCANNING);
    clone_scan(clone);
}

static void clone_make_table(struct clone *clone)
{
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    clone->sources[0].error.kind = ERROR_NONE;
    clone_run_job(clone, clone_run_make_table, clone_table_made);
}

/* ---- scanning ---- */

static void clone_make_plan(struct clone *clone);

/* A place in a seed is better than one in the target's old content, which ties the order of writing; a chunk
 * in place is best. */
static void clone_on_finds(void *owner, uint64_t bytes, const struct scan_find *finds, size_t count)
{
    struct clone_source *source = owner;
    struct clone *clone = source->clone;
    uint32_t number = (uint32_t)(source - clone->sources);

    clone->progress.scan_bytes += bytes;
    for (size_t i = 0; i < count; i++) {
        const struct scan_find *find = &finds[i];
        uint32_t first = chunk_index_first_alike(clone->index, find->chunk);
        struct plan_place *place = &clone->places[first];
        if (find->in_place)
            clone->kept[find->chunk] = true;
        if (place->source == PLAN_SOURCE_NONE || (place->source == PLAN_SOURCE_TARGET && number != 0)) {
            place->source = number;
            place->offset = find->offset & ((UINT64_C(1) << 56) - 1);
        }
    }
}

static void clone_on_scanned(void *owner, const struct error *error, uint32_t xxh32)
{
    struct clone_source *source = owner;
    struct clone *clone = source->clone;
    bool is_target = source == clone->sources;

    clone->scans_under_way--;
    if (error && clone->events->seed_skipped)
        clone->events->seed_skipped(clone->owner, source->path, error);
    if (!error && !clone->stopping && clone->settings.hash_sources && clone->events->source_hashed)
        clone->events->source_hashed(clone->owner, is_target ? NULL : source->path, xxh32);
    source->scan = scan_free(source->scan); /* with the error */
    clone_scan(clone);
}

static void clone_scan(struct clone *clone)
{
    static const struct scan_events events = {.progress = clone_on_finds, .done = clone_on_scanned};

    while (!clone->stopping && clone->scans_under_way < CLONE_SCANS_AT_ONCE &&
           clone->scan_next < clone->source_count) {
        struct clone_source *source = &clone->sources[clone->scan_next++];
        if (!source->device)
            continue;
        const struct scan_settings settings = {
            .device = source->device,
            .size_bytes = source->scan_bytes,
            .table = clone->table,
            .index = clone->index,
            .is_target = source == clone->sources,
            .prove = clone->settings.keep_verified_only,
            .hash = clone->settings.hash_sources,
        };
        clone->scans_under_way++;
        source->scan = scan_start(clone->pool, &settings, &events, source);
    }
    if (clone->scans_under_way > 0)
        return;
    if (clone->stopping)
        clone_end(clone);
    else
        clone_make_plan(clone);
}

/* ---- planning ---- */

static void clone_run_plan(struct pool_job *job)
{
    struct clone *clone = container_of(job, struct clone, job);
    const struct plan_input input = {
        .table = clone->table,
        .index = clone->index,
        .kept = clone->kept,
        .places = clone->places,
        .run_size_max = clone->run_size_max,
    };

    clone->plan = plan_new(&input);
    plan_set_overhead(clone->plan, clone->table_bytes_fetched, clone->settings.release->manifest_size);
}

static void clone_transfer(struct clone *clone);

static void clone_planned(struct clone *clone)
{
    const struct plan_totals *totals = plan_totals(clone->plan);

    free(clone->places);
    clone->places = NULL;
    clone->progress.image_bytes = totals->image_bytes;
    clone->progress.bytes_kept = totals->bytes_kept;
    clone->progress.bytes_planned = totals->table_bytes + totals->bytes_fetched;
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
    bool fetched = kind == PLAN_KIND_FETCH;

    clone->progress.bytes_written += bytes;
    if (fetched)
        clone->progress.bytes_fetched += bytes;
    else
        clone->progress.bytes_copied += bytes;
    if (clone->events->chunks)
        clone->events->chunks(clone->owner, fetched ? CLONE_FATE_FETCHED : CLONE_FATE_COPIED, first, count,
                              bytes);
}

static void clone_on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    struct clone *clone = owner;

    clone->progress.retries++;
    if (clone->events->retry)
        clone->events->retry(clone->owner, chunk, error, wait_ms);
}

static void clone_on_copy_failed(void *owner, uint32_t source, uint64_t bytes)
{
    struct clone *clone = owner;
    struct error error;

    clone->progress.bytes_planned += bytes;
    if (source < clone->source_count && !clone->sources[source].changed && clone->events->seed_skipped) {
        error_set(&error, ERROR_MISMATCH,
                  "it changed since it was scanned, or cannot be read; what is missing is fetched");
        clone->sources[source].changed = true;
        clone->events->seed_skipped(clone->owner, clone->sources[source].path, &error);
    }
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
    else
        clone_finish_target(clone);
}

/* Chunks that are kept are told of run by run, as the ancestor tells of every chunk. */
static void clone_tell_kept(struct clone *clone)
{
    uint32_t count = chunk_table_count(clone->table);

    for (uint32_t from = 0, to; clone->events->chunks && from < count; from = to) {
        for (to = from; to < count && clone->kept[to] == clone->kept[from]; to++)
            continue;
        if (clone->kept[from])
            clone->events->chunks(clone->owner, CLONE_FATE_KEPT, from, to - from,
                                  chunk_table_offset(clone->table, to) -
                                      chunk_table_offset(clone->table, from));
    }
}

static void clone_transfer(struct clone *clone)
{
    static const struct transfer_events events = {
        .chunks = clone_on_chunks,
        .retry = clone_on_retry,
        .copy_failed = clone_on_copy_failed,
        .done = clone_on_transferred,
    };
    const struct transfer_settings settings = {
        .base = clone->base,
        .http = clone->http,
        .pool = clone->pool,
        .table = clone->table,
        .plan = clone->plan,
        .image_url = clone->settings.release->image_url,
        .target = clone->sources[0].device,
        .seeds = clone->seeds,
        .connections = clone->settings.connections,
        .run_size_max = clone->run_size_max,
        .ignore_etag = clone->settings.ignore_etag,
        .give_up_ms = clone->settings.give_up_ms,
    };

    for (uint32_t i = 1; i < clone->source_count; i++)
        clone->seeds[i - 1] = clone->sources[i].device;
    clone->progress.requests += plan_totals(clone->plan)->requests;
    clone_enter(clone, CLONE_PHASE_TRANSFERRING);
    clone_tell_kept(clone);
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
    const struct device *target = clone->sources[0].device;

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
        verify_start(clone->pool, clone->sources[0].device, clone_manifest(clone), &events, clone);
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

static void clone_add_source(struct clone *clone, const char *path)
{
    struct clone_source *source = &clone->sources[clone->source_count++];

    source->clone = clone;
    source->path = alloc_string(path);
}

struct clone *clone_new(struct event_base *base, struct http *http, struct pool *pool,
                        const struct clone_settings *settings, const struct clone_events *events, void *owner)
{
    struct clone *clone = alloc_zeroed(sizeof(*clone));
    uint32_t seed_count = 0;

    while (settings->seed_paths && settings->seed_paths[seed_count] && seed_count < PLAN_SOURCE_SEED_LAST)
        seed_count++;
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
    clone->sources = alloc_array((size_t)seed_count + 1, sizeof(struct clone_source));
    clone->seeds = alloc_array((size_t)seed_count + 1, sizeof(struct device *));
    clone_add_source(clone, settings->target_path);
    for (uint32_t i = 0; i < seed_count; i++)
        clone_add_source(clone, settings->seed_paths[i]);
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
    for (uint32_t i = 0; i < clone->source_count; i++)
        if (clone->sources[i].scan)
            scan_stop(clone->sources[i].scan);
    if (clone->transfer)
        transfer_cancel(clone->transfer);
    if (clone->verify)
        verify_stop(clone->verify);
    if (clone->table_fetch) {
        clone->table_fetch = fetch_cancel(clone->table_fetch);
        clone_end(clone);
    }
}

struct clone *clone_free(struct clone *clone)
{
    if (!clone)
        return NULL;
    for (uint32_t i = 0; i < clone->source_count; i++) {
        device_close(clone->sources[i].device);
        free(clone->sources[i].path);
    }
    plan_free(clone->plan);
    chunk_index_free(clone->index);
    chunk_table_free(clone->table);
    free(clone->table_data);
    free(clone->table_url);
    free(clone->places);
    free(clone->kept);
    free(clone->seeds);
    free(clone->sources);
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
    return clone->table;
}

bool clone_get_sha256(const struct clone *clone, uint8_t ret_sha256[DIGEST_SHA256_SIZE])
{
    if (clone->is_proved)
        memcpy(ret_sha256, clone->sha256, sizeof(clone->sha256));
    return clone->is_proved;
}

struct device *clone_take_target(struct clone *clone)
{
    struct device *target = clone->sources[0].device;

    assert(clone->phase == CLONE_PHASE_FINISHED && !clone->stopping && !clone->settings.plan_only);
    clone->sources[0].device = NULL;
    return target;
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
