/* SPDX-License-Identifier: MIT */
#include "common/sinter/clone_set.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/sinter/table_room.h"

struct image {
    struct clone_set *set;
    const struct clone_set_image *settings;
    struct clone *clone;   /* NULL before its turn to be planned */
    bool is_over;          /* its `done` was called */
    struct device *target; /* whole, and held; NULL if it is not, or was taken */
};

struct clone_set {
    struct event_base *base;
    struct http *http;
    struct pool *pool;
    struct clone_set_settings settings;
    const struct clone_set_events *events;
    void *owner;
    struct image images[CLONE_SET_IMAGES_MAX];
    unsigned running; /* clones whose `done` is to come */
    struct plan_totals totals;
    struct clone_progress progress;
    bool overtaken, lacking, misread;
    bool stopping; /* cancelled, or an image failed */
    struct error error;
    struct pool_job job;
};

static void add_totals(struct plan_totals *sum, const struct plan_totals *totals)
{
    sum->image_bytes += totals->image_bytes;
    sum->chunks_kept += totals->chunks_kept;
    sum->chunks_copied += totals->chunks_copied;
    sum->chunks_patched += totals->chunks_patched;
    sum->chunks_fetched += totals->chunks_fetched;
    sum->bytes_kept += totals->bytes_kept;
    sum->bytes_copied += totals->bytes_copied;
    sum->bytes_patched += totals->bytes_patched;
    sum->bytes_fetched += totals->bytes_fetched;
    sum->chunk_bytes += totals->chunk_bytes;
    sum->patch_bytes += totals->patch_bytes;
    sum->gap_bytes += totals->gap_bytes;
    sum->table_bytes += totals->table_bytes;
    sum->section_bytes += totals->section_bytes;
    sum->manifest_bytes += totals->manifest_bytes;
    sum->requests += totals->requests;
    sum->requests_before += totals->requests_before;
    sum->cycles_broken += totals->cycles_broken;
}

static void add_progress(struct clone_progress *sum, const struct clone_progress *progress)
{
    sum->scan_bytes += progress->scan_bytes;
    sum->scan_total += progress->scan_total;
    sum->image_bytes += progress->image_bytes;
    sum->bytes_kept += progress->bytes_kept;
    sum->bytes_copied += progress->bytes_copied;
    sum->bytes_patched += progress->bytes_patched;
    sum->bytes_fetched += progress->bytes_fetched;
    sum->bytes_written += progress->bytes_written;
    sum->bytes_verified += progress->bytes_verified;
    sum->bytes_received += progress->bytes_received;
    sum->bytes_planned += progress->bytes_planned;
    sum->requests += progress->requests;
    sum->retries += progress->retries;
}

/* --- how it ends --- */

/* Targets that are whole do not count without the others. Closing a block device may take long. */
static void run_close(struct pool_job *job)
{
    struct clone_set *set = container_of(job, struct clone_set, job);

    for (unsigned i = 0; i < set->settings.count; i++)
        set->images[i].target = device_close(set->images[i].target);
}

static void closed(struct pool_job *job)
{
    struct clone_set *set = container_of(job, struct clone_set, job);

    set->events->done(set->owner, &set->error);
}

static void end_failed(struct clone_set *set)
{
    set->job = (struct pool_job){.run = run_close, .done = closed};
    pool_submit(set->pool, &set->job);
}

/* The first error counts. What else is under way ends, too. */
static void stop(struct clone_set *set, const struct error *error)
{
    if (set->stopping)
        return;
    set->stopping = true;
    set->error = *error;
    for (unsigned i = 0; i < set->settings.count; i++)
        if (set->images[i].clone && !set->images[i].is_over)
            clone_cancel(set->images[i].clone);
}

/* --- one image after the other --- */

static void start_image(struct clone_set *set, unsigned number);

/* Whether it is the last one; else its successor is planned, or made. */
static bool is_last(const struct image *image)
{
    return image == &image->set->images[image->set->settings.count - 1];
}

static void on_phase(void *owner, enum clone_phase phase)
{
    struct image *image = owner;

    /* Between two images nothing ends. */
    if (image->set->events->phase && phase < CLONE_PHASE_CLOSING)
        image->set->events->phase(image->set->owner, phase);
}

