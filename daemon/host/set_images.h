/* SPDX-License-Identifier: MIT */
/*
 * The images of a release with their places in a slot, in the form in which clone_set.h takes them: the parts
 * first, the main image last. The same place of the other slot is each one's seed. Pure.
 */
#pragma once

#include "common/sinter/clone_set.h"
#include "common/sinter/release.h"
#include "daemon/host/slots.h"

struct set_images {
    struct clone_set_image list[CLONE_SET_IMAGES_MAX]; /* points into the release, the slots and `seeds` */
    unsigned count;
    const char *seeds[CLONE_SET_IMAGES_MAX][2]; /* NULL-terminated */
};

/* Fills in the images of `release`, whose parts were fetched and have places, for slot `target`. */
void set_images_find(struct release *release, const struct slots *slots, enum slot target,
                     struct set_images *ret_images);

/* The settings to clone, or only plan, these images with; the caller sets the rest. */
struct clone_set_settings set_images_settings(const struct set_images *images);
