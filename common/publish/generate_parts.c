/* SPDX-License-Identifier: MIT */
#include "common/publish/generate_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/image/manifest.h"
#include "common/image/url.h"
#include "common/publish/published.h"

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The folder of a file, to be compared; NULL with errno if it is not there. The caller's. */
static char *folder_of(const char *path)
{
    CLEANUP_FREE char *folder = file_folder(path);

    return realpath(folder, NULL);
}

/* Devices find a part's manifest by a reference from the main one's. One without folders stays right wherever
 * the files are published together. */
static bool check_place(const char *main_path, const char *path, struct error *error)
{
    CLEANUP_FREE char *folder = folder_of(path), *main_folder = folder_of(main_path);

    if (!folder || !main_folder)
        return error_set_errno(error, errno, "cannot find the folder of %s", folder ? main_path : path);
    if (strcmp(folder, main_folder) != 0)
        return error_set(
            error, ERROR_REFUSED,
            "%s lies in another folder than %s; a set is published in one, so put its images together", path,
            main_path);
    if (strcmp(name_of(path), name_of(main_path)) == 0)
        return error_set(error, ERROR_REFUSED, "%s is the main image, and no part of it", path);
    return true;
}

/* Whether the manifest describes an image that can be a part, and this one by its size. That it has the bytes
 * was seen by the generate that made it. */
static bool check_manifest(const struct manifest *manifest, const char *path, struct error *error)
{
    const char *why = manifest_check_part(manifest);
    struct stat status;

    if (why)
        return error_set(error, ERROR_REFUSED, "%s.json %s", path, why);
    if (file_status(path, &status) < 0)
        return error_set_errno(error, errno, "cannot open %s for reading", path);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != manifest->file_size)
        return error_set(error, ERROR_REFUSED,
                         "%s.json describes an image of %" PRIu64
                         " bytes, which %s is not; run moonsinter generate %s again",
                         path, manifest->file_size, path, path);
    return true;
}

static bool read_file(const char *main_path, const char *path, struct manifest_part_file *ret_file,
                      struct error *error)
{
    CLEANUP_FREE char *name = alloc_printf("%s.json", name_of(path));
    struct manifest *manifest = NULL;
    struct error problem;
    size_t size;

    if (!check_place(main_path, path, error))
        return false;
    if (!published_read_manifest(path, &manifest, &size, ret_file->sha256, &problem)) {
        if (problem.code == ENOENT)
            return error_set(error, ERROR_REFUSED, "there is no %s.json; run moonsinter generate %s first",
                             path, path);
        *error = problem;
        return false;
    }
    bool ok = check_manifest(manifest, path, error);
    manifest_free(manifest);
    ret_file->url = ok ? url_reference_of_name(name) : NULL;
    ret_file->size_bytes = size;
    return ok;
}

/* The part of that name, which is added where it is not there yet; NULL if there are too many. */
static struct manifest_part *find_or_add(struct manifest_parts *parts, const struct generate_part *given)
{
    for (uint32_t i = 0; i < parts->count; i++)
        if (strcmp(parts->list[i].name, given->name) == 0)
            return &parts->list[i];
    if (parts->count == MANIFEST_PARTS_MAX)
        return NULL;
    struct manifest_part *part = &parts->list[parts->count++];
    strcpy(part->name, given->name);
    part->per_slot = given->slot != MANIFEST_PART_OF_BOTH;
    return part;
}

bool generate_parts_read(const char *main_path, const struct generate_part *parts, uint32_t count,
                         struct manifest_parts *ret_parts, struct error *error)
{
    *ret_parts = (struct manifest_parts){0};
    if (count == 0)
        return true;
    ret_parts->list = alloc_zeroed(MANIFEST_PARTS_MAX * sizeof(*ret_parts->list));
    for (uint32_t i = 0; i < count; i++) {
        struct manifest_part *part = find_or_add(ret_parts, &parts[i]);
        if (!part)
            return error_set(error, ERROR_REFUSED, "a set has %d parts at most", MANIFEST_PARTS_MAX);
        struct manifest_part_file *file = &part->files[parts[i].slot == MANIFEST_PART_OF_B];
        if (file->url || part->per_slot != (parts[i].slot != MANIFEST_PART_OF_BOTH))
            return error_set(error, ERROR_REFUSED,
                             "--part %s is given twice; a part has one image for both slots, or one for each",
                             parts[i].name);
        if (!read_file(main_path, parts[i].image_path, file, error))
            return false;
    }
    for (uint32_t i = 0; i < ret_parts->count; i++) {
        const struct manifest_part *part = &ret_parts->list[i];
        bool has_a = part->files[0].url, has_b = part->files[1].url;
        if (part->per_slot && !(has_a && has_b))
            return error_set(error, ERROR_REFUSED,
                             "--part %s@%c= is missing; the other slot needs an image, too", part->name,
                             has_a ? 'b' : 'a');
    }
    return true;
}
