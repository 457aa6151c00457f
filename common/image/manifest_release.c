/* SPDX-License-Identifier: MIT */
#include "common/image/manifest_release.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/timestamp.h"
#include "common/base/utf8.h"

/* Reads `version` or `compatible`, which may be missing. */
static bool want_text(struct json_object *object, const char *name, char **ret_text, struct error *error)
{
    const char *text = NULL;
    enum json_member member = json_get_string(object, name, &text);

    if (member == JSON_MEMBER_ABSENT)
        return true;
    if (member == JSON_MEMBER_BAD || !utf8_is_printable(text, MANIFEST_TEXT_MAX))
        return error_set(error, ERROR_FORMAT,
                         "moonsinter.release.%s of the manifest is no printable text of 1 to %d bytes", name,
                         MANIFEST_TEXT_MAX);
    *ret_text = alloc_string(text);
    return true;
}

/* `where` is "", or the name of a part of the release with a dot. */
static bool want_time(struct json_object *object, const char *where, const char *name, uint64_t *ret_seconds,
                      struct error *error)
{
    const char *text = NULL;
    uint64_t seconds = 0;
    enum json_member member = json_get_string(object, name, &text);

    if (member == JSON_MEMBER_ABSENT)
        return true;
    /* 0 stands for "not given", so the first second of 1970 cannot be given. */
    if (member == JSON_MEMBER_BAD || timestamp_parse(text, &seconds) < 0 || seconds == 0)
        return error_set(error, ERROR_FORMAT,
                         "moonsinter.release.%s%s of the manifest is no time like 2026-01-31T12:00:00Z",
                         where, name);
    *ret_seconds = seconds;
    return true;
}

/* Reads a whole number; if it is missing *ret_value keeps its value. */
static bool want_number(struct json_object *object, const char *where, const char *name, uint64_t max,
                        uint64_t *ret_value, struct error *error)
{
    if (json_get_u64(object, name, max, ret_value) != JSON_MEMBER_BAD)
        return true;
    return error_set(error, ERROR_FORMAT, "%s%s of the manifest is no whole number from 0 to %" PRIu64, where,
                     name, max);
}

/* The rollout decides whether this device installs, so anything odd is refused and not ignored. */
static bool parse_rollout(struct json_object *object, struct manifest_rollout *rollout, struct error *error)
{
    static const char where[] = "moonsinter.release.rollout.";
    uint64_t percent = MANIFEST_PERCENT_MAX;

    if (!want_time(object, "rollout.", "start", &rollout->start_s, error) ||
        !want_number(object, where, "duration", MANIFEST_ROLLOUT_DURATION_MAX, &rollout->duration_s, error) ||
        !want_number(object, where, "percent", MANIFEST_PERCENT_MAX, &percent, error))
        return false;
    if (json_get_bool(object, "hold", &rollout->hold) == JSON_MEMBER_BAD)
        return error_set(error, ERROR_FORMAT, "%shold of the manifest is neither true nor false", where);
    rollout->percent = (unsigned)percent;
    rollout->present = true;
    return true;
}

bool manifest_release_parse(struct json_object *object, struct manifest_release *release, struct error *error)
{
    struct json_object *part;

    if (!want_text(object, "version", &release->version, error) ||
        !want_text(object, "compatible", &release->compatible, error) ||
        !want_time(object, "", "created", &release->created, error) ||
        !want_time(object, "", "expires", &release->expires, error))
        return false;
    switch (json_get_object(object, "rollout", &part)) {
    case JSON_MEMBER_BAD:
        return error_set(error, ERROR_FORMAT, "moonsinter.release.rollout of the manifest is no object");
    case JSON_MEMBER_OK:
        if (!parse_rollout(part, &release->rollout, error))
            return false;
        break;
    case JSON_MEMBER_ABSENT:
        break;
    }
    switch (json_get_u64(object, "serial", MANIFEST_SERIAL_MAX, &release->serial)) {
    case JSON_MEMBER_ABSENT:
        return true;
    case JSON_MEMBER_BAD:
        return error_set(error, ERROR_FORMAT,
                         "moonsinter.release.serial of the manifest is no whole number from 0 to %" PRIu64,
                         MANIFEST_SERIAL_MAX);
    case JSON_MEMBER_OK:
        release->has_serial = true;
        return true;
    }
    return true;
}

static void add_time(struct json_object *object, const char *name, uint64_t seconds)
{
    char text[TIMESTAMP_TEXT_SIZE];

    if (seconds)
        json_add_string(object, name, timestamp_format(text, seconds));
}

static struct json_object *format_rollout(const struct manifest_rollout *rollout)
{
    struct json_object *object = json_object_new_object();

    add_time(object, "start", rollout->start_s);
    if (rollout->duration_s)
        json_add_u64(object, "duration", rollout->duration_s);
    if (rollout->percent != MANIFEST_PERCENT_MAX)
        json_add_u64(object, "percent", rollout->percent);
    if (rollout->hold)
        json_add_bool(object, "hold", true);
    return object;
}

struct json_object *manifest_release_format(const struct manifest_release *release)
{
    struct json_object *object = json_object_new_object();

    if (release->version)
        json_add_string(object, "version", release->version);
    if (release->has_serial)
        json_add_u64(object, "serial", release->serial);
    add_time(object, "created", release->created);
    add_time(object, "expires", release->expires);
    if (release->compatible)
        json_add_string(object, "compatible", release->compatible);
    if (release->rollout.present)
        json_object_object_add(object, "rollout", format_rollout(&release->rollout));
    if (json_object_object_length(object) > 0)
        return object;
    json_object_put(object);
    return NULL;
}

void manifest_release_finish(struct manifest_release *release)
{
    free(release->version);
    free(release->compatible);
}
