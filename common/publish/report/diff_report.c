/* SPDX-License-Identifier: MIT */
#include "common/publish/report/diff_report.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/io/device.h"
#include "common/publish/generate.h"
#include "common/publish/published.h"
#include "common/publish/report/diff_estimate.h"

enum {
    FIXED_LIST_BYTES = 9,  /* of a chunk in the ancestor's manifest: eight hex digits and a comma */
    BLOCK_LIST_BYTES = 32, /* of a block in a list of SHA-256 */
};

struct report_run {
    const struct diff_report_settings *settings;
    struct diff_report *report;
    char *image_path; /* in the scratch folder, a link to NEW */
    struct published published;
};

/* What is as large as the image, or grows with it. */
static const char *const suffixes[] = {".chunks", ".pack"};

static void show_generating(void *owner, const char *stage, uint64_t done, uint64_t total)
{
    const struct report_run *run = owner;
    const struct diff_settings *settings = &run->settings->diff;

    (void)stage;
    if (settings->progress)
        settings->progress(settings->owner, done, total);
}

/* Publishes NEW in the scratch folder and reads back what was published. */
static bool publish(struct report_run *run, struct error *error)
{
    const struct diff_settings *diff = &run->settings->diff;
    CLEANUP_FREE char *target = realpath(diff->new_path, NULL);
    struct generate_result result;
    struct generate_settings settings = {
        .image_path = run->image_path,
        .parts = run->settings->parts,
        .part_count = run->settings->part_count,
        .chunk_size = MANIFEST_CHUNK_SIZE_DEFAULT,
        .average = diff->average,
        .with_pack = true,
        .base_paths = &diff->old_path,
        .base_count = run->report->diff.old_size > 0,
        .span_max = PACK_SPAN_MAX_DEFAULT,
        .output_max = PACK_OUTPUT_MAX_DEFAULT,
        .progress = show_generating,
        .owner = run,
    };

    if (!target || symlink(target, run->image_path) < 0)
        return error_set_errno(error, errno, "cannot link %s to %s", diff->new_path, run->image_path);
    return generate_files(&settings, &result, error) &&
           published_read(run->image_path, &run->published, error);
}

/* Marks the chunks that patches make. */
static void mark_patched(struct report_run *run)
{
    struct diff_result *diff = &run->report->diff;
    const struct patch_list *patches =
        run->published.manifest->pack.base_count ? run->published.patches[0] : NULL;

    for (uint32_t i = 0; patches && i < patch_list_count(patches); i++) {
        const struct patch *patch = patch_list_at(patches, i);
        for (uint32_t chunk = patch->first; chunk < patch->first + patch->count; chunk++)
            if (diff->chunk_list[chunk].fate == DIFF_FATE_FETCH)
                diff->chunk_list[chunk].fate = DIFF_FATE_PATCH;
    }
}

/* Adds up what was published for the ways that use the pack. A device that patches has no need of the table
 * of chunks, since the index makes it, and needs the sizes of frames only if it fetches chunks as well. */
static void count_packed(struct report_run *run)
{
    const struct published *published = &run->published;
    const struct manifest *manifest = published->manifest;
    struct diff_report *report = run->report;
    struct diff_cost *pack = &report->costs[DIFF_WAY_PACK], *patched = &report->costs[DIFF_WAY_PATCHES];
    uint64_t packed = 0, unpatched = 0;

    for (uint32_t i = 0; i < report->diff.chunks; i++) {
        enum diff_fate fate = report->diff.chunk_list[i].fate;
        if (fate == DIFF_FATE_PATCH || fate == DIFF_FATE_FETCH)
            packed += frame_index_size(published->frames, i);
        if (fate == DIFF_FATE_FETCH)
            unpatched += frame_index_size(published->frames, i);
    }
    report->facts.fetched_packed = packed;
    pack->list_bytes = published->manifest_size + manifest->chunks.size_bytes + manifest->pack.frames.size;
    pack->data_bytes = packed;
    if (manifest->pack.base_count == 0) {
        *patched = *pack;
        return;
    }
    patched->list_bytes = published->manifest_size + manifest->pack.bases[0].index.size +
                          (unpatched ? manifest->pack.frames.size : 0);
    patched->data_bytes = unpatched;
    report->patch_count = patch_list_count(published->patches[0]);
    for (uint32_t i = 0; i < report->patch_count; i++)
        patched->data_bytes += patch_list_at(published->patches[0], i)->frame_size;
}

/* Adds up the ways that follow from the comparison alone. */
static void count_plain(struct report_run *run)
{
    const struct diff_result *diff = &run->report->diff;
    struct diff_cost *costs = run->report->costs;
    uint64_t fixed_chunks = diff->new_size / run->settings->diff.chunk_size + 1;

    costs[DIFF_WAY_WHOLE].data_bytes = diff->new_size;
    costs[DIFF_WAY_FIXED].list_bytes = fixed_chunks * FIXED_LIST_BYTES;
    costs[DIFF_WAY_FIXED].data_bytes = diff->new_size - diff->same_bytes;
    costs[DIFF_WAY_CONTENT_DEFINED].list_bytes = run->published.manifest_size + diff->table_bytes;
    costs[DIFF_WAY_CONTENT_DEFINED].data_bytes = diff->bytes_missing;
    for (uint64_t i = 0; i < diff->chunks; i++)
        run->report->facts.fate_bytes[diff->chunk_list[i].fate] += diff->chunk_list[i].size;
}