/* What is told from now on is of this image. */
static void tell_image(struct image *image)
{
    if (image->set->events->image)
        image->set->events->image(image->set->owner, image->settings, image->clone);
}

/* Makes an image whose plan waits. */
static void make_image(struct image *image)
{
    tell_image(image);
    clone_go_on(image->clone);
}

static void on_planned(void *owner, const struct plan *plan)
{
    struct image *image = owner;
    struct clone_set *set = image->set;

    add_totals(&set->totals, plan_totals(plan));
    if (set->events->image_planned)
        set->events->image_planned(set->owner, plan);
    if (set->events->planned && is_last(image))
        set->events->planned(set->owner, &set->totals);
    if (set->stopping || set->settings.plan_only || set->settings.count == 1)
        return;
    if (is_last(image))
        make_image(&set->images[0]);
    else
        start_image(set, (unsigned)(image - set->images) + 1);
}

static void on_chunks(void *owner, enum clone_fate fate, uint32_t first, uint32_t count, uint64_t bytes)
{
    struct image *image = owner;

    if (image->set->events->chunks)
        image->set->events->chunks(image->set->owner, fate, first, count, bytes);
}

static void on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    struct image *image = owner;

    if (image->set->events->retry)
        image->set->events->retry(image->set->owner, chunk, error, wait_ms);
}

static void on_seed_skipped(void *owner, const char *path, const struct error *error)
{
    struct image *image = owner;

    if (image->set->events->seed_skipped)
        image->set->events->seed_skipped(image->set->owner, path, error);
}

static void on_pack_skipped(void *owner, const struct error *error)
{
    struct image *image = owner;

    if (image->set->events->pack_skipped)
        image->set->events->pack_skipped(image->set->owner, image->settings->name, error);
}

static void on_table_skipped(void *owner, const struct error *error)
{
    struct image *image = owner;

    if (image->set->events->table_skipped)
        image->set->events->table_skipped(image->set->owner, image->settings->name, error);
}

static void on_source_hashed(void *owner, const char *path, uint32_t xxh32)
{
    struct image *image = owner;

    if (image->set->events->source_hashed)
        image->set->events->source_hashed(image->set->owner, path, xxh32);
}

static void on_read_back_cached(void *owner, const struct error *why)
{
    struct image *image = owner;

    if (image->set->events->read_back_cached)
        image->set->events->read_back_cached(image->set->owner, why);
}

static void on_read_back(void *owner, uint32_t xxh32)
{
    struct image *image = owner;

    if (image->set->events->read_back)
        image->set->events->read_back(image->set->owner, xxh32);
}

static void note_failure(struct image *image, const struct error *error)
{
    struct clone_set *set = image->set;
    struct error named = *error;

    if (set->stopping)
        return;
    set->overtaken = clone_was_overtaken(image->clone);
    set->lacking = clone_lacks_file(image->clone);
    set->misread = error->kind == ERROR_MISMATCH && clone_progress(image->clone)->bytes_verified;
    if (set->settings.count > 1)
        error_prefix(&named, "%s", image->settings->name);
    stop(set, &named);
}

static void on_done(void *owner, const struct error *error)
{
    struct image *image = owner;
    struct clone_set *set = image->set;

    image->is_over = true;
    set->running--;
    if (error)
        note_failure(image, error);
    else if (!set->settings.plan_only)
        image->target = clone_take_target(image->clone);
    /* A cancel that comes when the last image is whole is too late. */
    if (!error && is_last(image) && !set->running) {
        set->events->done(set->owner, NULL);
        return;
    }
    if (set->stopping) {
        if (!set->running)
            end_failed(set);
        return;
    }
    struct image *next = image + 1;
    if (set->settings.plan_only)
        start_image(set, (unsigned)(next - set->images));
    else
        make_image(next);
}

/* On a pool thread. */
static bool on_check_target(void *owner, int fd, struct error *error)
{
    const struct image *image = owner;

    return image->set->settings.check_target(image->set->owner, image->settings->name, fd, error);
}

