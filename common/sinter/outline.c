#include "common/sinter/outline.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/image/table_difference.h"
#include "common/image/zstd_frame.h"
#include "common/sinter/cutting.h"
#include "common/sinter/fetch.h"

enum {
    /* Bytes that a section may unpack to here. The format allows for images of 200 GiB, this for some 25. */
    SECTION_UNPACKED_MAX = 32 * 1024 * 1024,
    /* Rows that are expected of a source at most: twice the image's, as a source may be twice as long. */
    ROWS_SLACK = 64 * 1024,
};

/* Neighbouring blocks of the table that the source did not give. */
struct missing_range {
    uint64_t offset; /* in IMAGE.chunks */
    uint32_t size;   /* bytes */
};

struct outline {
    struct outline_settings settings;
    const struct outline_events *events;
    void *owner;
    char *table_url, *pack_url;
    struct plan_overhead overhead;

    /* One thing is under way at a time. */
    struct fetch *fetch;
    void (*fetched)(struct outline *outline, uint8_t *data, const struct error *error);
    struct cutting *cutting;
    struct pool_job job;
    bool job_failed;
    void (*job_next)(struct outline *outline);
    struct error job_error;
    bool active; /* started and not done */
    bool stopping;

    uint8_t *section;    /* as it came */
    uint8_t *index_data; /* unpacked */
    struct table_difference *difference;
    size_t patches_at; /* in index_data */
    struct table_rows rows;
    struct missing_range *missing;
    uint32_t missing_count, missing_next;

    uint8_t *table_data; /* IMAGE.chunks, not yet parsed */
    bool table_is_ours;  /* made from a difference, not fetched whole */
    struct chunk_table *table;
    struct chunk_index *index;
    struct patch_list *patches;
    struct frame_index *frames;
    bool overtaken;
};

static const struct manifest *outline_manifest(const struct outline *outline)
{
    return outline->settings.release->manifest;
}

static const struct manifest_base *outline_base(const struct outline *outline)
{
    return &outline_manifest(outline)->pack.bases[outline->settings.base_number];
}

static void outline_end(struct outline *outline, const struct error *error)
{
    struct error cancelled;

    outline->active = false;
    if (outline->stopping) {
        error_set(&cancelled, ERROR_CANCELLED, "the update was cancelled");
        error = &cancelled;
    }
    outline->events->done(outline->owner, error);
}

/* ---- jobs and fetches ---- */

static void outline_job_done(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);

    if (outline->stopping)
        outline_end(outline, NULL);
    else
        outline->job_next(outline);
}

/* Runs `run` on a thread, then `next` on the loop; `run` sets job_failed and job_error where it fails. */
static void outline_run_job(struct outline *outline, pool_run_fn run, void (*next)(struct outline *outline))
{
    outline->job = (struct pool_job){.run = run, .done = outline_job_done};
    outline->job_next = next;
    outline->job_failed = false;
    pool_submit(outline->settings.pool, &outline->job);
}

static void outline_run_nothing(struct pool_job *job)
{
}

/* After a cancel from within an event nothing new is begun: the end comes by way of a job that does nothing.
 */
static bool outline_is_stopping(struct outline *outline)
{
    if (outline->stopping)
        outline_run_job(outline, outline_run_nothing, NULL);
    return outline->stopping;
}

static void outline_on_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct outline *outline = owner;

    outline->events->retry(outline->owner, error, wait_ms);
}

static void outline_on_fetched(void *owner, char *body, size_t size, const struct error *error)
{
    struct outline *outline = owner;

    outline->fetch = NULL;
    outline->fetched(outline, (uint8_t *)body, error);
}

static const struct fetch_events fetch_events = {.retry = outline_on_retry, .done = outline_on_fetched};

/* Fetches a range, which `fetched` gets; false, with an error, where there is no memory for it. */
static bool outline_fetch_range(struct outline *outline, const char *url, uint64_t offset, size_t size,
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
        return error_set_errno(error, ENOMEM, "cannot hold %zu bytes of %s", size, url);
    outline->overhead.requests++;
    return true;
}

/* ---- sections of the pack ---- */

