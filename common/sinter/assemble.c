/* SPDX-License-Identifier: MIT */
#include "common/sinter/assemble.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/image/zstd_frame.h"

struct assembly {
    struct assemble_settings settings;
    struct zstd_unpacker *unpacker;
    uint8_t *spans, *output;
};

struct assembly *assembly_new(const struct assemble_settings *settings, const struct plan *plan)
{
    struct assembly *assembly = alloc_zeroed(sizeof(*assembly));
    uint32_t count, spans_size = 0,
                    output_size = settings->frames ? chunk_table_size_max(settings->table) : 0;
    const struct plan_run *runs = plan_runs(plan, &count);

    assembly->settings = *settings;
    for (uint32_t r = 0; r < count; r++) {
        if (runs[r].kind != PLAN_KIND_PATCH)
            continue;
        const struct patch *patch = patch_list_at(settings->patches, runs[r].patch);
        spans_size = patch->spans_size > spans_size ? patch->spans_size : spans_size;
        output_size = patch->output_size > output_size ? patch->output_size : output_size;
    }
    if (output_size == 0)
        return assembly;
    assembly->unpacker = zstd_unpacker_new();
    assembly->spans = malloc(spans_size ? spans_size : 1);
    assembly->output = malloc(output_size);
    if (!assembly->unpacker || !assembly->spans || !assembly->output)
        return assembly_free(assembly);
    return assembly;
}

struct assembly *assembly_free(struct assembly *assembly)
{
    if (!assembly)
        return NULL;
    zstd_unpacker_free(assembly->unpacker);
    free(assembly->spans);
    free(assembly->output);
    free(assembly);
    return NULL;
}

uint64_t assemble_fetch_offset(const struct assemble_settings *settings, uint32_t chunk)
{
    return settings->frames ? frame_index_offset(settings->frames, chunk)
                            : chunk_table_offset(settings->table, chunk);
}

uint32_t assemble_fetch_size(const struct assemble_settings *settings, uint32_t chunk)
{
    return settings->frames ? frame_index_size(settings->frames, chunk)
                            : chunk_table_size(settings->table, chunk);
}

/* Writes `size` proved bytes at `offset` of the target. */
static bool write_proved(const struct assemble_settings *settings, const uint8_t *data, uint64_t offset,
                         uint64_t size, struct error *error)
{
    if (size == 0)
        return true;
    if (!device_write_sparse(settings->target, data, (size_t)size, offset, error))
        return false;
    device_start_writeback(settings->target, offset, size);
    return true;
}

/* Proves the chunks of a run in `data` and writes those that are right; right neighbours go in one write. */
static bool prove_and_write(const struct assemble_settings *settings, const struct plan_run *run,
                            const uint8_t *data, uint8_t *ret_results, struct error *error)
{
    const struct chunk_table *table = settings->table;
    uint64_t start = chunk_table_offset(table, run->first), good_from = 0;

    for (uint32_t i = 0; i < run->count; i++) {
        uint32_t chunk = run->first + i;
        uint64_t at = chunk_table_offset(table, chunk) - start;
        ret_results[i] = settings->kept[chunk]                         ? ASSEMBLE_RESULT_PASSED
                         : chunk_table_proves(table, chunk, data + at) ? ASSEMBLE_RESULT_WRITTEN
                                                                       : ASSEMBLE_RESULT_BAD;
        if (ret_results[i] == ASSEMBLE_RESULT_WRITTEN)
            continue;
        if (!write_proved(settings, data + good_from, start + good_from, at - good_from, error))
            return false;
        good_from = at + chunk_table_size(table, chunk);
    }
    return write_proved(settings, data + good_from, start + good_from, run->size - good_from, error);
}

static const struct device *source_device(const struct assemble_settings *settings, uint32_t source)
{
    bool is_target = source == PLAN_SOURCE_TARGET || source == PLAN_SOURCE_WRITTEN;

    return is_target ? settings->target : settings->seeds[source - PLAN_SOURCE_SEED_FIRST];
}

/* Reads what a run copies. An unreadable block costs only its chunk, which is filled with zeros: that proves
 * right only if the chunk is all zeros. */
static void read_copied(const struct assemble_settings *settings, const struct plan_run *run, uint8_t *buffer)
{
    const struct chunk_table *table = settings->table;
    const struct device *device = source_device(settings, run->source);
    uint64_t start = chunk_table_offset(table, run->first);
    struct error ignored;

    if (device_read(device, buffer, run->size, run->source_offset, &ignored))
        return;
    for (uint32_t chunk = run->first; chunk < run->first + run->count; chunk++) {
        uint64_t at = chunk_table_offset(table, chunk) - start;
        uint32_t size = chunk_table_size(table, chunk);
        if (!device_read(device, buffer + at, size, run->source_offset + at, &ignored))
            memset(buffer + at, 0, size);
    }
}

