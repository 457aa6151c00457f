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
};

/* Any of the rollout's options makes it one; the others keep their defaults. */
static void begin_rollout(struct manifest_rollout *rollout)
{
    if (!rollout->present)
        rollout->percent = MANIFEST_PERCENT_MAX;
    rollout->present = true;
}

static bool take_rollout_start(const char *option, char *value, void *member, struct error *error)
{
    struct manifest_rollout *rollout = member;

    begin_rollout(rollout);
    return argument_take_time(option, value, &rollout->start_s, error);
}

static bool take_rollout_duration(const char *option, char *value, void *member, struct error *error)
{
    struct manifest_rollout *rollout = member;
    uint64_t ms;

    begin_rollout(rollout);
    if (text_parse_duration(value, &ms) < 0 || ms % 1000 != 0 || ms / 1000 > MANIFEST_ROLLOUT_DURATION_MAX)
        return error_set(error, ERROR_REFUSED,
                         "%s takes a time such as 12h or 3d in whole seconds, not %.100s", option, value);
    rollout->duration_s = ms / 1000;
    return true;
}

static bool take_rollout_percent(const char *option, char *value, void *member, struct error *error)
{
    struct manifest_rollout *rollout = member;
    uint64_t percent;

    begin_rollout(rollout);
    if (text_parse_u64(value, &percent) < 0 || percent > MANIFEST_PERCENT_MAX)
        return error_set(error, ERROR_REFUSED, "%s takes a whole number from 0 to 100, not %.100s", option,
                         value);
    rollout->percent = (unsigned)percent;
    return true;
}

static bool take_serial(const char *option, char *value, void *member, struct error *error)
{
    struct manifest_release *release = member;

    release->has_serial =
        text_parse_u64(value, &release->serial) == 0 && release->serial <= MANIFEST_SERIAL_MAX;
    return release->has_serial ||
           error_set(error, ERROR_REFUSED, "%s takes a whole number below 2^63, not %.100s", option, value);
}

static bool take_secret_key(const char *option, char *value, void *member, struct error *error)
{
    struct arguments *arguments = member;
    char *text;
    size_t size;

    if (!file_read(value, MINISIGN_KEY_SIZE_MAX, &text, &size, error))
        return false;
    bool ok = minisign_parse_secret_key(text, size, &arguments->sign_key, error);
    explicit_bzero(text, size);
    free(text);
    if (!ok)
        return error_prefix(error, "%s", value);
    arguments->settings.sign_key = &arguments->sign_key;
    return true;
}

static bool take_comment(const char *option, char *value, void *member, struct error *error)
{
    return minisign_check_comment(value, error) && argument_take_text(option, value, member, error);
}

static bool take_base(const char *option, char *value, void *member, struct error *error)
{
    struct arguments *arguments = member;
    struct generate_settings *settings = &arguments->settings;

    if (settings->base_count == MANIFEST_BASES_MAX)
        return error_set(error, ERROR_REFUSED, "%s may be given %d times at most", option,
                         MANIFEST_BASES_MAX);
    arguments->bases[settings->base_count++] = value;
    settings->base_paths = arguments->bases;
    return true;
}

static bool take_part(const char *option, char *value, void *member, struct error *error)
{
    struct arguments *arguments = member;
    struct generate_settings *settings = &arguments->settings;
    struct part_option part;

    if (settings->part_count == GENERATE_PARTS_MAX)
        return error_set(error, ERROR_REFUSED, "%s may be given %d times at most", option,
                         GENERATE_PARTS_MAX);
    if (!part_option_parse(value, &part, error))
        return false;
    arguments->parts[settings->part_count++] =
        (struct generate_part){.name = part.name, .slot = part.slot, .image_path = part.value};
    settings->parts = arguments->parts;
    return true;
}

/* Reads a limit for patches. */
static bool take_bound(const char *option, const char *value, uint32_t most, uint32_t *ret_bytes,
                       struct error *error)
{
    uint64_t bytes;

    if (text_parse_size(value, &bytes) < 0 || bytes < PACK_BOUND_LEAST || bytes > most)
        return error_set(error, ERROR_REFUSED, "%s takes a size from %dK to %" PRIu32 "M, not %.100s", option,
                         PACK_BOUND_LEAST / 1024, most / 1024 / 1024, value);
    *ret_bytes = (uint32_t)bytes;
    return true;
}

static bool take_span_max(const char *option, char *value, void *member, struct error *error)
{
    return take_bound(option, value, MANIFEST_SPAN_MAX_LIMIT, member, error);
}

static bool take_output_max(const char *option, char *value, void *member, struct error *error)
{
    return take_bound(option, value, MANIFEST_OUTPUT_MAX_LIMIT, member, error);
}

static const struct argument_option options[] = {
    {"version", argument_take_printable, offsetof(struct arguments, settings.release.version)},
    {"serial", take_serial, offsetof(struct arguments, settings.release)},
    {"compatible", argument_take_printable, offsetof(struct arguments, settings.release.compatible)},
    {"created", argument_take_time, offsetof(struct arguments, settings.release.created)},
    {"expires", argument_take_time, offsetof(struct arguments, settings.release.expires)},
    {"rollout-start", take_rollout_start, offsetof(struct arguments, settings.release.rollout)},
    {"rollout-duration", take_rollout_duration, offsetof(struct arguments, settings.release.rollout)},
    {"rollout-percent", take_rollout_percent, offsetof(struct arguments, settings.release.rollout)},
    {"rollout-hold", NULL, offsetof(struct arguments, settings.release.rollout.hold)},
    {"average", argument_take_average, offsetof(struct arguments, settings.average)},
    {"sign", take_secret_key, 0},
    {"trusted-comment", take_comment, offsetof(struct arguments, settings.trusted_comment)},
    {"pack", NULL, offsetof(struct arguments, settings.with_pack)},
    {"base", take_base, 0},
    {"part", take_part, 0},
    {"span-max", take_span_max, offsetof(struct arguments, settings.span_max)},
    {"output-max", take_output_max, offsetof(struct arguments, settings.output_max)},
    {"quiet", NULL, offsetof(struct arguments, quiet)},
    {NULL, NULL, 0},
};

static bool parse_arguments(int argc, char **argv, struct arguments *arguments, struct error *error)
{
    struct manifest_release *release = &arguments->settings.release;

    if (!argument_parse_options(options, help, argc, argv, arguments, error))
        return false;
    if (release->rollout.hold)
        begin_rollout(&release->rollout);
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
        return argument_end(argv[0], &error);
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
    .summary = "describe an image, so that devices can update to it",
    .run = run_generate,
};
