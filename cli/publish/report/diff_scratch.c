/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/diff_scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/work.h"
#include "common/base/alloc.h"
#include "common/base/folder.h"

struct scratch {
    char *folder;
    struct work *work;
    struct diff_report_settings settings;
    struct diff_output *output;
    struct diff_report *report;
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

static bool make(struct scratch *scratch, struct error *error)
{
    const struct diff_settings *diff = &scratch->settings.diff;
    const struct diff_report_names names = {
        .new_path = diff->new_path, .old_path = diff->old_path, .chunk_size = diff->chunk_size};

    if (!diff_report_make(&scratch->settings, scratch->report, error))
        return false;
    bool ok = diff_report_make_page(scratch->report, &names, &scratch->page, &scratch->page_size, error);
    if (ok && scratch->output->kind == DIFF_OUTPUT_FILE)
        ok = diff_output_write(scratch->output, scratch->page, scratch->page_size, error);
    if (!ok)
        diff_report_finish(scratch->report);
    return ok;
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

bool diff_scratch_make_report(const char *verb, const struct diff_settings *diff, struct diff_output *output,
                              struct meter *meter, struct diff_report *ret_report, struct error *error)
{
    CLEANUP_FREE char *folder = folder_for(output);
    struct scratch scratch = {.folder = folder, .output = output, .report = ret_report};
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
    if (ok && output->kind != DIFF_OUTPUT_FILE) {
        ok = diff_output_write(output, scratch.page, scratch.page_size, error);
        if (!ok)
            diff_report_finish(ret_report);
    }
    free(scratch.page);
    return ok;
}
