/* SPDX-License-Identifier: MIT */
#include "cli/publish/diff_images.h"

#include <errno.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/part_option.h"
#include "common/base/file_status.h"

void diff_images_init(struct diff_images *images, const char *new_path, const char *old_path)
{
    images->list[0] =
        (struct diff_image){.name = MANIFEST_MAIN_NAME, .new_path = new_path, .old_path = old_path};
    if (!images->count)
        images->count = 1;
}

bool diff_images_take_part(const char *typed, char *value, void *member, struct error *error)
{
    struct diff_images *images = member;
    struct part_option option;

    /* The place of the main image stays free. */
    unsigned place = images->count ? images->count : 1;
    if (!part_option_parse(value, &option, error))
        return false;
    if (option.slot != MANIFEST_PART_OF_BOTH)
        return error_set(
            error, ERROR_REFUSED,
            "--part %.40s= names a slot; a device fetches the image of one slot only, so leave out "
            "the @ and give either one's",
            option.name);
    if (place == DIFF_IMAGES_MAX)
        return error_set(error, ERROR_REFUSED, "--part may be given %d times at most", MANIFEST_PARTS_MAX);
    for (unsigned i = 1; i < place; i++)
        if (strcmp(images->list[i].name, option.name) == 0)
            return error_set(error, ERROR_REFUSED, "--part %.40s= is given twice", option.name);
    char *comma = strchr(option.value, ',');
    if (!comma || comma == option.value || !comma[1] || strchr(comma + 1, ','))
        return error_set(error, ERROR_REFUSED,
                         "--part %.40s= takes NEW,OLD: two images, whose names have no comma", option.name);
    *comma = '\0';
    images->list[place] =
        (struct diff_image){.name = option.name, .new_path = option.value, .old_path = comma + 1};
    images->count = place + 1;
    return true;
}

static bool check_others(const struct diff_images *images, unsigned number, struct error *error)
{
    const struct diff_image *image = &images->list[number];
    struct stat status, other;

    for (unsigned i = 0; i < number; i++)
        if (file_status(image->new_path, &status) == 0 &&
            file_status(images->list[i].new_path, &other) == 0 && file_status_is_same(&status, &other))
            return error_set(error, ERROR_REFUSED, "%s would be both %s and %s; name the new image of each",
                             image->new_path, images->list[i].name, image->name);
    return true;
}

bool diff_images_check(const struct diff_images *images, struct error *error)
{
    for (unsigned i = 0; i < images->count; i++)
        if (!argument_check_access(images->list[i].new_path, error) ||
            !argument_check_access(images->list[i].old_path, error) || !check_others(images, i, error))
            return false;
    return true;
}

static bool check_file(const char *path, struct error *error)
{
    struct stat status;

    if (file_status(path, &status) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_REFUSED,
                         "%s is no regular file, and a report publishes it; copy the image into one first",
                         path);
    return status.st_size > 0 ||
           error_set(error, ERROR_REFUSED,
                     "%s is empty, and no image of 0 bytes is published; there is nothing to report", path);
}

bool diff_images_check_new(const struct diff_images *images, struct error *error)
{
    for (unsigned i = 0; i < images->count; i++) {
        const char *path = images->list[i].new_path;
        if (!check_file(path, error))
            return false;
        for (unsigned j = 0; j < i; j++)
            if (strcmp(basename(images->list[j].new_path), basename(path)) == 0)
                return error_set(error, ERROR_REFUSED,
                                 "%s and %s have one name, and a set is published in one folder; give each "
                                 "image a name of its own",
                                 images->list[j].new_path, path);
    }
    return true;
}
