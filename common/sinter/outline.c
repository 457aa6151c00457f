/* SPDX-License-Identifier: MIT */
#include "common/sinter/outline.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/image/chunk_table.h"
#include "common/sinter/outline_private.h"
#include "common/sinter/table_room.h"

static void outline_begin(struct outline *outline);

const struct manifest *outline_manifest(const struct outline *outline)
{
    return outline->settings.release->manifest;
}

const struct manifest_base *outline_base(const struct outline *outline)
{
    return &outline_manifest(outline)->pack.bases[outline->settings.base_number];
}

void outline_end(struct outline *outline, const struct error *error)
{
    struct error cancelled;

    outline->active = false;
    if (outline->stopping) {
        error_set(&cancelled, ERROR_CANCELLED, "the update was cancelled");
        error = &cancelled;
    }
    outline->events->done(outline->owner, error);
}

static void outline_job_done(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);

    if (outline->stopping)
        outline_end(outline, NULL);
    else
        outline->job_next(outline);
}

void outline_run_job(struct outline *outline, pool_run_fn run, void (*next)(struct outline *outline))
{
    outline->job = (struct pool_job){.run = run, .done = outline_job_done};
    outline->job_next = next;
    outline->job_failed = false;
    pool_submit(outline->settings.pool, &outline->job);
}

static void outline_on_turn(void *owner)
{
    struct outline *outline = owner;

    if (outline->stopping)
        outline_end(outline, NULL);
    else
        outline_begin(outline);
}

bool outline_is_stopping(struct outline *outline)
{
    if (outline->stopping)
        later_call(outline->turn);
    return outline->stopping;
}

bool outline_is_put_off(const struct outline *outline)
{
    return outline->fetch_outcome == HTTP_OUTCOME_TRANSIENT &&
           http_wish_ms(outline->settings.http) > outline->settings.give_up_ms;
}

void outline_on_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct outline *outline = owner;

    outline->events->retry(outline->owner, error, wait_ms);
}

static void outline_on_fetched(void *owner, char *body, size_t size, enum http_outcome outcome,
                               const struct error *error)
{
    struct outline *outline = owner;

    outline->fetch_outcome = outcome;
    outline->fetch = NULL;
    outline->fetched(outline, (uint8_t *)body, error);
}

static const struct fetch_events fetch_events = {.retry = outline_on_retry, .done = outline_on_fetched};

bool outline_fetch_range(struct outline *outline, const struct url *url, uint64_t offset, size_t size,
                         uint64_t total_size,
                         void (*fetched)(struct outline *, uint8_t *, const struct error *),
                         struct error *error)
{
    const struct outline_settings *settings = &outline->settings;

    if (outline_is_stopping(outline))
        return true;
    outline->fetched = fetched;
    outline->fetch = fetch_start_range(settings->base, settings->http, url, offset, size, total_size,
                                       settings->give_up_ms, &fetch_events, outline);
    if (!outline->fetch)
        return error_set_errno(error, ENOMEM, "cannot hold %zu bytes of %s", size, url_shown(url));
    outline->overhead.requests++;
    return true;
}

struct outline *outline_new(const struct outline_settings *settings, const struct outline_events *events,
                            void *owner)
{
    struct outline *outline = alloc_zeroed(sizeof(*outline));

    outline->settings = *settings;
    outline->events = events;
    outline->owner = owner;
    outline->turn = later_new(settings->base, outline_on_turn, outline);
    return outline;
}

/* Chooses where the table comes from: stock, pack or server. Called on the loop, never inside
 * outline_start(). */
static void outline_begin(struct outline *outline)
{
    struct release *release = outline->settings.release;
    const struct manifest *manifest = release->manifest;
    struct error error;

    if (!manifest->chunks.present) {
        outline_skip_table(outline, NULL);
        return;
    }
    if (!url_refer(release->manifest_url, manifest->chunks.url, &outline->table_url, &error)) {
        error_prefix(&error, "the table of chunks that %s refers to", url_shown(release->manifest_url));
        outline_skip_table(outline, &error);
        return;
    }
    /* Refuse a table that is too large before it is fetched. */
    uint64_t chunks = (manifest->chunks.size_bytes - CHUNK_TABLE_HEADER_SIZE) / CHUNK_TABLE_ROW_SIZE;
    if (!table_room_allows(chunks, outline->settings.chunks_max, &error)) {
        outline_skip_table(outline, &error);
        return;
    }
    outline->table_data = release->stock.table;
    release->stock.table = NULL;
    if (manifest->pack.present &&
        !url_refer(release->manifest_url, manifest->pack.url, &outline->pack_url, &error)) {
        outline_skip_base(outline, &error);
        return;
    }
    if (outline->pack_url && outline->settings.has_base)
        outline_get_index(outline);
    else if (outline->table_data)
        outline_make_table(outline);
    else
        outline_fetch_table(outline);
}

void outline_start(struct outline *outline)
{
    outline->active = true;
    later_call(outline->turn);
}

void outline_cancel(struct outline *outline)
{
    if (!outline->active || outline->stopping)
        return;
    outline->stopping = true;
    if (outline->cutting)
        cutting_stop(outline->cutting);
    if (outline->fetch) {
        outline->fetch = fetch_cancel(outline->fetch);
        later_call(outline->turn);
    }
}

/* While it was in use the table was not in the stock, so that memory holds it only once. */
void outline_leave_table(struct outline *outline)
{
    struct release_stock *stock = &outline->settings.release->stock;

    if (!outline->settings.keep_stock || !outline->table || !chunk_table_is_content_defined(outline->table))
        return;
    free(stock->table);
    stock->table = chunk_table_take_data(outline->table);
}

struct outline *outline_free(struct outline *outline)
{
    if (!outline)
        return NULL;
    fetch_cancel(outline->fetch);
    later_free(outline->turn);
    url_free(outline->table_url);
    url_free(outline->pack_url);
    free(outline->section);
    table_difference_free(outline->difference);
    free(outline->index_data);
    free(outline->rows.offsets);
    free(outline->rows.rows);
    free(outline->missing);
    free(outline->table_data);
    patch_list_free(outline->patches);
    frame_index_free(outline->frames);
    chunk_index_free(outline->index);
    chunk_table_free(outline->table);
    free(outline);
    return NULL;
}

const struct chunk_table *outline_table(const struct outline *outline)
{
    return outline->table;
}

const struct chunk_index *outline_index(const struct outline *outline)
{
    return outline->index;
}

const struct patch_list *outline_patches(const struct outline *outline)
{
    return outline->patches;
}

uint32_t outline_source(const struct outline *outline)
{
    return outline->settings.source_number;
}

bool outline_has_frames(const struct outline *outline)
{
    return outline->pack_url && outline_manifest(outline)->pack.has_frames &&
           chunk_table_is_content_defined(outline->table);
}

const struct frame_index *outline_frames(const struct outline *outline)
{
    return outline->frames;
}

const struct url *outline_pack_url(const struct outline *outline)
{
    return outline->pack_url;
}

bool outline_was_overtaken(const struct outline *outline)
{
    return outline->overtaken;
}

bool outline_lacks_file(const struct outline *outline)
{
    return outline->lacking;
}

struct plan_overhead outline_overhead(const struct outline *outline)
{
    return outline->overhead;
}
