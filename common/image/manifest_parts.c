/* SPDX-License-Identifier: MIT */
#include "common/image/manifest_parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/image/manifest.h"
#include "common/image/manifest_member.h"
#include "common/image/url.h"

static const char *const slot_members[] = {"a", "b"};

const char *manifest_part_check_name(const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size > MANIFEST_PART_NAME_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != size)
        return "is no name of a part: it takes 1 to 32 of a-z, 0-9 and \"-\"";
    if (strcmp(name, MANIFEST_MAIN_NAME) == 0)
        return "is the main image's name, and not for a part";
    return NULL;
}

const struct manifest_part *manifest_parts_find(const struct manifest_parts *parts, const char *name)
{
    for (uint32_t i = 0; i < parts->count; i++)
        if (strcmp(parts->list[i].name, name) == 0)
            return &parts->list[i];
    return NULL;
}

/* Where the path of a reference begins, of which `size` bytes stand before its query. */
static const char *find_path(const char *url, size_t size)
{
    const char *slashes = memmem(url, size, "//", 2);
    bool names_host =
        slashes && (slashes == url || (slashes[-1] == ':' && !memchr(url, '/', (size_t)(slashes - url))));

    return names_host ? slashes + 2 + strcspn(slashes + 2, "/?#") : url;
}

/* The image lies beside its manifest, under the same name without .json. What is left must be the name of a
 * file in the same folder, on the same host: "//host.json", for one, would become another host. */
static bool leads_to_manifest(const char *url)
{
    static const char suffix[] = ".json";
    const char *end = url + strcspn(url, "?#"), *path = find_path(url, (size_t)(end - url));
    const char *slash = memrchr(path, '/', (size_t)(end - path)), *name = slash ? slash + 1 : path;
    size_t size = (size_t)(end - name), suffix_size = strlen(suffix);

    if (size <= suffix_size || memcmp(end - suffix_size, suffix, suffix_size) != 0)
        return false;
    size -= suffix_size;
    return !(size <= 2 && memcmp(name, "..", size) == 0);
}

static bool parse_file(struct json_object *object, const char *where, struct manifest_part_file *file,
                       struct error *error)
{
    if (!manifest_need_url(object, where, &file->url, error) ||
        !manifest_need_number(object, where, "size", 1, MANIFEST_SIZE_MAX, &file->size_bytes, error) ||
        !manifest_need_sha256(object, where, file->sha256, error))
        return false;
    if (!leads_to_manifest(file->url))
        return error_set(
            error, ERROR_FORMAT,
            "%surl of the manifest leads to no manifest: its path does not end in .json with a name before it",
            where);
    return true;
}

/* The files of one part: `manifest` for both slots, or `a` and `b`. */
static bool parse_files(struct json_object *object, const char *where, struct manifest_part *part,
                        struct error *error)
{
    struct json_object *both, *each[2];
    enum json_member has_both = json_get_object(object, "manifest", &both);
    enum json_member has_a = json_get_object(object, slot_members[0], &each[0]);
    enum json_member has_b = json_get_object(object, slot_members[1], &each[1]);

    part->per_slot = has_both == JSON_MEMBER_ABSENT;
    if (!part->per_slot && has_both == JSON_MEMBER_OK && has_a == JSON_MEMBER_ABSENT &&
        has_b == JSON_MEMBER_ABSENT) {
        CLEANUP_FREE char *inner = alloc_printf("%s.manifest.", where);
        return parse_file(both, inner, &part->files[0], error);
    }
    if (!part->per_slot || has_a != JSON_MEMBER_OK || has_b != JSON_MEMBER_OK)
        return error_set(error, ERROR_FORMAT,
                         "%s of the manifest has to have either the object manifest, or the objects a and b",
                         where);
    for (int i = 0; i < 2; i++) {
        CLEANUP_FREE char *inner = alloc_printf("%s.%s.", where, slot_members[i]);
        if (!parse_file(each[i], inner, &part->files[i], error))
            return false;
    }
    return true;
}

static bool parse_part(struct json_object *object, uint32_t number, struct manifest_parts *parts,
                       struct error *error)
{
    CLEANUP_FREE char *where = alloc_printf("moonsinter.parts[%u]", number);
    CLEANUP_FREE char *members = alloc_printf("%s.", where);
    struct manifest_part *part = &parts->list[number];
    const char *name;

    if (!json_object_is_type(object, json_type_object))
        return error_set(error, ERROR_FORMAT, "%s of the manifest is no object", where);
    if (!manifest_need_string(object, members, "name", &name, error))
        return false;
    const char *why = manifest_part_check_name(name);
    if (why)
        return error_set(error, ERROR_FORMAT, "%sname of the manifest, %.40s, %s", members, name, why);
    if (manifest_parts_find(parts, name))
        return error_set(error, ERROR_FORMAT, "the manifest has two parts with the name %s", name);
    strcpy(part->name, name);
    return parse_files(object, where, part, error);
}

bool manifest_parts_parse(struct json_object *array, struct manifest_parts *parts, struct error *error)
{
    size_t count = json_object_array_length(array);

    if (count < 1 || count > MANIFEST_PARTS_MAX)
        return error_set(error, ERROR_FORMAT, "the manifest has %zu parts; a set has 1 to %d", count,
                         MANIFEST_PARTS_MAX);
    /* Room for all, so that what a part that cannot be parsed holds is freed with the others. */
    parts->list = alloc_zeroed(MANIFEST_PARTS_MAX * sizeof(*parts->list));
    for (uint32_t i = 0; i < count; i++) {
        if (!parse_part(json_object_array_get_idx(array, i), i, parts, error))
            return false;
        parts->count = i + 1;
    }
    return true;
}

static struct json_object *format_file(const struct manifest_part_file *file)
{
    struct json_object *object = json_object_new_object();

    json_add_string(object, "url", file->url);
    json_add_u64(object, "size", file->size_bytes);
    manifest_add_sha256(object, file->sha256);
    return object;
}

struct json_object *manifest_parts_format(const struct manifest_parts *parts)
{
    if (!parts->count)
        return NULL;
    struct json_object *array = json_object_new_array();
    for (uint32_t i = 0; i < parts->count; i++) {
        const struct manifest_part *part = &parts->list[i];
        struct json_object *object = json_object_new_object();
        json_add_string(object, "name", part->name);
        if (!part->per_slot)
            json_object_object_add(object, "manifest", format_file(&part->files[0]));
        for (int slot = 0; part->per_slot && slot < 2; slot++)
            json_object_object_add(object, slot_members[slot], format_file(&part->files[slot]));
        json_object_array_add(array, object);
    }
    return array;
}

void manifest_parts_finish(struct manifest_parts *parts)
{
    for (uint32_t i = 0; parts->list && i < MANIFEST_PARTS_MAX; i++)
        for (int slot = 0; slot < 2; slot++)
            free(parts->list[i].files[slot].url);
    free(parts->list);
    *parts = (struct manifest_parts){0};
}