/* Checks and unpacks a section; the bytes are the caller's. On a thread. */
static bool unpack_section(const struct manifest_section *section, const uint8_t *data, const char *what,
                           uint8_t **ret_unpacked, struct error *error)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];

    digest_sha256(data, section->size, sha256);
    if (memcmp(sha256, section->sha256, sizeof(sha256)) != 0)
        return error_set(error, ERROR_MISMATCH,
                         "the pack's %s is not what its manifest names; publish the pack before the manifest",
                         what);
    uint8_t *unpacked = malloc(section->unpacked ? section->unpacked : 1);
    struct zstd_unpacker *unpacker = zstd_unpacker_new();
    bool ok = unpacked && unpacker;
    if (!ok)
        error_set_errno(error, ENOMEM, "cannot hold the pack's %s", what);
    else if (zstd_unpack(unpacker, NULL, 0, data, section->size, unpacked, section->unpacked) < 0)
        ok = error_set(error, ERROR_FORMAT, "the pack's %s does not unpack to what the manifest says", what);
    zstd_unpacker_free(unpacker);
    if (ok)
        *ret_unpacked = unpacked;
    else
        free(unpacked);
    return ok;
}

static void outline_fetch_table(struct outline *outline);
static void outline_make_table(struct outline *outline);
static void outline_cut(struct outline *outline);

/* Goes on without the base: the table comes whole, chunks come as they are. */
static void outline_skip_base(struct outline *outline, const struct error *error)
{
    outline->events->pack_skipped(outline->owner, error);
    outline->settings.has_base = false;
    outline->difference = table_difference_free(outline->difference);
    if (outline->table_is_ours) {
        free(outline->table_data);
        outline->table_data = NULL;
    }
    if (outline->table_data)
        outline_make_table(outline);
    else
        outline_fetch_table(outline);
}

static void outline_run_unpack_index(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);
    const struct manifest *manifest = outline_manifest(outline);
    const struct manifest_base *base = outline_base(outline);

    outline->job_failed =
        !unpack_section(&base->index, outline->section, "index", &outline->index_data, &outline->job_error) ||
        !table_difference_parse(outline->index_data, base->index.unpacked, manifest->chunks.size_bytes,
                                base->size, &outline->difference, &outline->patches_at, &outline->job_error);
}

/* The section has been used; a look ahead leaves it to the install. */
static void outline_stock_section(struct outline *outline, uint8_t **stock)
{
    if (outline->settings.keep_stock && !outline->job_failed) {
        free(*stock);
        *stock = outline->section;
    } else {
        free(outline->section);
    }
    outline->section = NULL;
}

static void outline_index_unpacked(struct outline *outline)
{
    struct release_stock *stock = &outline->settings.release->stock;

    stock->base = outline->settings.base_number;
    outline_stock_section(outline, &stock->index);
    if (outline->job_failed)
        outline_skip_base(outline, &outline->job_error);
    else if (outline->table_data)
        outline_make_table(outline);
    else
        outline_cut(outline);
}

static void outline_on_index(struct outline *outline, uint8_t *data, const struct error *error)
{
    if (error) {
        outline_skip_base(outline, error);
        return;
    }
    outline->section = data;
    outline->overhead.section_bytes += outline_base(outline)->index.size;
    outline_run_job(outline, outline_run_unpack_index, outline_index_unpacked);
}

static void outline_get_index(struct outline *outline)
{
    struct release_stock *stock = &outline->settings.release->stock;
    const struct manifest_section *section = &outline_base(outline)->index;
    struct error error;

    if (section->unpacked > SECTION_UNPACKED_MAX) {
        error_set(&error, ERROR_REFUSED, "the pack's index has %" PRIu32 " bytes, more than are taken here",
                  section->unpacked);
        outline_skip_base(outline, &error);
        return;
    }
    if (stock->index && stock->base == outline->settings.base_number) {
        outline->section = stock->index;
        stock->index = NULL;
        outline_run_job(outline, outline_run_unpack_index, outline_index_unpacked);
        return;
    }
    if (!outline_fetch_range(outline, outline->pack_url, section->offset, section->size,
                             outline_manifest(outline)->pack.size, outline_on_index, &error))
        outline_skip_base(outline, &error);
}

/* ---- the table from its difference ---- */

static void outline_on_cut_progress(void *owner, uint64_t bytes)
{
    struct outline *outline = owner;

    outline->events->cut(outline->owner, bytes);
}

