/* SPDX-License-Identifier: MIT */
/* moonsinter diff: how much of an image a device with another image lacks. */
#include "common/publish/diff.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "cli/argument.h"
#include "cli/event_line.h"
#include "cli/meter.h"
#include "cli/verb.h"
#include "cli/work.h"
#include "common/base/file_status.h"
#include "common/image/chunker.h"
#include "common/image/manifest.h"

#ifdef HAVE_REPORTS
#include "cli/publish/report/diff_output.h"
#include "cli/publish/report/diff_report.h"
#include "cli/publish/report/diff_scratch.h"
#endif

static const char help[] =
    "Usage: moonsinter diff NEW OLD [CHUNK_SIZE] [OPTION]...\n"
    "\n"
    "Compares two images: in fixed chunks of CHUNK_SIZE (default 128K) at the same\n"
    "offset until the shorter one ends, and by what a device that holds OLD would\n"
    "fetch of NEW in content-defined chunks.\n"
    "\n"
    "  --average SIZE      average of the content-defined chunks, a power of two from\n"
    "                      1K to 256K (default 32K)\n"
#ifdef HAVE_REPORTS
    "  --report FILE       publish NEW with a pack and patches against OLD in a temporary\n"
    "                      folder beside FILE, and write all that can be said of the\n"
    "                      update into FILE, an HTML page; - is standard output, and has\n"
    "                      the page alone\n"
#endif
    "  -q, --quiet         no progress on the terminal\n"
    "  -h, --help          this text\n";

struct arguments {
    struct diff_settings settings;
    const char *report_path; /* NULL: no report */
    bool quiet;
};

static const struct argument_option options[] = {
    {"average", argument_take_average, offsetof(struct arguments, settings.average)},
    {"report", argument_take_text, offsetof(struct arguments, report_path)},
    {"quiet", NULL, offsetof(struct arguments, quiet)},
    {NULL, NULL, 0},
};

static bool parse_arguments(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    struct diff_settings *settings = &arguments->settings;

    if (!argument_parse_options(options, help, argc, argv, arguments, error))
        return false;
    if (argc - optind < 2 || argc - optind > 3)
        return error_set(error, ERROR_REFUSED,
                         "it takes NEW, OLD and perhaps CHUNK_SIZE, and got %d arguments", argc - optind);
    settings->new_path = argv[optind];
    settings->old_path = argv[optind + 1];
    return argc - optind == 2 || argument_parse_chunk_size(argv[optind + 2], &settings->chunk_size, error);
}

/* Adds a number as the ancestor prints it, with 14 digits. */
static void add_percentage(struct json_object *event, const char *name, double value)
{
    char text[32];

    snprintf(text, sizeof(text), "%.14g", value);
    json_object_object_add(event, name, json_object_new_double_s(value, text));
}

static void write_done(const struct diff_result *result)
{
    struct json_object *event = event_line_new("done");
    uint64_t differing = result->total - result->same;
    /* An empty file has no chunks to compare: it differs from any file that is not empty. */
    double nothing_compared = result->new_size == result->old_size ? 0 : 100;

    json_add_u64(event, "total", result->total);
    json_add_u64(event, "diff", differing);
    json_add_u64(event, "same", result->same);
    add_percentage(event, "percentage_different",
                   result->total ? 100.0 * (double)differing / (double)result->total : nothing_compared);
    json_add_u64(event, "new_size", result->new_size);
    json_add_u64(event, "old_size", result->old_size);
    json_add_u64(event, "fixed_bytes_to_fetch", result->new_size - result->same_bytes);
    json_add_u64(event, "content_defined_chunks", result->chunks);
    json_add_u64(event, "content_defined_chunks_to_fetch", result->chunks_missing);
    json_add_u64(event, "content_defined_bytes_to_fetch", result->bytes_missing);
    json_add_u64(event, "table_size", result->table_bytes);
    event_line_write(event);
}

#ifdef HAVE_REPORTS
/* Checks before the long work that NEW is a file which can be published. */
static bool check_new(const char *path, struct error *error)
{
    struct stat status;

    if (file_status(path, &status) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_REFUSED,
                         "%s is no regular file, and a report publishes it; copy the image into one first",
                         path);
    return status.st_size > 0 ||
           error_set(error, ERROR_REFUSED,
                     "%s is empty, and no image of 0 bytes is published; there is nothing to report", path);
}

/* Makes the report's page, and writes its figures as events unless the page goes to standard output. */
static int run_report(const char *verb, const struct arguments *arguments, struct meter *meter)
{
    const struct diff_settings *diff = &arguments->settings;
    const char *const images[2] = {diff->new_path, diff->old_path};
    struct diff_output output;
    struct diff_report report;
    struct error error;
    int status = 0;

    bool ok = diff_output_init(&output, arguments->report_path, images, &error) &&
              check_new(diff->new_path, &error);
    bool tell = output.kind != DIFF_OUTPUT_STDOUT;
    if (ok && tell)
        event_line_write_value("chunk_size", diff->chunk_size);
    ok = ok && diff_scratch_make_report(verb, diff, &output, meter, &report, &error);
    diff_output_finish(&output);
    if (!ok) {
        status = event_line_write_failure(verb, &error);
    } else {
        if (tell) {
            diff_report_write_events(&report);
            write_done(&report.diff);
        }
        diff_report_finish(&report);
    }
    return status;
}
#else
static int run_report(const char *verb, const struct arguments *arguments, struct meter *meter)
{
    struct error error;

    error_set(&error, ERROR_REFUSED,
              "this command was built without --report (-Dreports=disabled); take one that has it");
    return event_line_write_usage(verb, &error);
}
#endif

struct comparison {
    struct diff_settings settings;
    struct work *work;
    struct diff_result result;
};

static void on_progress(void *owner, uint64_t done, uint64_t total)
{
    const struct comparison *comparison = owner;

    work_progress(comparison->work, "diff", done, total);
}

static bool compare(void *owner, struct work *work, struct error *error)
{
    struct comparison *comparison = owner;

    comparison->work = work;
    return diff_files(&comparison->settings, &comparison->result, error);
}

static int run_comparison(const char *verb, const struct diff_settings *settings, struct meter *meter)
{
    struct comparison comparison = {.settings = *settings};
    const struct work_settings work = {
        .verb = verb, .what = "the comparison", .meter = meter, .run = compare, .owner = &comparison};
    struct error error;

    comparison.settings.progress = on_progress;
    comparison.settings.owner = &comparison;
    event_line_write_value("chunk_size", settings->chunk_size);
    if (!work_run(&work, &error))
        return event_line_write_failure(verb, &error);
    write_done(&comparison.result);
    diff_result_finish(&comparison.result);
    return 0;
}

static int run_diff(int argc, char **argv)
{
    struct arguments arguments = {
        .settings = {.chunk_size = MANIFEST_CHUNK_SIZE_DEFAULT, .average = CHUNKER_AVERAGE_DEFAULT}};
    struct diff_settings *settings = &arguments.settings;
    struct error error = {0};
    struct meter meter;

    if (!parse_arguments(argc, argv, &arguments, &error))
        return argument_end(argv[0], &error);
    if (!argument_check_access(settings->new_path, &error) ||
        !argument_check_access(settings->old_path, &error))
        return event_line_write_failure(argv[0], &error);
    meter_init(&meter, argv[0], arguments.quiet);
    return arguments.report_path ? run_report(argv[0], &arguments, &meter)
                                 : run_comparison(argv[0], settings, &meter);
}

const struct verb verb_diff = {
    .name = "diff",
    .summary = "how far two images differ",
    .run = run_diff,
};
