/* moonsinter diff: how much of an image a device with another image lacks. */
#include "common/sinter/diff.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/argument.h"
#include "cli/diff_report.h"
#include "cli/diff_scratch.h"
#include "cli/event_line.h"
#include "cli/meter.h"
#include "cli/verb.h"
#include "common/image/chunker.h"
#include "common/image/manifest.h"

static const char help[] =
    "Usage: moonsinter diff NEW OLD [CHUNK_SIZE] [OPTION]...\n"
    "\n"
    "Compares two images: in fixed chunks of CHUNK_SIZE (default 128K) at the same\n"
    "offset until the shorter one ends, and by what a device that holds OLD would\n"
    "fetch of NEW in content-defined chunks.\n"
    "\n"
    "  --average SIZE      average of the content-defined chunks, a power of two from\n"
    "                      1K to 256K (default 32K)\n"
    "  --report FILE       publish NEW with a pack and patches against OLD in a temporary\n"
    "                      folder beside FILE, and write all that can be said of the\n"
    "                      update into FILE, an HTML page\n"
    "  -q, --quiet         no progress on the terminal\n"
    "  -h, --help          this text\n";

enum {
    OPTION_AVERAGE = 256,
    OPTION_REPORT,
};

static const struct option options[] = {
    {"average", required_argument, NULL, OPTION_AVERAGE},
    {"report", required_argument, NULL, OPTION_REPORT},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
    struct diff_settings settings;
    const char *report_path; /* NULL: no report */
    bool quiet;
    bool help;
};

static bool parse_arguments(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    struct diff_settings *settings = &arguments->settings;
    int option;

    opterr = 0;
    optind = 0; /* glibc's way to start over: the program has parsed options of its own before */
    while ((option = getopt_long(argc, argv, ":qh", options, NULL)) != -1) {
        if (option == 'q')
            arguments->quiet = true;
        else if (option == 'h')
            arguments->help = true;
        else if (option == OPTION_REPORT)
            arguments->report_path = optarg;
        else if (option != OPTION_AVERAGE)
            return argument_set_option_error(option, argv, error);
        else if (!argument_parse_average(optarg, &settings->average, error))
            return false;
    }
    if (arguments->help)
        return true;
    if (argc - optind < 2 || argc - optind > 3)
        return error_set(error, ERROR_REFUSED,
                         "it takes NEW, OLD and perhaps CHUNK_SIZE, and got %d arguments", argc - optind);
    settings->new_path = argv[optind];
    settings->old_path = argv[optind + 1];
    return argc - optind == 2 || argument_parse_chunk_size(argv[optind + 2], &settings->chunk_size, error);
}

static bool check_access(const char *path, struct error *error)
{
    if (access(path, R_OK) == 0)
        return true;
    error_set_errno(error, errno, "cannot read %s", path);
    event_line_write_text("unable_to_access_file", path);
    return false;
}

static void show_progress(void *owner, uint64_t done, uint64_t total)
{
    meter_show(owner, done, total);
}

/* A double as the ancestor prints it, with 14 digits. */
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
    /* An empty file has no chunk to compare, and then it differs from all but another empty one. */
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

/* All of the report: the page, and its figures as events. */
static bool make_report(const char *verb, const struct arguments *arguments, struct meter *meter,
                        struct diff_result *ret_result, struct error *error)
{
    const struct diff_settings *diff = &arguments->settings;
    struct diff_report_names names = {
        .new_path = diff->new_path, .old_path = diff->old_path, .chunk_size = diff->chunk_size};
    struct diff_report report;

    if (!diff_scratch_make_report(verb, diff, arguments->report_path, meter, &report, error))
        return false;
    bool ok = diff_report_write_page(&report, &names, arguments->report_path, error);
    if (ok) {
        meter_clear(meter);
        diff_report_write_events(&report);
        *ret_result = report.diff;
        ret_result->chunk_list = NULL;
    }
    diff_report_finish(&report);
    return ok;
}

static int run_diff(int argc, char **argv)
{
    struct arguments arguments = {
        .settings = {.chunk_size = MANIFEST_CHUNK_SIZE_DEFAULT, .average = CHUNKER_AVERAGE_DEFAULT}};
    struct diff_settings *settings = &arguments.settings;
    struct diff_result result;
    struct error error = {0};
    struct meter meter;

    if (!parse_arguments(argc, argv, &arguments, &error))
        return event_line_write_usage(argv[0], &error);
    if (arguments.help) {
        fputs(help, stdout);
        return 0;
    }
    if (!check_access(settings->new_path, &error) || !check_access(settings->old_path, &error))
        return event_line_write_failure(argv[0], &error);
    event_line_write_value("chunk_size", settings->chunk_size);
    meter_init(&meter, argv[0], arguments.quiet);
    settings->progress = show_progress;
    settings->owner = &meter;
    bool ok = arguments.report_path ? make_report(argv[0], &arguments, &meter, &result, &error)
                                    : diff_files(settings, &result, &error);
    meter_clear(&meter);
    if (!ok)
        return event_line_write_failure(argv[0], &error);
    write_done(&result);
    diff_result_finish(&result);
    return 0;
}

const struct verb verb_diff = {
    .name = "diff",
    .arguments = "NEW OLD [CHUNK_SIZE] [OPTION]...",
    .summary = "how far two images differ",
    .run = run_diff,
};
