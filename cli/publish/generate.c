/* SPDX-License-Identifier: MIT */
/* moonsinter generate: what a publisher runs on each image. */
#include "common/publish/generate.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/event_line.h"
#include "cli/meter.h"
#include "cli/part_option.h"
#include "cli/publish/generate_report.h"
#include "cli/verb.h"
#include "cli/work.h"
#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "common/image/chunker.h"

static const char help[] =
    "Usage: moonsinter generate IMAGE [CHUNK_SIZE] [OPTION]...\n"
    "\n"
    "Writes IMAGE.json, the manifest, and IMAGE.chunks, the table of content-defined\n"
    "chunks. Publish both beside IMAGE, and IMAGE.pack where it is asked for.\n"
    "CHUNK_SIZE is that of the fixed chunks in bytes, with K, M or G (default 128K).\n"
    "\n"
    "  --version V         what people call this release\n"
    "  --serial N          number of this release; devices refuse a lower one than they had\n"
    "  --compatible C      devices this image is for; others refuse it\n"
    "  --created T         when it was made, as 2026-01-31T12:00:00Z or @SECONDS\n"
    "  --expires T         devices do not install it after this time\n"
    "  --rollout-start T, --rollout-duration TIME\n"
    "                      devices take it one after the other, from T on, within TIME\n"
    "  --rollout-percent N  only N of 100 devices take it\n"
    "  --rollout-hold      no device takes it until another manifest is published\n"
    "  --average SIZE      average of the content-defined chunks, a power of two from\n"
    "                      1K to 256K (default 32K)\n"
    "  --sign KEY          write IMAGE.json.minisig, too, with a minisign secret key that\n"
    "                      has no password (minisign -G -W)\n"
    "  --trusted-comment T one line that is signed as well (default: file:IMAGE.json)\n"
    "  --pack              write IMAGE.pack with the chunks compressed, to publish\n"
    "                      instead of IMAGE\n"
    "  --base OLD          an earlier release's image: put patches from it into\n"
    "                      IMAGE.pack; may be given up to 16 times\n"
    "  --part NAME=IMAGE   an image that belongs to this one, such as a boot partition: the\n"
    "                      release is a set. generate has run on it, and it lies beside.\n"
    "                      NAME@a=IMAGE and NAME@b=IMAGE where each slot has its own\n"
    "  --span-max SIZE     bytes of OLD that one patch may need (default 2M, at most 8M)\n"
    "  --output-max SIZE   bytes that one patch may make (default 1M, at most 4M)\n"
    "  -q, --quiet         no progress on the terminal\n"
    "  -h, --help          this text\n";

struct arguments {
    struct generate_settings settings;
    struct minisign_secret_key sign_key;
    const char *bases[MANIFEST_BASES_MAX];
    struct generate_part parts[GENERATE_PARTS_MAX];
    bool quiet;
    bool help;
};

enum {
    OPTION_VERSION = 256,
    OPTION_SERIAL,
    OPTION_COMPATIBLE,
    OPTION_CREATED,
    OPTION_EXPIRES,
    OPTION_ROLLOUT_START,
    OPTION_ROLLOUT_DURATION,
    OPTION_ROLLOUT_PERCENT,
    OPTION_ROLLOUT_HOLD,
    OPTION_AVERAGE,
    OPTION_SIGN,
    OPTION_TRUSTED_COMMENT,
    OPTION_PACK,
    OPTION_BASE,
    OPTION_PART,
    OPTION_SPAN_MAX,
    OPTION_OUTPUT_MAX,
};

