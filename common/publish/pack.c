/* SPDX-License-Identifier: MIT */
#include "common/publish/pack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/base/varint.h"
#include "common/image/base_index.h"
#include "common/image/zstd_frame.h"
#include "common/io/device.h"
#include "common/publish/base_image.h"
#include "common/publish/base_probes.h"
#include "common/publish/pack_frames.h"
#include "common/publish/pack_patches.h"
#include "common/publish/patch_runs.h"

enum {
    SECTION_LEVEL = 19,
    /* How long each kind of work takes for a byte, compared with reading one: measured, for the progress. */
    WEIGHT_READ = 1,
    WEIGHT_FRAME = 64,
    WEIGHT_PATCH = 640,
};

struct pack {
    const struct pack_settings *settings;
    struct file_writer *writer;
    struct manifest_pack *manifest;
    struct pack_result *result;
    struct chunk_index *index;
    uint32_t *costs; /* of each chunk, bytes that are fetched for it */
    /* The bases without those that were given twice, and the index of each among those that were given. */
    struct base_image *bases[MANIFEST_BASES_MAX];
    uint32_t given_as[MANIFEST_BASES_MAX];
    uint32_t base_count;
    struct patch_run *runs[MANIFEST_BASES_MAX];
    uint32_t run_counts[MANIFEST_BASES_MAX];
    const char *stage;
    uint64_t done, total; /* of the stage, in units of WEIGHT_READ */
};

static void begin_stage(struct pack *pack, const char *stage, uint64_t total)
{
    pack->stage = stage;
    pack->done = 0;
    pack->total = total;
}

static void advance(struct pack *pack, uint64_t work)
{
    pack->done += work;
    pack->settings->progress(pack->settings->owner, pack->stage, pack->done, pack->total);
}

static void on_read(void *owner, uint64_t bytes)
{
    advance(owner, bytes * WEIGHT_READ);
}

static void on_frames(void *owner, uint64_t bytes)
{
    advance(owner, bytes * WEIGHT_FRAME);
}

static void on_patches(void *owner, uint64_t bytes)
{
    advance(owner, bytes * WEIGHT_PATCH);
}

static bool write_section(struct pack *pack, const uint8_t *data, size_t size,
                          struct manifest_section *ret_section, struct error *error)
{
    struct zstd_packer *packer = zstd_packer_new(SECTION_LEVEL);
    size_t room = zstd_pack_bound(size), frame_size;
    CLEANUP_FREE uint8_t *frame = malloc(room);

    if (size > UINT32_MAX)
        return error_set(error, ERROR_REFUSED, "the pack's index gets too large; take a larger average");
    int result = packer && frame ? zstd_pack(packer, NULL, 0, data, size, frame, room, &frame_size) : -ENOMEM;
    zstd_packer_free(packer);
    if (result < 0)
        return error_set_errno(error, result, "cannot compress the pack's index");
    ret_section->offset = file_writer_size(pack->writer);
    ret_section->size = (uint32_t)frame_size;
    ret_section->unpacked = (uint32_t)size;
    digest_sha256(frame, frame_size, ret_section->sha256);
    return file_writer_add(pack->writer, frame, frame_size, error);
}

static bool has_rows(const struct base_image *base, const struct chunk_table *table)
{
    if (base->size != chunk_table_image_size(table) || base->chunk_count != chunk_table_count(table))
        return false;
    for (uint32_t i = 0; i < base->chunk_count; i++)
        if (base->chunks[i].key != chunk_table_key(table, i) ||
            base->chunks[i].size != chunk_table_size(table, i))
            return false;
    return true;
}

static bool are_twins(const struct base_image *one, const struct base_image *other)
{
    if (one->size != other->size || one->chunk_count != other->chunk_count)
        return false;
    for (uint32_t i = 0; i < one->chunk_count; i++)
        if (one->chunks[i].key != other->chunks[i].key || one->chunks[i].size != other->chunks[i].size)
            return false;
    return true;
}

/* Drops the last base if it was given before, perhaps as a copy or a link: its patches would be stored twice,
 * and no device could tell which of the two bases it has. */
static void forget_twin(struct pack *pack)
{
    uint32_t last = pack->base_count - 1;

    for (uint32_t i = 0; i < last; i++)
        if (are_twins(pack->bases[i], pack->bases[last])) {
            pack->result->bases[pack->given_as[last]].twin = pack->given_as[i];
            pack->bases[last] = base_image_free(pack->bases[last]);
            pack->base_count = last;
            return;
        }
}

