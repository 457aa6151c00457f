/* SPDX-License-Identifier: MIT */
#include "common/sinter/clone_private.h"

#include "common/base/alloc.h"
#include "common/base/container.h"

void clone_run_open(struct pool_job *job)
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

static void clone_on_outline_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    clone_on_retry(owner, 0, error, wait_ms);
}

/* Every source is read once; a target that is both cut and scanned is added again in clone_on_cutting(). */
static void clone_count_scan(struct clone *clone)
{
    if (clone->progress.scan_total == 0)
        for (uint32_t i = 0; i < sources_count(clone->sources); i++)
            clone->progress.scan_total += sources_scan_bytes(clone->sources, i);
}

/* What the patches may need to be read is counted from the start, so that a progress bar does not go back
 * later. */
void clone_count_judging(struct clone *clone)
{
    if (outline_patches(clone->outline))
        clone->progress.scan_total += patch_judge_total(outline_patches(clone->outline));
}

static void clone_on_cutting(void *owner, uint64_t total_bytes)
{
    struct clone *clone = owner;

    clone_count_scan(clone);
    if (outline_source(clone->outline) == 0)
        clone->progress.scan_total += total_bytes;
    if (clone->phase != CLONE_PHASE_SCANNING)
        clone_enter(clone, CLONE_PHASE_SCANNING);
}

void clone_on_scan_progress(void *owner, uint64_t bytes)
{
    ((struct clone *)owner)->progress.scan_bytes += bytes;
}

void clone_on_source_hashed(void *owner, uint32_t number, uint32_t xxh32)
{
    struct clone *clone = owner;

    if (clone->events->source_hashed)
        clone->events->source_hashed(clone->owner, number ? sources_path(clone->sources, number) : NULL,
                                     xxh32);
}

void clone_on_source_skipped(void *owner, const char *path, const struct error *error)
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

    clone->table_error = *error;
    if (clone->events->table_skipped)
        clone->events->table_skipped(clone->owner, error);
}

/* Patches that failed in an earlier clone of this release are not tried again. */
static bool *clone_take_failed(struct clone *clone, uint32_t patches)
{
    struct release_stock *stock = &clone->settings.release->stock;
    bool *failed = stock->patch_failed;

    if (patches == 0 || !failed || stock->failed_base != clone->base_number)
        return alloc_array(patches, sizeof(bool));
    stock->patch_failed = NULL;
    return failed;
}

static void clone_outlined(struct clone *clone)
{
    const struct chunk_table *table = outline_table(clone->outline);
    uint32_t patches =
        outline_patches(clone->outline) ? patch_list_count(outline_patches(clone->outline)) : 0;

    clone->settings.connections = transfer_connections(table, clone->settings.connections);
    clone->run_size_max = transfer_run_size_max(table, clone->settings.connections);
    clone->never_copy = alloc_array(chunk_table_count(table), sizeof(bool));
    clone->patch_failed = clone_take_failed(clone, patches);
    clone->source_number = outline_source(clone->outline);
    clone->patch_sources = alloc_array(patches, sizeof(uint8_t));
    clone_count_scan(clone);
    clone_count_judging(clone);
    /* A seed that was cut is scanned after all if some of it could not be read. */
    if (clone->phase == CLONE_PHASE_SCANNING && clone->source_number != 0 &&
        device_is_damaged(sources_device(clone->sources, clone->source_number), NULL))
        clone->progress.scan_total += sources_scan_bytes(clone->sources, clone->source_number);
    if (clone->phase != CLONE_PHASE_SCANNING)
        clone_enter(clone, CLONE_PHASE_SCANNING);
    if (clone->stopping) {
        clone_end(clone);
        return;
    }
    sources_scan(clone->sources, clone->settings.keep_verified_only, clone->settings.hash_sources);
}

/* The outline has the table (the first time), or later the frames. */
static void clone_on_outline(void *owner, const struct error *error)
{
    struct clone *clone = owner;

    clone->overtaken = outline_was_overtaken(clone->outline);
    clone->lacking = outline_lacks_file(clone->outline);
    if (error)
        clone_stop(clone, error);
    if (clone->stopping)
        clone_end(clone);
    else if (!clone->never_copy)
        clone_outlined(clone);
    else
        clone_make_plan(clone);
}

void clone_opened(struct clone *clone)
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
        .chunks_max = clone->settings.chunks_max,
        .keep_stock = clone->settings.keep_stock,
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

void clone_on_scanned(void *owner)
{
    struct clone *clone = owner;

    if (clone->stopping)
        clone_end(clone);
    else
        clone_judge(clone);
}
