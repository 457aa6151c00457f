/* SPDX-License-Identifier: MIT */
#include "common/sinter/outline_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/container.h"
#include "common/sinter/table_room.h"

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
                         url_shown(outline->table_url));
    }
    if (!chunk_table_parse(data, size, manifest->file_size, &outline->table, error))
        return false;
    if (table_room_is_there(chunk_table_count(outline->table), error))
        return true;
    chunk_table_free(outline->table);
    outline->table = NULL;
    return false;
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
    if (!table_room_allows(manifest->chunk_count, outline->settings.chunks_max, error) ||
        !table_room_is_there(manifest->chunk_count, error))
        return false;
    uint32_t *hashes = calloc((size_t)manifest->chunk_count + 1, sizeof(uint32_t));
    if (!hashes)
        return error_set_errno(error, ENOMEM, "cannot hold a table of %" PRIu32 " chunks",
                               manifest->chunk_count);
    if (manifest->chunk_count)
        memcpy(hashes, manifest->chunk_hashes, manifest->chunk_count * sizeof(uint32_t));
    outline->table =
        chunk_table_new_fixed(hashes, manifest->chunk_count, manifest->chunk_size, manifest->last_chunk_size);
    return true;
}

/* What follows from the table: the index of chunks, what the source that was cut holds, and the patches. */
static void outline_run_follow_table(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);
    const struct outline_settings *settings = &outline->settings;

    outline->index = chunk_index_new(outline->table);
    sources_expect(settings->sources, outline->table, outline->index);
    /* The target must be scanned in any case, for chunks in place; with fixed chunks every source must be. */
    if (outline->rows.count && settings->source_number != 0 && chunk_table_is_content_defined(outline->table))
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

/* Fixed chunks are known by XXH32 only, so they are no help where a signature is demanded: the outline ends.
 * The table on the server may belong to a newer release, so reading the manifest again may help, unless the
 * server was only busy. */
static void outline_miss_table(struct outline *outline, const struct error *why)
{
    struct error error;

    if (why)
        error = *why;
    else
        error_set(&error, ERROR_REFUSED, "the manifest names none");
    /* REFUSED: the file is longer than the manifest says. */
    outline->overtaken =
        why && outline->fetch_outcome != HTTP_OUTCOME_TRANSIENT &&
        (why->kind == ERROR_MISMATCH || why->kind == ERROR_REMOTE || why->kind == ERROR_REFUSED);
    outline->lacking =
        outline->overtaken && outline->fetch_outcome == HTTP_OUTCOME_FAILED && why->kind == ERROR_REMOTE;
    error_prefix(&error, "a signature is demanded, so nothing is done without the table of chunks");
    outline_end(outline, &error);
}

void outline_skip_table(struct outline *outline, const struct error *error)
{
    if (error && outline_is_put_off(outline)) {
        outline_end(outline, error);
        return;
    }
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

void outline_make_table(struct outline *outline)
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

static void outline_on_table_fetched(void *owner, char *body, size_t size, enum http_outcome outcome,
                                     const struct error *error)
{
    struct outline *outline = owner;
    struct error wrong;

    outline->fetch_outcome = outcome;
    outline->overhead.table_bytes += size;
    if (!error && size != outline_manifest(outline)->chunks.size_bytes) {
        error_set(&wrong, ERROR_MISMATCH, "%s is not the table of chunks that its manifest names",
                  url_shown(outline->table_url));
        free(body);
        body = NULL;
        error = &wrong;
    }
    outline->fetch = NULL;
    outline_on_table(outline, (uint8_t *)body, error);
}

void outline_fetch_table(struct outline *outline)
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