static const struct option options[] = {
    {"version", required_argument, NULL, OPTION_VERSION},
    {"serial", required_argument, NULL, OPTION_SERIAL},
    {"compatible", required_argument, NULL, OPTION_COMPATIBLE},
    {"created", required_argument, NULL, OPTION_CREATED},
    {"expires", required_argument, NULL, OPTION_EXPIRES},
    {"rollout-start", required_argument, NULL, OPTION_ROLLOUT_START},
    {"rollout-duration", required_argument, NULL, OPTION_ROLLOUT_DURATION},
    {"rollout-percent", required_argument, NULL, OPTION_ROLLOUT_PERCENT},
    {"rollout-hold", no_argument, NULL, OPTION_ROLLOUT_HOLD},
    {"average", required_argument, NULL, OPTION_AVERAGE},
    {"sign", required_argument, NULL, OPTION_SIGN},
    {"trusted-comment", required_argument, NULL, OPTION_TRUSTED_COMMENT},
    {"pack", no_argument, NULL, OPTION_PACK},
    {"base", required_argument, NULL, OPTION_BASE},
    {"part", required_argument, NULL, OPTION_PART},
    {"span-max", required_argument, NULL, OPTION_SPAN_MAX},
    {"output-max", required_argument, NULL, OPTION_OUTPUT_MAX},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Any of these options makes it a rollout; the others keep their defaults. */
static bool take_rollout_option(int option, struct manifest_rollout *rollout, struct error *error)
{
    uint64_t number;

    if (!rollout->present)
        *rollout = (struct manifest_rollout){.present = true, .percent = MANIFEST_PERCENT_MAX};
    switch (option) {
    case OPTION_ROLLOUT_START:
        return argument_parse_time("--rollout-start", optarg, &rollout->start_s, error);
    case OPTION_ROLLOUT_DURATION:
        if (text_parse_duration(optarg, &number) < 0 || number % 1000 != 0 ||
            number / 1000 > MANIFEST_ROLLOUT_DURATION_MAX)
            return error_set(error, ERROR_REFUSED,
                             "--rollout-duration takes a time such as 12h or 3d in whole seconds, not %.100s",
                             optarg);
        rollout->duration_s = number / 1000;
        return true;
    case OPTION_ROLLOUT_PERCENT:
        if (text_parse_u64(optarg, &number) < 0 || number > MANIFEST_PERCENT_MAX)
            return error_set(error, ERROR_REFUSED,
                             "--rollout-percent takes a whole number from 0 to 100, not %.100s", optarg);
        rollout->percent = (unsigned)number;
        return true;
    default:
        rollout->hold = true;
        return true;
    }
}

static bool take_secret_key(const char *path, struct arguments *arguments, struct error *error)
{
    char *text;
    size_t size;

    if (!file_read(path, MINISIGN_KEY_SIZE_MAX, &text, &size, error))
        return false;
    bool ok = minisign_parse_secret_key(text, size, &arguments->sign_key, error);
    explicit_bzero(text, size);
    free(text);
    if (!ok)
        return error_prefix(error, "%s", path);
    arguments->settings.sign_key = &arguments->sign_key;
    return true;
}

static bool take_base(struct arguments *arguments, const char *path, struct error *error)
{
    struct generate_settings *settings = &arguments->settings;

    if (settings->base_count == MANIFEST_BASES_MAX)
        return error_set(error, ERROR_REFUSED, "--base may be given %d times at most", MANIFEST_BASES_MAX);
    arguments->bases[settings->base_count++] = path;
    settings->base_paths = arguments->bases;
    return true;
}

static bool take_part(struct arguments *arguments, char *text, struct error *error)
{
    struct generate_settings *settings = &arguments->settings;
    struct part_option option;

    if (settings->part_count == GENERATE_PARTS_MAX)
        return error_set(error, ERROR_REFUSED, "--part may be given %d times at most", GENERATE_PARTS_MAX);
    if (!part_option_parse(text, &option, error))
        return false;
    arguments->parts[settings->part_count++] =
        (struct generate_part){.name = option.name, .slot = option.slot, .image_path = option.value};
    settings->parts = arguments->parts;
    return true;
}

/* Reads a limit for patches. */
static bool take_bound(const char *name, const char *text, uint32_t most, uint32_t *ret_bytes,
                       struct error *error)
{
    uint64_t bytes;

    if (text_parse_size(text, &bytes) < 0 || bytes < PACK_BOUND_LEAST || bytes > most)
        return error_set(error, ERROR_REFUSED, "%s takes a size from %dK to %" PRIu32 "M, not %.100s", name,
                         PACK_BOUND_LEAST / 1024, most / 1024 / 1024, text);
    *ret_bytes = (uint32_t)bytes;
    return true;
}

static bool take_option(int option, char **argv, struct arguments *arguments, struct error *error)
{
    struct manifest_release *release = &arguments->settings.release;

    switch (option) {
    case OPTION_VERSION:
        release->version = optarg;
        return argument_check_text("--version", optarg, error);
    case OPTION_SERIAL:
        if (text_parse_u64(optarg, &release->serial) < 0 || release->serial > MANIFEST_SERIAL_MAX)
            return error_set(error, ERROR_REFUSED, "--serial takes a whole number below 2^63, not %.100s",
                             optarg);
        release->has_serial = true;
        return true;
    case OPTION_COMPATIBLE:
        release->compatible = optarg;
        return argument_check_text("--compatible", optarg, error);
    case OPTION_CREATED:
        return argument_parse_time("--created", optarg, &release->created, error);
    case OPTION_EXPIRES:
        return argument_parse_time("--expires", optarg, &release->expires, error);
    case OPTION_ROLLOUT_START:
    case OPTION_ROLLOUT_DURATION:
    case OPTION_ROLLOUT_PERCENT:
    case OPTION_ROLLOUT_HOLD:
        return take_rollout_option(option, &release->rollout, error);
    case OPTION_AVERAGE:
        return argument_parse_average(optarg, &arguments->settings.average, error);
    case OPTION_SIGN:
        return take_secret_key(optarg, arguments, error);
    case OPTION_TRUSTED_COMMENT:
        arguments->settings.trusted_comment = optarg;
        return minisign_check_comment(optarg, error);
    case OPTION_PACK:
        arguments->settings.with_pack = true;
        return true;
    case OPTION_BASE:
        return take_base(arguments, optarg, error);
    case OPTION_PART:
        return take_part(arguments, optarg, error);
    case OPTION_SPAN_MAX:
        return take_bound("--span-max", optarg, MANIFEST_SPAN_MAX_LIMIT, &arguments->settings.span_max,
                          error);
    case OPTION_OUTPUT_MAX:
        return take_bound("--output-max", optarg, MANIFEST_OUTPUT_MAX_LIMIT, &arguments->settings.output_max,
                          error);
    case 'q':
        arguments->quiet = true;
        return true;
    case 'h':
        arguments->help = true;
        return true;
    default:
        return argument_set_option_error(option, argv, error);
    }
}

static bool parse_arguments(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    const struct manifest_release *release = &arguments->settings.release;
    int option;

    opterr = 0;
    optind = 0; /* makes glibc start over: the program's own options were parsed before */
    while ((option = getopt_long(argc, argv, ":qh", options, NULL)) != -1)
        if (!take_option(option, argv, arguments, error))
            return false;
    if (arguments->help)
        return true;
    if (argc - optind < 1 || argc - optind > 2)
        return error_set(error, ERROR_REFUSED, "it takes IMAGE and perhaps CHUNK_SIZE, and got %d arguments",
                         argc - optind);
    arguments->settings.image_path = argv[optind];
    if (argc - optind == 2 &&
        !argument_parse_chunk_size(argv[optind + 1], &arguments->settings.chunk_size, error))
        return false;
    if (arguments->settings.trusted_comment && !arguments->settings.sign_key)
        return error_set(error, ERROR_REFUSED, "--trusted-comment needs --sign");
    if (release->created && release->expires && release->expires <= release->created)
        return error_set(error, ERROR_REFUSED,
                         "--expires is not after --created, so no device would take this release");
    if (release->rollout.duration_s && !release->rollout.start_s && !release->created)
        return error_set(error, ERROR_REFUSED,
                         "--rollout-duration needs --rollout-start or --created to count from");
    return true;
}

struct run {
    struct generate_settings *settings;
    struct work *work;
    struct generate *generate;
    struct generate_result result;
};

static void on_progress(void *owner, const char *stage, uint64_t done, uint64_t total)
{
    const struct run *run = owner;

    work_progress(run->work, stage, done, total);
}

static bool prepare(void *owner, struct error *error)
{
    struct run *run = owner;

    return generate_new(run->settings, &run->generate, error);
}

static bool do_run(void *owner, struct work *work, struct error *error)
{
    struct run *run = owner;

    run->work = work;
    if (generate_run(run->generate, &run->result, error))
        return true;
    generate_abandon(run->generate); /* here, because a signal cannot interrupt it */
    return false;
}

static bool stop(void *owner)
{
    const struct run *run = owner;

    return generate_abandon(run->generate);
}

static int parse_and_run(struct arguments *arguments, int argc, char **argv)
{
    struct generate_settings *settings = &arguments->settings;
    struct run run = {.settings = settings};
    struct error error = {0};
    struct meter meter;

    if (!parse_arguments(argc, argv, arguments, &error))
        return event_line_write_usage(argv[0], &error);
    if (arguments->help) {
        fputs(help, stdout);
        return 0;
    }
    bool is_there = argument_check_access(settings->image_path, &error);
    for (uint32_t i = 0; is_there && i < settings->base_count; i++)
        is_there = argument_check_access(settings->base_paths[i], &error);
    for (uint32_t i = 0; is_there && i < settings->part_count; i++)
        is_there = argument_check_access(settings->parts[i].image_path, &error);
    if (!is_there)
        return event_line_write_failure(argv[0], &error);
    event_line_write_value("chunk_size", settings->chunk_size);
    settings->now_s = wall_clock_now_s();
    meter_init(&meter, argv[0], arguments->quiet);
    settings->progress = on_progress;
    settings->owner = &run;
    const struct work_settings work = {.verb = argv[0],
                                       .what = "generate",
                                       .meter = &meter,
                                       .prepare = prepare,
                                       .run = do_run,
                                       .stop = stop,
                                       .owner = &run};
    bool ok = work_run(&work, &error);
    generate_free(run.generate);
    settings->owner = NULL; /* the settings outlive `run` */
    if (!ok)
        return event_line_write_failure(argv[0], &error);
    generate_report_write(argv[0], settings, &run.result);
    return 0;
}

static int run_generate(int argc, char **argv)
{
    struct arguments arguments = {.settings = {.chunk_size = MANIFEST_CHUNK_SIZE_DEFAULT,
                                               .average = CHUNKER_AVERAGE_DEFAULT,
                                               .span_max = PACK_SPAN_MAX_DEFAULT,
                                               .output_max = PACK_OUTPUT_MAX_DEFAULT}};
    int status = parse_and_run(&arguments, argc, argv);

    minisign_secret_key_finish(&arguments.sign_key);
    return status;
}

const struct verb verb_generate = {
    .name = "generate",
    .arguments = "IMAGE [CHUNK_SIZE] [OPTION]...",
    .summary = "describe an image, so that devices can update to it",
    .run = run_generate,
};