/* Makes the table's blocks, and notes those that do not come out. */
static void outline_run_make_blocks(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);
    const struct table_difference *difference = outline->difference;
    uint32_t blocks = table_difference_blocks(difference);
    uint64_t end = 0;

    outline->table_data = malloc(outline_manifest(outline)->chunks.size_bytes);
    outline->missing = calloc(blocks ? blocks : 1, sizeof(outline->missing[0]));
    if (!outline->table_data || !outline->missing) {
        error_set_errno(&outline->job_error, ENOMEM, "cannot hold the table of chunks");
        outline->job_failed = true;
        return;
    }
    chunk_table_write_header(outline->table_data, table_difference_average(difference),
                             table_difference_count(difference));
    for (uint32_t block = 0; block < blocks; block++) {
        uint64_t offset =
            CHUNK_TABLE_HEADER_SIZE + (uint64_t)block * TABLE_DIFFERENCE_BLOCK_ROWS * CHUNK_TABLE_ROW_SIZE;
        uint32_t size = table_difference_block_rows(difference, block) * CHUNK_TABLE_ROW_SIZE;
        if (table_difference_make_block(difference, block, &outline->rows, outline->table_data + offset))
            continue;
        if (outline->missing_count > 0 && end == offset)
            outline->missing[outline->missing_count - 1].size += size;
        else
            outline->missing[outline->missing_count++] =
                (struct missing_range){.offset = offset, .size = size};
        end = offset + size;
    }
}

static void outline_get_missing(struct outline *outline);

static void outline_on_missing(struct outline *outline, uint8_t *data, const struct error *error)
{
    const struct missing_range *range = &outline->missing[outline->missing_next++];

    if (error) {
        outline_skip_base(outline, error);
        return;
    }
    memcpy(outline->table_data + range->offset, data, range->size);
    free(data);
    outline->overhead.table_bytes += range->size;
    outline_get_missing(outline);
}

static void outline_get_missing(struct outline *outline)
{
    struct error error;

    if (outline->missing_next == outline->missing_count) {
        outline_make_table(outline);
        return;
    }
    const struct missing_range *range = &outline->missing[outline->missing_next];
    if (outline_fetch_range(outline, outline->table_url, range->offset, range->size,
                            outline_manifest(outline)->chunks.size_bytes, outline_on_missing, &error))
        return;
    outline_skip_base(outline, &error);
}

static void outline_blocks_made(struct outline *outline)
{
    if (outline->job_failed) {
        outline_end(outline, &outline->job_error);
        return;
    }
    outline_get_missing(outline);
}

static void outline_on_cut(void *owner, const struct error *error, uint32_t xxh32)
{
    struct outline *outline = owner;
    const struct outline_settings *settings = &outline->settings;
    struct error failure = {0};

    if (error)
        failure = *error;
    outline->rows = cutting_take_rows(outline->cutting);
    outline->cutting = cutting_free(outline->cutting); /* with the error */
    if (outline->stopping) {
        outline_end(outline, NULL);
        return;
    }
    if (failure.kind) {
        outline_skip_base(outline, &failure);
        return;
    }
    if (settings->hash && settings->source_number != 0)
        outline->events->hashed(outline->owner, settings->source_number, xxh32);
    outline->table_is_ours = true;
    outline_run_job(outline, outline_run_make_blocks, outline_blocks_made);
}

static void outline_cut(struct outline *outline)
{
    static const struct cutting_events events = {.progress = outline_on_cut_progress, .done = outline_on_cut};
    const struct outline_settings *settings = &outline->settings;
    const struct cutting_settings cutting = {
        .device = sources_device(settings->sources, settings->source_number),
        .size_bytes = sources_scan_bytes(settings->sources, settings->source_number),
        .average = table_difference_average(outline->difference),
        .rows_max = 2 * table_difference_count(outline->difference) + ROWS_SLACK,
        .hash_bytes =
            settings->hash && settings->source_number != 0 ? outline_manifest(outline)->file_size : 0,
    };

    outline->events->cutting(outline->owner, cutting.size_bytes);
    if (outline_is_stopping(outline))
        return;
    outline->cutting = cutting_start(settings->pool, &cutting, &events, outline);
}

/* ---- the table ---- */

static bool parse_table(struct outline *outline, struct error *error)
{
    const struct manifest *manifest = outline_manifest(outline);
    uint8_t sha256[DIGEST_SHA256_SIZE], *data = outline->table_data;
    size_t size = (size_t)manifest->chunks.size_bytes;

    outline->table_data = NULL;
    digest_sha256(data, size, sha256);
    if (memcmp(sha256, manifest->chunks.sha256, sizeof(sha256)) != 0) {
        free(data);
        return error_set(error, ERROR_MISMATCH, "%s is not the table of chunks that its manifest names",
                         outline->table_url);
    }
    uint8_t *stock = outline->settings.keep_stock ? malloc(size) : NULL;
    if (stock)
        memcpy(stock, data, size);
    if (!chunk_table_parse(data, size, manifest->file_size, &outline->table, error)) {
        free(stock);
        return false;
    }
    free(outline->settings.release->stock.table);
    outline->settings.release->stock.table = stock;
    return true;
}