/* Opens all bases, cuts them, and finds the runs of chunks that patches are to make. */
static bool read_bases(struct pack *pack, struct error *error)
{
    const struct pack_settings *settings = pack->settings;
    struct base_image *opened[MANIFEST_BASES_MAX] = {NULL};
    uint64_t sizes = 0;
    bool ok = true;

    for (uint32_t i = 0; ok && i < settings->base_count; i++) {
        ok = base_image_open(settings->base_paths[i], &opened[i], error);
        sizes += ok ? opened[i]->size : 0;
    }
    begin_stage(pack, "comparing", sizes * WEIGHT_READ);
    for (uint32_t i = 0; ok && i < settings->base_count; i++) {
        ok = base_image_cut(opened[i], settings->table, on_read, pack, error);
        if (!ok)
            break;
        pack->bases[pack->base_count] = opened[i];
        pack->given_as[pack->base_count++] = i;
        opened[i] = NULL;
        forget_twin(pack);
    }
    for (uint32_t i = 0; i < settings->base_count; i++)
        base_image_free(opened[i]);
    for (uint32_t i = 0; ok && i < pack->base_count; i++) {
        pack->result->bases[pack->given_as[i]].is_image = has_rows(pack->bases[i], settings->table);
        pack->run_counts[i] = patch_runs_find(settings->table, pack->index, pack->bases[i],
                                              settings->output_max, &pack->runs[i]);
    }
    return ok;
}

static uint64_t work_of(const struct pack *pack)
{
    uint64_t work =
        pack->settings->with_frames ? chunk_table_image_size(pack->settings->table) * WEIGHT_FRAME : 0;

    for (uint32_t i = 0; i < pack->base_count; i++) {
        work += pack->bases[i]->size * WEIGHT_READ;
        for (uint32_t j = 0; j < pack->run_counts[i]; j++)
            work += (uint64_t)pack->runs[i][j].size * WEIGHT_PATCH;
    }
    return work;
}

static bool write_frames(struct pack *pack, struct error *error)
{
    const struct pack_settings *settings = pack->settings;
    uint32_t count = chunk_table_count(settings->table);
    struct pack_frames frames = {.image = settings->image,
                                 .table = settings->table,
                                 .index = pack->index,
                                 .progress = on_frames,
                                 .owner = pack};
    uint64_t begin = file_writer_size(pack->writer);

    if (!pack_frames_write(&frames, pack->writer, pack->costs, error))
        return false;
    pack->result->frame_bytes = file_writer_size(pack->writer) - begin;
    CLEANUP_FREE uint8_t *section = alloc_array(count, VARINT_SIZE_MAX);
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += varint_write(section + size, pack->costs[i]);
    pack->manifest->has_frames = true;
    return write_section(pack, section, size, &pack->manifest->frames, error);
}

/* Writes the base's index: the difference of its table to the image's, and the list of its patches. */
static bool write_index(struct pack *pack, uint32_t which, const struct pack_patch_list *patches,
                        struct error *error)
{
    const struct pack_settings *settings = pack->settings;
    const struct base_image *base = pack->bases[which];
    uint32_t count = chunk_table_count(settings->table);
    CLEANUP_FREE uint64_t *offsets = alloc_array(count, sizeof(*offsets));
    CLEANUP_FREE uint8_t *data = NULL;
    size_t size;

    for (uint32_t i = 0; i < count; i++)
        offsets[i] = base->held[i] == BASE_IMAGE_NONE ? BASE_INDEX_NONE : base->chunks[base->held[i]].offset;
    struct base_index index = {.average = chunk_table_chunker(settings->table)->average,
                               .rows = settings->rows,
                               .row_count = count,
                               .base_offsets = offsets,
                               .patches = patches->patches,
                               .patch_count = patches->patch_count,
                               .spans = patches->spans};
    base_index_format(&index, &data, &size);
    return write_section(pack, data, size, &pack->manifest->bases[which].index, error);
}

static void count_base(struct pack *pack, uint32_t which, const struct pack_patch_list *patches)
{
    struct pack_base_result *result = &pack->result->bases[pack->given_as[which]];
    uint32_t next = 0; /* patch */

    for (uint32_t i = 0; i < chunk_table_count(pack->settings->table); i++) {
        while (next < patches->patch_count &&
               patches->patches[next].first + patches->patches[next].count <= i)
            next++;
        bool covered = next < patches->patch_count && patches->patches[next].first <= i;
        if (!covered && patch_run_needs(pack->bases[which], pack->index, i))
            result->missing_bytes += pack->costs[i];
    }
    for (uint32_t i = 0; i < patches->patch_count; i++) {
        result->patch_bytes += patches->patches[i].frame_size;
        result->covered_bytes += patches->patches[i].output_size;
    }
    result->patch_count = patches->patch_count;
    result->index_bytes = pack->manifest->bases[which].index.size;
}

