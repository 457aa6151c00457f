/* SPDX-License-Identifier: MIT */
/*
 * What makes a release a set: images that are published beside the main image, each described by an ordinary
 * generate before. Blocks while it reads their manifests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"

/* One image of a part. The strings remain the caller's. */
struct generate_part {
    const char *name; /* as manifest_part_check_name() takes it */
    enum manifest_part_slot slot;
    const char *image_path; /* IMAGE.json and IMAGE.chunks are beside it */
};

enum { GENERATE_PARTS_MAX = 2 * MANIFEST_PARTS_MAX };

/* Reads the manifests of the parts' images, and makes the main image's member of them. Refuses an image that
 * lies in another folder than `main_path`, is the main image, or whose manifest does not fit it or says too
 * little. The caller finishes *ret_parts, also after a failure. */
bool generate_parts_read(const char *main_path, const struct generate_part *parts, uint32_t count,
                         struct manifest_parts *ret_parts, struct error *error);