static void start_image(struct clone_set *set, unsigned number)
{
    static const struct clone_events events = {
        .phase = on_phase,
        .planned = on_planned,
        .chunks = on_chunks,
        .retry = on_retry,
        .seed_skipped = on_seed_skipped,
        .pack_skipped = on_pack_skipped,
        .table_skipped = on_table_skipped,
        .source_hashed = on_source_hashed,
        .read_back_cached = on_read_back_cached,
        .read_back = on_read_back,
        .done = on_done,
    };
    struct image *image = &set->images[number];
    uint64_t memory_bytes = set->settings.memory_bytes / set->settings.count;
    const struct clone_settings settings = {
        .release = image->settings->release,
        .target_path = image->settings->target_path,
        .seed_paths = image->settings->seed_paths,
        .create_target = image->settings->create_target,
        .check_target = set->settings.check_target ? on_check_target : NULL,
        .plan_only = set->settings.plan_only,
        .wait_planned = set->settings.count > 1,
        .keep_stock = set->settings.keep_stock,
        .keep_verified_only = set->settings.keep_verified_only,
        .ignore_etag = set->settings.ignore_etag,
        .hash_sources = set->settings.hash_sources,
        .chunks_max =
            set->settings.any_table
                ? 0
                : table_room_chunks_max(image->settings->release->manifest->file_size, memory_bytes),
        .connections = set->settings.connections,
        .give_up_ms = set->settings.give_up_ms,
        .patient = set->settings.patient,
    };

    image->clone = clone_new(set->base, set->http, set->pool, &settings, &events, image);
    set->running++;
    tell_image(image);
    clone_start(image->clone);
}

/* --- what others ask of it --- */

struct clone_set *clone_set_new(struct event_base *base, struct http *http, struct pool *pool,
                                const struct clone_set_settings *settings,
                                const struct clone_set_events *events, void *owner)
{
    struct clone_set *set = alloc_zeroed(sizeof(*set));

    assert(settings->count > 0 && settings->count <= CLONE_SET_IMAGES_MAX);
    set->base = base;
    set->http = http;
    set->pool = pool;
    set->settings = *settings;
    set->events = events;
    set->owner = owner;
    for (unsigned i = 0; i < settings->count; i++)
        set->images[i] = (struct image){.set = set, .settings = &set->settings.images[i]};
    return set;
}

void clone_set_start(struct clone_set *set)
{
    start_image(set, 0);
}

void clone_set_cancel(struct clone_set *set)
{
    struct error error;

    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    stop(set, &error);
}

void clone_set_leave_stock(struct clone_set *set)
{
    for (unsigned i = 0; i < set->settings.count; i++)
        if (set->images[i].clone)
            clone_leave_stock(set->images[i].clone);
}

struct clone_set *clone_set_free(struct clone_set *set)
{
    if (!set)
        return NULL;
    for (unsigned i = 0; i < set->settings.count; i++) {
        device_close(set->images[i].target);
        clone_free(set->images[i].clone);
    }
    free(set);
    return NULL;
}

const struct clone_progress *clone_set_progress(struct clone_set *set)
{
    set->progress = (struct clone_progress){0};
    for (unsigned i = 0; i < set->settings.count; i++)
        if (set->images[i].clone)
            add_progress(&set->progress, clone_progress(set->images[i].clone));
    return &set->progress;
}

double clone_set_percent(const struct clone_set *set)
{
    double done = 0, total = 0;

    for (unsigned i = 0; i < set->settings.count; i++) {
        const struct image *image = &set->images[i];
        double bytes = (double)image->settings->release->manifest->file_size;
        done += image->clone ? bytes * clone_progress_percent(clone_progress(image->clone)) : 0;
        total += bytes;
    }
    return total > 0 ? done / total : 0;
}

bool clone_set_was_overtaken(const struct clone_set *set)
{
    return set->overtaken;
}

bool clone_set_lacks_file(const struct clone_set *set)
{
    return set->lacking;
}

bool clone_set_was_misread(const struct clone_set *set)
{
    return set->misread;
}

bool clone_set_get_sha256(const struct clone_set *set, unsigned image, uint8_t ret_sha256[DIGEST_SHA256_SIZE])
{
    return clone_get_sha256(set->images[image].clone, ret_sha256);
}

struct device *clone_set_take_target(struct clone_set *set, unsigned image)
{
    struct device *target = set->images[image].target;

    set->images[image].target = NULL;
    return target;
}
