/* SPDX-License-Identifier: MIT */
/*
 * Whether a slot holds a certain release: hashes as many bytes of each place as its image has, one after
 * another on a pool thread, and compares. For a machine that was installed by other means, so nothing is
 * recorded of its running slot, and the running release must not be installed again. Reads all images whole,
 * so the caller does it once and remembers the result. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/image/manifest_parts.h"
#include "common/io/pool.h"
#include "daemon/host/slot_print.h"

enum { IDENTIFY_IMAGES_MAX = 1 + MANIFEST_PARTS_MAX };

struct identify;

/* An image and where it should lie. */
struct identify_image {
    const char *path;
    uint64_t bytes;
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

/* `equal`: each place holds its image, and `prints` (one for each image, in order, valid during the call) are
 * their fingerprints; one that could not be taken has 0 bytes. Not equal if one of them differs, cannot be
 * read or is too small, or if the run was cancelled. */
typedef void (*identify_done_fn)(void *owner, bool equal, bool cancelled, const struct slot_print *prints);

/* Reads the places of `count` images (1 to IDENTIFY_IMAGES_MAX), which are copied. `done` is called once,
 * never from within, and the struct is freed after it. */
struct identify *identify_start(struct pool *pool, const struct identify_image *images, unsigned count,
                                identify_done_fn done, void *owner);

/* Asks the run to end soon; `done` is still called. NULL is fine. */
void identify_cancel(struct identify *identify);