bool assemble_copy(const struct assemble_settings *settings, const struct plan_run *run, uint8_t *buffer,
                   uint8_t *ret_results, struct error *error)
{
    read_copied(settings, run, buffer);
    return prove_and_write(settings, run, buffer, ret_results, error);
}

/* Bytes of the image lie in the window as they will lie in the target, so neighbours are written together. On
 * a second try the window may hold only the chunks that were bad, so kept ones at both ends are left out. */
static bool assemble_from_image(const struct assemble_settings *settings, const struct plan_run *run,
                                const uint8_t *window, uint64_t window_offset, uint8_t *ret_results,
                                struct error *error)
{
    const struct chunk_table *table = settings->table;
    uint32_t first = 0, end = run->count;

    memset(ret_results, ASSEMBLE_RESULT_PASSED, run->count);
    while (first < end && settings->kept[run->first + first])
        first++;
    while (end > first && settings->kept[run->first + end - 1])
        end--;
    if (first == end)
        return true;
    uint64_t offset = chunk_table_offset(table, run->first + first);
    const struct plan_run missing = {
        .first = run->first + first,
        .count = end - first,
        .size = (uint32_t)(chunk_table_offset(table, run->first + end) - offset),
    };
    return prove_and_write(settings, &missing, window + (offset - window_offset), ret_results + first, error);
}

/* One chunk from its frame. A frame as long as the chunk is the chunk itself, not packed. */
static bool assemble_from_frame(struct assembly *assembly, uint32_t chunk, const uint8_t *frame,
                                uint8_t *ret_result, struct error *error)
{
    const struct assemble_settings *settings = &assembly->settings;
    const struct plan_run run = {
        .first = chunk, .count = 1, .size = chunk_table_size(settings->table, chunk)};
    uint32_t frame_size = frame_index_size(settings->frames, chunk);

    if (frame_size == run.size)
        return prove_and_write(settings, &run, frame, ret_result, error);
    if (zstd_unpack(assembly->unpacker, NULL, 0, frame, frame_size, assembly->output, run.size) == 0)
        return prove_and_write(settings, &run, assembly->output, ret_result, error);
    *ret_result = ASSEMBLE_RESULT_BAD;
    return true;
}

bool assemble_fetched(struct assembly *assembly, const struct plan_run *run, const uint8_t *window,
                      uint64_t window_offset, uint8_t *ret_results, struct error *error)
{
    const struct assemble_settings *settings = &assembly->settings;

    if (!settings->frames)
        return assemble_from_image(settings, run, window, window_offset, ret_results, error);
    for (uint32_t i = 0; i < run->count; i++) {
        uint32_t chunk = run->first + i;
        ret_results[i] = ASSEMBLE_RESULT_PASSED;
        if (!settings->kept[chunk] &&
            !assemble_from_frame(assembly, chunk,
                                 window + (frame_index_offset(settings->frames, chunk) - window_offset),
                                 &ret_results[i], error))
            return false;
    }
    return true;
}

bool assemble_read_spans(const struct patch_list *patches, const struct patch *patch,
                         const struct device *source, uint8_t *ret_spans)
{
    const struct patch_span *spans = patch_list_spans(patches, patch);
    size_t joined = 0;
    struct error ignored;

    for (uint32_t i = 0; i < patch->span_count; i++) {
        if (!device_read(source, ret_spans + joined, spans[i].size, spans[i].offset, &ignored))
            return false;
        joined += spans[i].size;
    }
    return digest_xxh3(ret_spans, joined) == patch->spans_xxh3;
}

bool assemble_patch(struct assembly *assembly, const struct plan_run *run, const uint8_t *frame,
                    uint8_t *ret_results, struct error *error)
{
    const struct assemble_settings *settings = &assembly->settings;
    const struct patch *patch = patch_list_at(settings->patches, run->patch);

    if (assemble_read_spans(settings->patches, patch, source_device(settings, run->source),
                            assembly->spans) &&
        zstd_unpack(assembly->unpacker, assembly->spans, patch->spans_size, frame, patch->frame_size,
                    assembly->output, patch->output_size) == 0)
        return prove_and_write(settings, run, assembly->output, ret_results, error);
    for (uint32_t i = 0; i < run->count; i++)
        ret_results[i] = settings->kept[run->first + i] ? ASSEMBLE_RESULT_PASSED : ASSEMBLE_RESULT_BAD;
    return true;
}
