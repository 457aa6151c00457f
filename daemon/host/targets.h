/* SPDX-License-Identifier: MIT */
/*
 * What was installed and read back and is still open: the main image's partition, and those of the parts
 * where the release is a set. While they are open nobody else can open them for writing, so what is armed is
 * what was verified.
 */
#pragma once

#include <stdint.h>

#include "common/image/manifest_parts.h"
#include "common/io/device.h"

struct target {
    char name[MANIFEST_PART_NAME_MAX + 1]; /* of the part, or MANIFEST_MAIN_NAME */
    struct device *device;
    uint64_t image_bytes; /* length of the image in it */
};

struct targets {
    struct target list[1 + MANIFEST_PARTS_MAX];
    unsigned count;
};

/* An empty list; freed by targets_close(). */
struct targets *targets_new(void);

/* Adds a device, which is the list's from then on. */
void targets_add(struct targets *targets, const char *name, struct device *device, uint64_t image_bytes);

/* The target of that name; NULL if there is none. */
const struct target *targets_find(const struct targets *targets, const char *name);

/* Closes all, which may block: on a pool thread. NULL is fine. Returns NULL. */
struct targets *targets_close(struct targets *targets);