/* Does what needs the images again: the other ways, superblocks, and inodes. */
static bool look_into_images(struct report_run *run, struct error *error)
{
    const struct diff_settings *settings = &run->settings->diff;
    struct diff_report *report = run->report;
    struct diff_facts *facts = &report->facts;
    struct device *new_device = NULL, *old_device = NULL;

    bool ok = device_open_source(settings->new_path, &new_device, error) &&
              device_open_source(settings->old_path, &old_device, error) &&
              diff_estimate_superblock(new_device, report->diff.new_size, &facts->new_superblock, error) &&
              diff_estimate_superblock(old_device, report->diff.old_size, &facts->old_superblock, error) &&
              diff_estimate_whole(new_device, report->diff.new_size,
                                  &report->costs[DIFF_WAY_WHOLE_PACKED].data_bytes,
                                  &report->costs[DIFF_WAY_WHOLE_PACKED].estimated, error) &&
              diff_estimate_blocks(new_device, report->diff.new_size, old_device, report->diff.old_size,
                                   &report->costs[DIFF_WAY_BLOCKS].data_bytes, error);
    if (ok) {
        report->costs[DIFF_WAY_BLOCKS].list_bytes =
            (report->diff.new_size / DIFF_ESTIMATE_BLOCK_SIZE + 1) * BLOCK_LIST_BYTES;
        inode_times_count(new_device, &facts->new_superblock, old_device, &facts->old_superblock,
                          &facts->inode_times);
    }
    device_close(new_device);
    device_close(old_device);
    return ok;
}

static bool make(struct report_run *run, struct error *error)
{
    struct diff_report *report = run->report;

    if (!diff_files(&run->settings->diff, &report->diff, error) || !publish(run, error))
        return false;
    if (run->published.manifest->file_size != report->diff.new_size ||
        chunk_table_count(run->published.table) != report->diff.chunks)
        return error_set(error, ERROR_SYSTEM, "%s changed while it was read", run->settings->diff.new_path);
    if (!look_into_images(run, error))
        return false;
    mark_patched(run);
    count_plain(run);
    count_packed(run);
    report->facts.new_size = report->diff.new_size;
    report->advice_count = diff_advise(&report->facts, report->advice);
    return true;
}

bool diff_report_make(const struct diff_report_settings *settings, struct diff_report *ret_report,
                      struct error *error)
{
    struct diff_report report = {0};
    /* The link has NEW's name, as the manifest contains names, and its size is counted. */
    struct report_run run = {
        .settings = settings,
        .report = &report,
        .image_path = alloc_printf("%s/%s", settings->scratch_folder, basename(settings->diff.new_path))};

    bool ok = make(&run, error);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        CLEANUP_FREE char *path = alloc_printf("%s%s", run.image_path, suffixes[i]);
        unlink(path);
    }
    free(run.image_path);
    published_finish(&run.published);
    if (ok)
        *ret_report = report;
    else
        diff_report_finish(&report);
    return ok;
}

void diff_report_add(struct diff_report *sum, const struct diff_report *report)
{
    diff_result_add(&sum->diff, &report->diff);
    for (int fate = 0; fate < DIFF_FATES; fate++)
        sum->facts.fate_bytes[fate] += report->facts.fate_bytes[fate];
    for (int way = 0; way < DIFF_WAYS; way++) {
        sum->costs[way].list_bytes += report->costs[way].list_bytes;
        sum->costs[way].data_bytes += report->costs[way].data_bytes;
        sum->costs[way].estimated |= report->costs[way].estimated;
    }
    sum->patch_count += report->patch_count;
}

void diff_report_finish(struct diff_report *report)
{
    diff_result_finish(&report->diff);
}

const char *diff_way_name(enum diff_way way)
{
    static const char *const names[] = {
        [DIFF_WAY_WHOLE] = "whole",
        [DIFF_WAY_WHOLE_PACKED] = "whole-compressed",
        [DIFF_WAY_FIXED] = "fixed-chunks",
        [DIFF_WAY_BLOCKS] = "blocks-4k",
        [DIFF_WAY_CONTENT_DEFINED] = "content-defined",
        [DIFF_WAY_PACK] = "pack",
        [DIFF_WAY_PATCHES] = "patches",
    };

    assert(way < sizeof(names) / sizeof(names[0]));
    return names[way];
}

const char *diff_fate_name(enum diff_fate fate)
{
    static const char *const names[] = {
        [DIFF_FATE_KEEP] = "keep",
        [DIFF_FATE_COPY] = "copy",
        [DIFF_FATE_PATCH] = "patch",
        [DIFF_FATE_FETCH] = "fetch",
    };

    assert(fate < sizeof(names) / sizeof(names[0]));
    return names[fate];
}
