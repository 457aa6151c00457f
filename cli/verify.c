/* SPDX-License-Identifier: MIT */
/* moonsinter verify: does this file or partition hold that image? */
#include "common/sinter/verify.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/argument.h"
#include "cli/engine.h"
#include "cli/event_line.h"
#include "cli/meter.h"
#include "cli/session_images.h"
#include "cli/trust_options.h"
#include "cli/verb.h"
#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/url.h"

static const char help[] =
    "Usage: moonsinter verify FILE MANIFEST [OPTION]...\n"
    "\n"
    "Reads FILE, a file or a block device, from its medium and says whether it holds the image that the local file\n"
    "MANIFEST describes: status 0 if it does, 1 if not.\n"
    "\n"
    "With a key, MANIFEST.minisig must be beside it.\n"
    "\n" TRUST_OPTIONS_HELP
    "  --part NAME=FILE        where MANIFEST is of a set: the file that holds this part, whose own manifest\n"
    "                          lies beside MANIFEST; each part needs one. NAME@a= or NAME@b= for a part with\n"
    "                          an image for each slot\n"
    "  -q, --quiet             no progress on the terminal\n"
    "  -h, --help              this text\n";

/* One image that is looked at: the main one, or a part of the set. */
struct verification_image {
    struct manifest *manifest;
    struct device *device;
};

struct verification {
    struct engine engine;
    struct meter meter;
    bool quiet;
    struct trust_options trust_options;
    struct trust trust;
    struct trust_verdict verdict;
    struct session_images images;                           /* which file has which image */
    struct verification_image list[1 + MANIFEST_PARTS_MAX]; /* in the same order */
    unsigned current;                                       /* the one that is being read */
    struct verify *verify;
    uint64_t bytes;
    bool failed;
    struct error error;
};

static void verification_on_progress(void *owner, uint64_t bytes)
{
    struct verification *run = owner;

    run->bytes += bytes;
    meter_show(&run->meter, run->bytes, run->list[run->current].manifest->file_size);
}

static void verification_on_cached(void *owner, const struct error *why)
{
    struct verification *run = owner;

    meter_clear(&run->meter);
    event_line_write_text("read_back_cached", why->message);
    if (meter_is_shown(&run->meter))
        event_line_tell("verify", why->message);
}

static void verification_begin(struct verification *run, unsigned number);

static void verification_on_done(void *owner, const struct error *error, uint32_t xxh32)
{
    struct verification *run = owner;

    run->failed = error != NULL;
    if (error)
        run->error = *error;
    run->verify = verify_free(run->verify);
    if (run->failed || run->current + 1 == run->images.count) {
        engine_end(&run->engine);
        return;
    }
    if (run->engine.signal) {
        /* It came when this image was read to its end, and the others were not. */
        run->failed = true;
        error_set(&run->error, ERROR_CANCELLED, "the verification was cancelled");
        engine_end(&run->engine);
        return;
    }
    verification_begin(run, run->current + 1);
}

static void verification_on_stop(void *owner)
{
    struct verification *run = owner;

    if (run->verify)
        verify_stop(run->verify);
}

/* Reads a manifest, and its signature if there are keys, and judges them. */
static bool load_manifest(const char *path, const struct trust *trust, struct trust_verdict *ret_verdict,
                          struct manifest **ret_manifest, struct error *error)
{
    CLEANUP_FREE char *signature_path = alloc_printf("%s.minisig", path), *text = NULL, *signature = NULL;
    struct trust_input input = {0};
    struct error missing = {0};
    bool distrusted;

    if (!file_read(path, MANIFEST_SIZE_MAX, &text, &input.manifest_size, error))
        return false;
    input.manifest = text;
    if (trust_looks_at_signatures(trust) &&
        file_read(signature_path, MINISIGN_SIGNATURE_SIZE_MAX, &signature, &input.signature_size, &missing))
        input.signature = signature;
    input.no_signature = *missing.message ? missing.message : NULL;
    return trust_parse_manifest(trust, &input, ret_verdict, ret_manifest, &distrusted, error) ||
           error_prefix(error, "%s", path);
}

/* Reads the manifest of a part, which lies beside the main image's, and has to be the one that it names. */
static bool verification_load_part(struct verification *run, unsigned number, const char *main_path,
                                   struct error *error)
{
    const struct manifest_part_file *file =
        session_image_file(&run->images.list[number], &run->list[0].manifest->parts);
    const struct trust trust = {.part = file, .part_sha256_only = run->verdict.sha256_only};
    CLEANUP_FREE char *name = url_name_of_reference(file->url), *folder = file_folder(main_path);
    struct trust_verdict verdict;

