/* SPDX-License-Identifier: MIT */
/*
 * The images that `diff` compares: NEW and OLD, and those of the parts where they are of a set. Looks at
 * files, which may block.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"

enum { DIFF_IMAGES_MAX = 1 + MANIFEST_PARTS_MAX };

struct diff_image {
    const char *name; /* of the part, or MANIFEST_MAIN_NAME */
    const char *new_path;
    const char *old_path;
};

struct diff_images {
    /* The main image is the first. Parts follow in the order of the options. */
    struct diff_image list[DIFF_IMAGES_MAX];
    unsigned count;
};

/* Sets the main image. */
void diff_images_init(struct diff_images *images, const char *new_path, const char *old_path);

/* --part, for a table of options: adds NAME=NEW,OLD, which is cut up, to a struct diff_images. */
bool diff_images_take_part(const char *option, char *value, void *member, struct error *error);

/* Whether all may be read, and no NEW is another's, too. */
bool diff_images_check(const struct diff_images *images, struct error *error);

/* Whether each NEW can be published, all in one folder. */
bool diff_images_check_new(const struct diff_images *images, struct error *error);
