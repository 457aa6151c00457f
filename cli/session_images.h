/* SPDX-License-Identifier: MIT */
/*
 * The files of one run: those that `clone` and `plan` make, or `verify` looks at. The main image's, and those
 * of the parts where the release is a set. Does not block, except that outputs are looked at.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"
#include "common/sinter/release.h"

/* One image to be made. */
struct session_image {
    const char *name; /* of the part, or MANIFEST_MAIN_NAME */
    enum manifest_part_slot slot;
    const char *target;
    char **seeds; /* NULL-terminated */
};

struct session_images {
    /* The main image is the first. Parts follow in the order of the options. */
    struct session_image list[1 + MANIFEST_PARTS_MAX];
    unsigned count;
};

/* Sets the main image. `seeds` is NULL-terminated, and the caller's. */
void session_images_init(struct session_images *images, const char *target, char **seeds);

/* --part, for a table of options: adds NAME[@a|@b]=OUTPUT[,SEED]..., which is cut up, to a struct
 * session_images. */
bool session_images_take_part(const char *option, char *value, void *member, struct error *error);

/* Refuses two outputs that are one file or device. Names that differ may still lead to one file that is not
 * there yet, on vfat for instance: that is noticed as the second is opened, for the first is locked by then.
 */
bool session_images_check_outputs(const struct session_images *images, struct error *error);

/* Whether the options name the parts of that release, all of them and no others, each for one slot where
 * slots differ. */
bool session_images_check_release(const struct session_images *images, const struct manifest_parts *parts,
                                  struct error *error);

/* Of an image of a part, when session_images_check_release() approved: which part it is of the set's
 * manifest, and the file there that describes it. */
uint32_t session_image_part(const struct session_image *image, const struct manifest_parts *parts);
const struct manifest_part_file *session_image_file(const struct session_image *image,
                                                    const struct manifest_parts *parts);

/* The release of an image, main or part, in a set that has it. */
struct release *session_image_release(const struct session_image *image, struct release *set);

/* Frees the lists of the parts' seeds. */
void session_images_finish(struct session_images *images);
