/* SPDX-License-Identifier: MIT */
/* moonsinter diff: how much of an image a device with another image lacks. */
#include "common/publish/diff.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/argument.h"
#include "cli/event_line.h"
#include "cli/meter.h"
#include "cli/publish/diff_images.h"
#include "cli/verb.h"
#include "cli/work.h"
#include "common/base/alloc.h"
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
    "  --part NAME=NEW,OLD the same of an image that belongs to these, and of all images\n"
    "                      together; may be given several times\n"
    "  -q, --quiet         no progress on the terminal\n"
    "  -h, --help          this text\n";

struct arguments {
    struct diff_settings settings; /* for all images; without paths */
    struct diff_images images;
    const char *report_path; /* NULL: no report */
    bool quiet;
};

static const struct argument_option options[] = {
    {"average", argument_take_average, offsetof(struct arguments, settings.average)},
    {"report", argument_take_text, offsetof(struct arguments, report_path)},
    {"part", diff_images_take_part, offsetof(struct arguments, images)},
    {"quiet", NULL, offsetof(struct arguments, quiet)},
    {NULL, NULL, 0},
};

static bool parse_arguments(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    if (!argument_parse_options(options, help, argc, argv, arguments, error))
        return false;
    if (argc - optind < 2 || argc - optind > 3)
        return error_set(error, ERROR_REFUSED,
                         "it takes NEW, OLD and perhaps CHUNK_SIZE, and got %d arguments", argc - optind);
    diff_images_init(&arguments->images, argv[optind], argv[optind + 1]);
    return argc - optind == 2 ||
           argument_parse_chunk_size(argv[optind + 2], &arguments->settings.chunk_size, error);
}

/* Adds a number as the ancestor prints it, with 14 digits. */
static void add_percentage(struct json_object *event, const char *name, double value)
{
    char text[32];

    snprintf(text, sizeof(text), "%.14g", value);
    json_object_object_add(event, name, json_object_new_double_s(value, text));
}

static void write_result(struct json_object *event, const struct diff_result *result)
{
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

/* Of one image of a set. */
static void write_image(const struct diff_image *image, const struct diff_result *result)
{
    struct json_object *event = event_line_new("image");

    json_add_string(event, "part", image->name);
    write_result(event, result);
}

#ifdef HAVE_REPORTS
static void write_report(const struct diff_images *images, const struct diff_report *reports)
{
    struct diff_report sum = {0};

    for (unsigned i = 0; i < images->count; i++) {
        bool is_set = images->count > 1;
        diff_report_write_events(&reports[i], is_set ? images->list[i].name : NULL);
        if (is_set)
            write_image(&images->list[i], &reports[i].diff);
        diff_report_add(&sum, &reports[i]);
    }
    if (images->count > 1)
        diff_report_write_events(&sum, NULL);
    write_result(event_line_new("done"), &sum.diff);
}

/* Makes the report's page, and writes its figures as events unless the page goes to standard output. */
static int run_report(const char *verb, const struct arguments *arguments, struct meter *meter)
{
    const struct diff_images *images = &arguments->images;
    struct diff_report *reports = alloc_array(images->count, sizeof(*reports));
    struct diff_output output;
    struct error error;
    int status = 0;

    /* That NEW can be published is checked before the long work. */
    bool ok = diff_output_init(&output, arguments->report_path, images, &error) &&
              diff_images_check_new(images, &error);
    bool tell = output.kind != DIFF_OUTPUT_STDOUT;
    if (ok && tell)
        event_line_write_value("chunk_size", arguments->settings.chunk_size);
    ok = ok && diff_scratch_make_report(verb, &arguments->settings, images, &output, meter, reports, &error);
    diff_output_finish(&output);
    if (!ok)
        status = event_line_write_failure(verb, &error);
    else if (tell)
        write_report(images, reports);
    for (unsigned i = 0; i < images->count; i++)
        diff_report_finish(&reports[i]);
    free(reports);
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
    const struct diff_images *images;
    struct diff_settings settings;
    struct work *work;
    struct diff_result results[DIFF_IMAGES_MAX];
};

static void on_progress(void *owner, uint64_t done, uint64_t total)
{
    const struct comparison *comparison = owner;

    work_progress(comparison->work, "diff", done, total);
}

static bool compare(void *owner, struct work *work, struct error *error)
{
    struct comparison *comparison = owner;
    const struct diff_images *images = comparison->images;

    comparison->work = work;
    for (unsigned i = 0; i < images->count; i++) {
        comparison->settings.new_path = images->list[i].new_path;
        comparison->settings.old_path = images->list[i].old_path;
        if (!diff_files(&comparison->settings, &comparison->results[i], error))
            return false;
        /* Only the figures are told. */
        diff_result_finish(&comparison->results[i]);
    }
    return true;
}

static int run_comparison(const char *verb, const struct arguments *arguments, struct meter *meter)
{
    const struct diff_images *images = &arguments->images;
    struct comparison comparison = {.images = images, .settings = arguments->settings};
    const struct work_settings work = {
        .verb = verb, .what = "the comparison", .meter = meter, .run = compare, .owner = &comparison};
    struct diff_result sum = {0};
    struct error error;

    comparison.settings.progress = on_progress;
    comparison.settings.owner = &comparison;
    event_line_write_value("chunk_size", arguments->settings.chunk_size);
    if (!work_run(&work, &error))
        return event_line_write_failure(verb, &error);
    for (unsigned i = 0; i < images->count; i++) {
        if (images->count > 1)
            write_image(&images->list[i], &comparison.results[i]);
        diff_result_add(&sum, &comparison.results[i]);
    }
    write_result(event_line_new("done"), &sum);
    return 0;
}

static int run_diff(int argc, char **argv)
{
    struct arguments arguments = {
        .settings = {.chunk_size = MANIFEST_CHUNK_SIZE_DEFAULT, .average = CHUNKER_AVERAGE_DEFAULT}};
    struct error error = {0};
    struct meter meter;

    if (!parse_arguments(argc, argv, &arguments, &error))
        return argument_end(argv[0], &error);
    if (!diff_images_check(&arguments.images, &error))
        return event_line_write_failure(argv[0], &error);
    meter_init(&meter, argv[0], arguments.quiet);
    return arguments.report_path ? run_report(argv[0], &arguments, &meter)
                                 : run_comparison(argv[0], &arguments, &meter);
}

const struct verb verb_diff = {
    .name = "diff",
    .summary = "how far two images differ",
    .run = run_diff,
};