    if (!name)
        return error_set(
            error, ERROR_REFUSED,
            "%s looks for the manifest of its part %s in another folder; put it beside this one and verify "
            "the part alone",
            main_path, run->images.list[number].name);
    CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, name);
    return load_manifest(path, &trust, &verdict, &run->list[number].manifest, error);
}

/* Starts to read an image; the manifest is there, and the file is open. */
static void verification_begin(struct verification *run, unsigned number)
{
    static const struct verify_events events = {
        .progress = verification_on_progress,
        .cached = verification_on_cached,
        .done = verification_on_done,
    };
    const struct verification_image *image = &run->list[number];

    run->current = number;
    run->bytes = 0;
    run->verify = verify_start(run->engine.pool, image->device, image->manifest, &events, run);
}

/* All is opened before anything is read, as reading takes long. */
static bool verification_run(struct verification *run, const char *manifest_path, struct error *error)
{
    if (!load_manifest(manifest_path, &run->trust, &run->verdict, &run->list[0].manifest, error) ||
        !session_images_check_release(&run->images, &run->list[0].manifest->parts, error))
        return false;
    for (unsigned i = 0; i < run->images.count; i++)
        if ((i > 0 && !verification_load_part(run, i, manifest_path, error)) ||
            !device_open_source(run->images.list[i].target, &run->list[i].device, error))
            return false;
    if (!engine_init(&run->engine, NULL, verification_on_stop, run, error))
        return false;
    verification_begin(run, 0);
    engine_run(&run->engine);
    *error = run->error;
    return !run->failed;
}

static void write_done(const struct verification *run)
{
    const struct manifest *manifest = run->list[0].manifest;
    struct json_object *event = event_line_new("done");
    char sha256[DIGEST_SHA256_HEX_SIZE];

    json_add_u64(event, "file_size", manifest->file_size);
    json_add_u64(event, "file_hash", manifest->file_hash);
    if (manifest->has_sha256) {
        digest_sha256_to_hex(manifest->sha256, sha256);
        json_add_string(event, "sha256", sha256);
    }
    if (run->verdict.is_signed) {
        json_add_string(event, "key", run->verdict.key_id);
        json_add_string(event, "trusted_comment", run->verdict.comment);
    }
    event_line_write(event);
}

static const struct argument_option options[] = {
    {"key", trust_options_take_key, offsetof(struct verification, trust_options)},
    {"require-signature", NULL, offsetof(struct verification, trust_options.required)},
    {"part", session_images_take_part, offsetof(struct verification, images)},
    {"quiet", NULL, offsetof(struct verification, quiet)},
    {NULL, NULL, 0},
};

static bool parse_arguments(struct verification *run, int argc, char **argv, struct error *error)
{
    if (!argument_parse_options(options, help, argc, argv, run, error))
        return false;
    if (argc - optind != 2)
        return error_set(error, ERROR_REFUSED, "it takes FILE and MANIFEST, and got %d arguments",
                         argc - optind);
    session_images_init(&run->images, argv[optind], argv + argc);
    for (unsigned i = 1; i < run->images.count; i++)
        if (run->images.list[i].seeds[0])
            return error_set(error, ERROR_REFUSED,
                             "--part %s= takes one FILE, whose name has no comma; seeds are for clone",
                             run->images.list[i].name);
    return trust_options_get(&run->trust_options, &run->trust, error);
}

static int run_verify(int argc, char **argv)
{
    struct verification run = {0};
    struct error error = {0};
    int status = 0;

    if (!parse_arguments(&run, argc, argv, &error)) {
        status = argument_end(argv[0], &error);
    } else {
        meter_init(&run.meter, argv[0], run.quiet);
        bool ok = verification_run(&run, argv[optind + 1], &error);
        meter_clear(&run.meter);
        /* Before the sentence is written: if nobody reads it, a signal must be able to end the process. */
        engine_finish(&run.engine);
        if (ok)
            write_done(&run);
        else
            status = event_line_write_failure(argv[0], &error);
        status = engine_exit_status(&run.engine, status);
    }
    for (unsigned i = 0; i < run.images.count; i++) {
        device_close(run.list[i].device);
        manifest_free(run.list[i].manifest);
    }
    session_images_finish(&run.images);
    free(run.verdict.comment);
    trust_options_finish(&run.trust_options);
    return status;
}

const struct verb verb_verify = {
    .name = "verify",
    .summary = "say whether FILE holds the image of MANIFEST",
    .run = run_verify,
};
