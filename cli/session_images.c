/* SPDX-License-Identifier: MIT */
#include "cli/session_images.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/part_option.h"
#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/sinter/plan.h"

void session_images_init(struct session_images *images, const char *target, char **seeds)
{
    images->list[0] = (struct session_image){.name = MANIFEST_MAIN_NAME, .target = target, .seeds = seeds};
    if (!images->count)
        images->count = 1;
}

bool session_images_take_part(const char *typed, char *value, void *member, struct error *error)
{
    struct session_images *images = member;
    struct part_option option;
    char *rest;

    /* The place of the main image stays free. */
    unsigned place = images->count ? images->count : 1;
    if (!part_option_parse(value, &option, error))
        return false;
    if (place > MANIFEST_PARTS_MAX)
        return error_set(error, ERROR_REFUSED, "--part may be given %d times at most", MANIFEST_PARTS_MAX);
    struct session_image image = {.name = option.name, .slot = option.slot};
    image.target = strtok_r(option.value, ",", &rest);
    if (!image.target || option.value != image.target)
        return error_set(error, ERROR_REFUSED, "--part %.40s= has no output; name a file or a block device",
                         option.name);
    image.seeds = alloc_zeroed((PLAN_SOURCE_SEED_LAST + 1) * sizeof(*image.seeds));
    images->list[place] = image;
    images->count = place + 1;
    char *seed = strtok_r(NULL, ",", &rest);
    for (unsigned i = 0; seed; seed = strtok_r(NULL, ",", &rest)) {
        if (i == PLAN_SOURCE_SEED_LAST)
            return error_set(error, ERROR_REFUSED, "--part %.40s= takes %d SEEDs at most", option.name,
                             PLAN_SOURCE_SEED_LAST);
        image.seeds[i++] = seed;
    }
    return true;
}

/* The name that a file has which is not there yet, without links; NULL if its folder is not there either. */
static char *name_to_be(const char *path, char *ret_name)
{
    CLEANUP_FREE char *folder = file_folder(path);

    if (!realpath(folder, ret_name) || realpath(path, ret_name) || errno != ENOENT)
        return NULL;
    return ret_name; /* glibc leaves there what it did not find: the file, as its folder is there */
}

/* Whether two names lead to one file, which need not be there yet. */
static bool is_same_output(const char *one, const char *other)
{
    char one_name[PATH_MAX], other_name[PATH_MAX];
    struct stat a, b;

    if (strcmp(one, other) == 0)
        return true;
    bool is_one_there = file_status(one, &a) == 0, is_other_there = file_status(other, &b) == 0;
    if (!is_one_there && !is_other_there)
        return name_to_be(one, one_name) && name_to_be(other, other_name) &&
               strcmp(one_name, other_name) == 0;
    if (!is_one_there || !is_other_there)
        return false;
    return file_status_is_same(&a, &b);
}

bool session_images_check_outputs(const struct session_images *images, struct error *error)
{
    for (unsigned i = 0; i < images->count; i++)
        for (unsigned j = i + 1; j < images->count; j++)
            if (is_same_output(images->list[i].target, images->list[j].target))
                return error_set(error, ERROR_REFUSED,
                                 "%s and %s would both be written into %s; give each an output of its own",
                                 images->list[i].name, images->list[j].name, images->list[j].target);
    return true;
}

static const struct session_image *find_image(const struct session_images *images, const char *name)
{
    for (unsigned i = 0; i < images->count; i++)
        if (strcmp(images->list[i].name, name) == 0)
            return &images->list[i];
    return NULL;
}

bool session_images_check_release(const struct session_images *images, const struct manifest_parts *parts,
                                  struct error *error)
{
    for (unsigned i = 1; i < images->count; i++) {
        const struct session_image *image = &images->list[i];
        const struct manifest_part *part = manifest_parts_find(parts, image->name);
        if (!part)
            return error_set(
                error, ERROR_REFUSED,
                "the release has no part %s; leave out --part %s=, or see what it has in its manifest",
                image->name, image->name);
        if (part->per_slot != (image->slot != MANIFEST_PART_OF_BOTH))
            return error_set(
                error, ERROR_REFUSED,
                part->per_slot ? "the part %s has an image for each slot; say --part %s@a= or --part %s@b="
                               : "the part %s has one image for both slots; say --part %s=, without @a or @b",
                image->name, image->name, image->name);
        if (find_image(images, image->name) != image)
            return error_set(error, ERROR_REFUSED, "--part %s= is given twice", image->name);
    }
    for (uint32_t i = 0; i < parts->count; i++)
        if (!find_image(images, parts->list[i].name))
            return error_set(
                error, ERROR_REFUSED,
                "the release is a set with a part %s, and would be torn without it; give --part %s%s=OUTPUT",
                parts->list[i].name, parts->list[i].name, parts->list[i].per_slot ? "@a" : "");
    return true;
}

uint32_t session_image_part(const struct session_image *image, const struct manifest_parts *parts)
{
    return (uint32_t)(manifest_parts_find(parts, image->name) - parts->list);
}

const struct manifest_part_file *session_image_file(const struct session_image *image,
                                                    const struct manifest_parts *parts)
{
    return &parts->list[session_image_part(image, parts)].files[image->slot == MANIFEST_PART_OF_B];
}

struct release *session_image_release(const struct session_image *image, struct release *set)
{
    return release_image(set, image->name, image->slot == MANIFEST_PART_OF_B);
}

void session_images_finish(struct session_images *images)
{
    for (unsigned i = 1; i < images->count; i++)
        free(images->list[i].seeds);
}
