/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/diff_scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/work.h"
#include "common/base/alloc.h"
#include "common/base/folder.h"

struct scratch {
    char *folder;
    struct work *work;
    struct diff_report_settings settings;
    const struct diff_images *images;
    struct diff_output *output;
    struct diff_report *reports; /* one for each image */
    char *page;
    size_t page_size;
};

/* Removes the folder with all that is in it. The work may still add files until the folder itself is gone, so
 * this may take several attempts. */
static void remove_folder(const char *path)
{
    for (bool removed = true; removed && rmdir(path) < 0;) {
        CLEANUP_FOLDER DIR *folder = opendir(path);
        if (!folder)
            return;
        removed = false;
        for (struct dirent *entry; (entry = readdir(folder));)
            removed |= unlinkat(dirfd(folder), entry->d_name, 0) == 0;
    }
}

static void on_progress(void *owner, uint64_t done, uint64_t total)
{
    const struct scratch *scratch = owner;

    work_progress(scratch->work, "diff", done, total);
}

static bool prepare(void *owner, struct error *error)
{
    struct scratch *scratch = owner;

    if (!diff_output_begin(scratch->output, error))
        return false;
    if (mkdtemp(scratch->folder))
        return true;
    error_set_errno(error, errno, "cannot make the temporary folder %s", scratch->folder);
    diff_output_remove(scratch->output);
    return false;
}

static bool stop(void *owner)
{
    struct scratch *scratch = owner;

    diff_output_remove(scratch->output);
    remove_folder(scratch->folder);
    return true;
}

static bool make_image(struct scratch *scratch, unsigned number, struct error *error)
{
    scratch->settings.diff.new_path = scratch->images->list[number].new_path;
    scratch->settings.diff.old_path = scratch->images->list[number].old_path;
    return diff_report_make(&scratch->settings, &scratch->reports[number], error);
}

/* The main image is published last, with the parts, as its manifest names theirs. */
static bool make_images(struct scratch *scratch, struct error *error)
{
    struct generate_part parts[MANIFEST_PARTS_MAX];
    char *paths[MANIFEST_PARTS_MAX];
    uint32_t count = scratch->images->count - 1;
    bool ok = true;

    for (uint32_t i = 0; i < count; i++) {
        const struct diff_image *image = &scratch->images->list[i + 1];
        paths[i] = alloc_printf("%s/%s", scratch->folder, basename(image->new_path));
        parts[i] = (struct generate_part){.name = image->name, .image_path = paths[i]};
        ok = ok && make_image(scratch, i + 1, error);
    }
    scratch->settings.parts = parts;
    scratch->settings.part_count = count;
    ok = ok && make_image(scratch, 0, error);
    for (uint32_t i = 0; i < count; i++)
        free(paths[i]);
    return ok;
}

static bool make(struct scratch *scratch, struct error *error)
{
    if (!make_images(scratch, error) ||
        !diff_report_make_page(scratch->reports, scratch->images, scratch->settings.diff.chunk_size,
                               &scratch->page, &scratch->page_size, error))
        return false;
    return scratch->output->kind != DIFF_OUTPUT_FILE ||
           diff_output_write(scratch->output, scratch->page, scratch->page_size, error);
}

static bool run(void *owner, struct work *work, struct error *error)
{
    struct scratch *scratch = owner;

    scratch->work = work;
    bool ok = make(scratch, error);
    remove_folder(scratch->folder);
    if (!ok)
        diff_output_remove(scratch->output);
    return ok;
}

static char *folder_for(const struct diff_output *output)
{
    const char *shared = getenv("TMPDIR");

    if (output->kind == DIFF_OUTPUT_FILE)
        return alloc_printf("%s.XXXXXX", output->path);
    return alloc_printf("%s/moonsinter-diff.XXXXXX", shared && *shared ? shared : "/tmp");
}

bool diff_scratch_make_report(const char *verb, const struct diff_settings *diff,
                              const struct diff_images *images, struct diff_output *output,
                              struct meter *meter, struct diff_report *ret_reports, struct error *error)
{
    CLEANUP_FREE char *folder = folder_for(output);
    struct scratch scratch = {.folder = folder, .images = images, .output = output, .reports = ret_reports};
    const struct work_settings work = {.verb = verb,
                                       .what = "the report",
                                       .meter = meter,
                                       .prepare = prepare,
                                       .run = run,
                                       .stop = stop,
                                       .owner = &scratch};

    scratch.settings = (struct diff_report_settings){.diff = *diff, .scratch_folder = folder};
    scratch.settings.diff.progress = on_progress;
    scratch.settings.diff.owner = &scratch;
    bool ok = work_run(&work, error);
    if (ok && output->kind != DIFF_OUTPUT_FILE)
        ok = diff_output_write(output, scratch.page, scratch.page_size, error);
    free(scratch.page);
    return ok;
}