static bool make_fixed_table(struct outline *outline, struct error *error)
{
    const struct manifest *manifest = outline_manifest(outline);

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
    outline->table =
        chunk_table_new_fixed(hashes, manifest->chunk_count, manifest->chunk_size, manifest->last_chunk_size);
    return true;
}

/* What follows from the table: the index, what the cut source holds, and the patches. */
static void outline_run_follow_table(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);
    const struct outline_settings *settings = &outline->settings;

    outline->index = chunk_index_new(outline->table);
    sources_expect(settings->sources, outline->table, outline->index);
    /* The target is scanned all the same: for what stands in its place. */
    if (outline->rows.count && settings->source_number != 0)
        sources_add_rows(settings->sources, settings->source_number, &outline->rows);
    free(outline->rows.offsets);
    free(outline->rows.rows);
    outline->rows = (struct table_rows){0};
    outline->difference = table_difference_free(outline->difference);
    if (!settings->has_base || !chunk_table_is_content_defined(outline->table))
        return;
    const struct manifest_base *base = outline_base(outline);
    outline->job_failed = !patch_list_parse(
        outline->index_data + outline->patches_at, base->index.unpacked - outline->patches_at, outline->table,
        base, outline_manifest(outline)->pack.size, &outline->patches, &outline->job_error);
}

static void outline_followed(struct outline *outline)
{
    free(outline->index_data);
    outline->index_data = NULL;
    if (outline->job_failed)
        outline->events->pack_skipped(outline->owner, &outline->job_error);
    outline_end(outline, NULL);
}

static void outline_run_make_fixed_table(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);

    outline->job_failed = !make_fixed_table(outline, &outline->job_error);
}

static void outline_fixed_table_made(struct outline *outline)
{
    if (outline->job_failed)
        outline_end(outline, &outline->job_error);
    else
        outline_run_job(outline, outline_run_follow_table, outline_followed);
}

/* Fixed chunks are known by XXH32 only. Where a signature is demanded they do not serve; the table may be of
 * a newer release, so that reading the manifest again can help. */
static void outline_miss_table(struct outline *outline, const struct error *why)
{
    struct error error;

    if (why)
        error = *why;
    else
        error_set(&error, ERROR_REFUSED, "the manifest names none");
    /* REFUSED: it is longer than the manifest says. */
    outline->overtaken =
        why && (why->kind == ERROR_MISMATCH || why->kind == ERROR_REMOTE || why->kind == ERROR_REFUSED);
    error_prefix(&error, "a signature is demanded, so nothing is done without the table of chunks");
    outline_end(outline, &error);
}

/* No table of content-defined chunks: the fixed ones serve. `error` is NULL where none was to be expected. */
static void outline_skip_table(struct outline *outline, const struct error *error)
{
    if (outline->settings.release->verdict.sha256_only) {
        outline_miss_table(outline, error);
        return;
    }
    if (error)
        outline->events->table_skipped(outline->owner, error);
    outline_run_job(outline, outline_run_make_fixed_table, outline_fixed_table_made);
}

static void outline_run_parse_table(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);

    outline->job_failed = !parse_table(outline, &outline->job_error);
}

static void outline_table_parsed(struct outline *outline)
{
    if (!outline->job_failed)
        outline_run_job(outline, outline_run_follow_table, outline_followed);
    else if (outline->table_is_ours)
        outline_skip_base(outline, &outline->job_error);
    else
        outline_skip_table(outline, &outline->job_error);
}

static void outline_make_table(struct outline *outline)
{
    outline_run_job(outline, outline_run_parse_table, outline_table_parsed);
}

static void outline_on_table(struct outline *outline, uint8_t *data, const struct error *error)
{
    if (error) {
        outline_skip_table(outline, error);
        return;
    }
    outline->table_data = data;
    outline_make_table(outline);
}

static void outline_on_table_fetched(void *owner, char *body, size_t size, const struct error *error)
{
    struct outline *outline = owner;
    struct error wrong;

    outline->overhead.table_bytes += size;
    if (!error && size != outline_manifest(outline)->chunks.size_bytes) {
        error_set(&wrong, ERROR_MISMATCH, "%s is not the table of chunks that its manifest names",
                  outline->table_url);
        free(body);
        body = NULL;
        error = &wrong;
    }
    outline->fetch = NULL;
    outline_on_table(outline, (uint8_t *)body, error);
}