/* Writes all that the pack has of one base. Its samples take the most memory, so they are made here and freed
 * again before the next base. */
static bool write_base(struct pack *pack, uint32_t which, struct error *error)
{
    const struct pack_settings *settings = pack->settings;
    struct manifest_base *manifest = &pack->manifest->bases[which];
    struct base_image *base = pack->bases[which];
    struct pack_patch_list list = {0};
    struct pack_patches patches = {.image = settings->image,
                                   .table = settings->table,
                                   .index = pack->index,
                                   .base = base,
                                   .runs = pack->runs[which],
                                   .run_count = pack->run_counts[which],
                                   .costs = pack->costs,
                                   .span_max = settings->span_max,
                                   .output_max = settings->output_max,
                                   .progress = on_patches,
                                   .owner = pack};

    manifest->size = base->size;
    manifest->span_max = settings->span_max;
    manifest->output_max = settings->output_max;
    manifest->patches_offset = file_writer_size(pack->writer);
    bool ok = base_probes_choose(pack->bases, pack->base_count, which, settings->image, settings->table,
                                 manifest, error) &&
              base_image_sample(base, on_read, pack, error) &&
              pack_patches_write(&patches, pack->writer, &list, error) &&
              write_index(pack, which, &list, error);
    if (ok)
        count_base(pack, which, &list);
    base_image_forget_samples(base);
    pack_patch_list_finish(&list);
    return ok;
}

/* The result of a base that was given twice is that of its twin, as a device that has one has the other. */
static void copy_twins(struct pack *pack)
{
    struct pack_base_result *results = pack->result->bases;

    for (uint32_t i = 0; i < pack->settings->base_count; i++) {
        uint32_t twin = results[i].twin;
        if (twin == PACK_NO_TWIN)
            continue;
        results[i] = results[twin];
        results[i].twin = twin;
    }
}

static bool write_all(struct pack *pack, struct error *error)
{
    const struct pack_settings *settings = pack->settings;

    if (!file_writer_add(pack->writer, "MSPACK01", MANIFEST_PACK_HEADER_SIZE, error) ||
        !read_bases(pack, error))
        return false;
    begin_stage(pack, "packing", work_of(pack));
    if (settings->with_frames && !write_frames(pack, error))
        return false;
    pack->manifest->bases = alloc_array(pack->base_count, sizeof(*pack->manifest->bases));
    pack->manifest->base_count = pack->base_count;
    for (uint32_t i = 0; i < pack->base_count; i++)
        if (!write_base(pack, i, error))
            return false;
    copy_twins(pack);
    return true;
}

bool pack_write(const struct pack_settings *settings, struct file_writer *writer,
                struct manifest_pack *ret_pack, struct pack_result *ret_result, struct error *error)
{
    struct manifest_pack manifest = {.present = true};
    struct pack_result result = {0};
    struct pack pack = {.settings = settings, .writer = writer, .manifest = &manifest, .result = &result};
    uint32_t count = chunk_table_count(settings->table);

    assert(count > 0 && (settings->with_frames || settings->base_count > 0));
    assert(settings->base_count <= MANIFEST_BASES_MAX && settings->span_max <= MANIFEST_SPAN_MAX_LIMIT);
    assert(settings->output_max >= chunk_table_size_max(settings->table) &&
           settings->output_max <= MANIFEST_OUTPUT_MAX_LIMIT);
    pack.index = chunk_index_new(settings->table);
    pack.costs = alloc_array(count, sizeof(*pack.costs));
    for (uint32_t i = 0; i < count; i++)
        pack.costs[i] = chunk_table_size(settings->table, i);
    for (uint32_t i = 0; i < MANIFEST_BASES_MAX; i++)
        result.bases[i].twin = PACK_NO_TWIN;

    bool ok = write_all(&pack, error);

    manifest.size = file_writer_size(writer);
    for (uint32_t i = 0; i < MANIFEST_BASES_MAX; i++) {
        base_image_free(pack.bases[i]);
        free(pack.runs[i]);
    }
    chunk_index_free(pack.index);
    free(pack.costs);
    if (!ok) {
        manifest_pack_finish(&manifest);
        return false;
    }
    *ret_pack = manifest;
    *ret_result = result;
    return true;
}
