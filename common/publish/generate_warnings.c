/* SPDX-License-Identifier: MIT */
#include "common/publish/generate_warnings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/timestamp.h"
#include "common/publish/published.h"

static void __attribute__((format(printf, 3, 4)))
add(struct generate_result *result, const char *what, const char *format, ...)
{
    assert(result->warning_count < GENERATE_WARNINGS_MAX);
    struct generate_warning *warning = &result->warnings[result->warning_count++];
    va_list args;

    warning->what = what;
    va_start(args, format);
    vsnprintf(warning->text, sizeof(warning->text), format, args);
    va_end(args);
}

static void look_at_times(const struct manifest_release *release, uint64_t now_s,
                          struct generate_result *result)
{
    uint64_t start_s = release->rollout.start_s ? release->rollout.start_s : release->created;
    uint64_t last_turn_s = start_s + release->rollout.duration_s;
    char expires[TIMESTAMP_TEXT_SIZE], turn[TIMESTAMP_TEXT_SIZE];

    if (!release->expires)
        return;
    timestamp_format(expires, release->expires);
    if (now_s && release->expires <= now_s)
        add(result, "expires-past", "the release expired at %s, which is past, so no device installs it",
            expires);
    else if (release->rollout.present && last_turn_s >= release->expires)
        add(result, "expires-before-rollout-ends",
            "the release expires at %s, before the last device's turn at %s, so some devices never install it",
            expires, timestamp_format(turn, last_turn_s));
}

static bool is_same_image(const struct manifest *one, const struct manifest *other)
{
    return one->has_sha256 && other->has_sha256 && one->file_size == other->file_size &&
           memcmp(one->sha256, other->sha256, sizeof(one->sha256)) == 0;
}

/* Compares the serial with that of the manifest that is published under the same name. The same image may be
 * published again with the same serial: signed by another key, for more devices, or no longer held. */
static void look_at_serial(const char *image_path, const struct manifest *manifest,
                           struct generate_result *result)
{
    const struct manifest_release *release = &manifest->release;
    struct manifest *former = NULL;
    size_t size;

    if (!published_read_manifest(image_path, &former, &size, NULL, NULL))
        return;
    uint64_t serial = former->release.serial;
    if (former->release.has_serial && !release->has_serial)
        add(result, "serial-missing",
            "%s.json had the serial %" PRIu64
            ", and devices that installed it refuse a release without one; give "
            "--serial",
            image_path, serial);
    else if (former->release.has_serial &&
             (release->serial < serial || (release->serial == serial && !is_same_image(manifest, former))))
        add(result, "serial-not-above",
            "the serial %" PRIu64 " is not above %" PRIu64
            ", which %s.json had for another image; devices tell releases by it and refuse a lower one",
            release->serial, serial, image_path);
    manifest_free(former);
}

/* Looks at what came of a base. One that has nothing in common with the image still costs an index, which has
 * most of the table of chunks in it: so a large index tells such a base. */
static void look_at_base(const struct generate_settings *settings, uint32_t which,
                         struct generate_result *result)
{
    const struct pack_base_result *base = &result->pack.bases[which];
    const char *path = settings->base_paths[which];

    if (base->twin != PACK_NO_TWIN)
        add(result, "base-twice",
            "--base %.150s has the bytes of --base %.150s, which is given too; it was left out", path,
            settings->base_paths[base->twin]);
    else if (base->is_image)
        add(result, "base-is-image",
            "--base %.300s is the image itself, and a device that holds it needs no patch; give earlier releases",
            path);
    else if (base->patch_count == 0 && base->index_bytes > result->table_size_bytes / 4 * 3)
        add(result, "base-useless",
            "--base %.300s has next to nothing in common with the image: no patch came of it, and its index is nearly "
            "as large as the table of chunks; leave it out",
            path);
}

void generate_warnings_find(const struct generate_settings *settings, const struct manifest *manifest,
                            struct generate_result *result)
{
    look_at_times(&manifest->release, settings->now_s, result);
    look_at_serial(settings->image_path, manifest, result);
    for (uint32_t i = 0; i < settings->base_count; i++)
        look_at_base(settings, i, result);
    if (manifest->parts.count)
        add(result, "set-and-first-moonsinter",
            "the first moonsinter (in Lua) reads nothing of parts and would install %.150s alone; publish no set where it "
            "polls",
            settings->image_path);
}