static void outline_fetch_table(struct outline *outline)
{
    static const struct fetch_events events = {.retry = outline_on_retry, .done = outline_on_table_fetched};
    const struct outline_settings *settings = &outline->settings;

    if (outline_is_stopping(outline))
        return;
    outline->table_is_ours = false;
    outline->overhead.requests++;
    outline->fetch = fetch_start(settings->base, settings->http, outline->table_url,
                                 (size_t)outline_manifest(outline)->chunks.size_bytes, settings->give_up_ms,
                                 &events, outline);
}

/* ---- the chunks' frames ---- */

static void outline_run_unpack_frames(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);
    const struct manifest_pack *pack = &outline_manifest(outline)->pack;
    uint8_t *unpacked = NULL;

    outline->job_failed =
        !unpack_section(&pack->frames, outline->section, "frames", &unpacked, &outline->job_error) ||
        !frame_index_parse(unpacked, pack->frames.unpacked, outline->table,
                           chunk_index_classes(outline->index), pack->size, &outline->frames,
                           &outline->job_error);
    free(unpacked);
}

static void outline_frames_unpacked(struct outline *outline)
{
    outline_stock_section(outline, &outline->settings.release->stock.frames);
    outline->overtaken = outline->job_failed && outline->job_error.kind == ERROR_MISMATCH;
    outline_end(outline, outline->job_failed ? &outline->job_error : NULL);
}

static void outline_on_frames(struct outline *outline, uint8_t *data, const struct error *error)
{
    if (error) {
        /* Nothing else has the chunks. Of another size, the pack is another one. */
        outline->overtaken = error->kind == ERROR_REMOTE;
        outline_end(outline, error);
        return;
    }
    outline->section = data;
    outline->overhead.section_bytes += outline_manifest(outline)->pack.frames.size;
    outline_run_job(outline, outline_run_unpack_frames, outline_frames_unpacked);
}

void outline_fetch_frames(struct outline *outline)
{
    struct release_stock *stock = &outline->settings.release->stock;
    const struct manifest_pack *pack = &outline_manifest(outline)->pack;
    struct error error;

    assert(outline_has_frames(outline) && !outline->frames);
    outline->active = true;
    if (stock->frames) {
        outline->section = stock->frames;
        stock->frames = NULL;
        outline_run_job(outline, outline_run_unpack_frames, outline_frames_unpacked);
        return;
    }
    if (pack->frames.unpacked > SECTION_UNPACKED_MAX)
        error_set(&error, ERROR_REFUSED, "the pack's frames have %" PRIu32 " bytes, more than are taken here",
                  pack->frames.unpacked);
    else if (outline_fetch_range(outline, outline->pack_url, pack->frames.offset, pack->frames.size,
                                 pack->size, outline_on_frames, &error))
        return;
    outline_end(outline, &error);
}

/* ---- outside ---- */

struct outline *outline_new(const struct outline_settings *settings, const struct outline_events *events,
                            void *owner)
{
    struct outline *outline = alloc_zeroed(sizeof(*outline));

    outline->settings = *settings;
    outline->events = events;
    outline->owner = owner;
    return outline;
}

/* On the loop, but never within outline_start(). */
static void outline_begin(struct outline *outline)
{
    struct release *release = outline->settings.release;
    const struct manifest *manifest = release->manifest;
    struct error error;

    if (!manifest->chunks.present) {
        outline_skip_table(outline, NULL);
        return;
    }
    if (!manifest_resolve_url(release->manifest_url, manifest->chunks.url, &outline->table_url, &error)) {
        CLEANUP_FREE char *shown = http_url_for_display(release->manifest_url);
        error_prefix(&error, "the table of chunks that %s refers to", shown);
        outline_skip_table(outline, &error);
        return;
    }
    outline->table_data = release->stock.table;
    release->stock.table = NULL;
    if (manifest->pack.present &&
        !manifest_resolve_url(release->manifest_url, manifest->pack.url, &outline->pack_url, &error)) {
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
    outline_run_job(outline, outline_run_nothing, outline_begin);
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
        outline_run_job(outline, outline_run_nothing, NULL);
    }
}

struct outline *outline_free(struct outline *outline)
{
    if (!outline)
        return NULL;
    fetch_cancel(outline->fetch);
    free(outline->table_url);
    free(outline->pack_url);
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

const char *outline_pack_url(const struct outline *outline)
{
    return outline->pack_url;
}

bool outline_was_overtaken(const struct outline *outline)
{
    return outline->overtaken;
}

struct plan_overhead outline_overhead(const struct outline *outline)
{
    return outline->overhead;
}
