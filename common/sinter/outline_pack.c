/* SPDX-License-Identifier: MIT */
#include "common/sinter/outline_private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/container.h"
#include "common/image/pack_section.h"

enum {
    /* Bytes that a section may unpack to here. The format allows for images of 200 GiB, this for about 25. */
    SECTION_UNPACKED_MAX = 32 * 1024 * 1024,
    /* A source may be twice as long as the image, so it may have twice as many rows, and so many more. */
    ROWS_SLACK = 64 * 1024,
};

void outline_skip_base(struct outline *outline, const struct error *error)
{
    if (outline_is_put_off(outline)) {
        outline_end(outline, error);
        return;
    }
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

static void outline_cut(struct outline *outline);

static void outline_run_unpack_index(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);
    const struct manifest *manifest = outline_manifest(outline);
    const struct manifest_base *base = outline_base(outline);

    outline->job_failed =
        !pack_section_unpack(&base->index, outline->section, "index", &outline->index_data,
                             &outline->job_error) ||
        !table_difference_parse(outline->index_data, base->index.unpacked, manifest->chunks.size_bytes,
                                base->size, &outline->difference, &outline->patches_at, &outline->job_error);
}

/* The section has been unpacked: keeps it in the stock, or frees it. What the stock had there is freed in any
 * case, as it may be another base's index. */
static void outline_stock_section(struct outline *outline, uint8_t **stock)
{
    free(*stock);
    *stock = NULL;
    if (outline->settings.keep_stock && !outline->job_failed)
        *stock = outline->section;
    else
        free(outline->section);
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

void outline_get_index(struct outline *outline)
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

static void outline_on_cut_progress(void *owner, uint64_t bytes)
{
    struct outline *outline = owner;

    outline->events->cut(outline->owner, bytes);
}

/* Makes the table's blocks from the source's rows, and notes which of them come out wrong. */
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

/* The source was cut. If it could not be read to its end, another source that may hold the base is cut
 * instead; without one the base is given up. */
static void outline_on_cut(void *owner, const struct error *error, uint32_t xxh32)
{
    struct outline *outline = owner;
    const struct outline_settings *settings = &outline->settings;
    struct error failure = {0};

    if (error)
        failure = *error;
    /* A source that could not be cut to its end is scanned like any other. */
    if (!error)
        outline->rows = cutting_take_rows(outline->cutting);
    outline->cutting = cutting_free(outline->cutting); /* with the error */
    if (outline->stopping) {
        outline_end(outline, NULL);
        return;
    }
    if (failure.kind) {
        uint32_t next = sources_next_base(settings->sources, settings->source_number);
        if (next == PLAN_SOURCE_NONE) {
            outline_skip_base(outline, &failure);
            return;
        }
        outline->settings.source_number = next;
        outline_cut(outline);
        return;
    }
    if (settings->hash && settings->source_number != 0 &&
        !device_is_damaged(sources_device(settings->sources, settings->source_number), NULL))
        outline->events->hashed(outline->owner, settings->source_number, xxh32);
    outline->table_is_ours = true;
    outline_run_job(outline, outline_run_make_blocks, outline_blocks_made);
}

static void outline_cut(struct outline *outline)
{
    static const struct cutting_events events = {.progress = outline_on_cut_progress, .done = outline_on_cut};
    const struct outline_settings *settings = &outline->settings;
    uint64_t image_size = outline_manifest(outline)->file_size, base_size = outline_base(outline)->size;
    uint64_t scan_bytes = sources_scan_bytes(settings->sources, settings->source_number);
    /* A file that is mostly holes may be many times longer than its useful part. */
    uint64_t most = base_size > image_size ? base_size : image_size;
    const struct cutting_settings cutting = {
        .device = sources_device(settings->sources, settings->source_number),
        .size_bytes = scan_bytes / 2 > most ? most * 2 : scan_bytes,
        .average = table_difference_average(outline->difference),
        .rows_max = 2 * table_difference_count(outline->difference) + ROWS_SLACK,
        .hash_bytes = settings->hash && settings->source_number != 0 ? image_size : 0,
    };

    outline->events->cutting(outline->owner, cutting.size_bytes);
    if (outline_is_stopping(outline))
        return;
    outline->cutting = cutting_start(settings->pool, &cutting, &events, outline);
}

static void outline_run_unpack_frames(struct pool_job *job)
{
    struct outline *outline = container_of(job, struct outline, job);
    const struct manifest_pack *pack = &outline_manifest(outline)->pack;
    uint8_t *unpacked = NULL;

    outline->job_failed =
        !pack_section_unpack(&pack->frames, outline->section, "frames", &unpacked, &outline->job_error) ||
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
        /* The manifest has the chunks fetched from the pack, so this is an error. A pack that changed or
         * vanished belongs to another release; one that is not there at all may be named by a manifest that
         * is out of date. Reading the manifest again may help in both cases. */
        outline->lacking = outline->fetch_outcome == HTTP_OUTCOME_FAILED && error->kind == ERROR_REMOTE;
        outline->overtaken = outline->lacking || outline->fetch_outcome == HTTP_OUTCOME_CHANGED;
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
