/* SPDX-License-Identifier: MIT */
/*
 * Whether a slot holds a certain image: hashes as many bytes of the slot as the image has, on a pool
 * thread, and compares. For a machine that was installed by other means, so nothing is recorded of its
 * running slot, and the running release must not be installed again. Reads the whole image, so the caller
 * does it once and remembers the result. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/io/pool.h"
#include "daemon/host/slot_print.h"

struct identify;

/* `equal`: the slot holds the image, and `print` (valid during the call) is its fingerprint, which has 0
 * bytes if it could not be taken. Not equal if the slot cannot be read or is too small, or if the run was
 * cancelled. */
typedef void (*identify_done_fn)(void *owner, bool equal, bool cancelled, const struct slot_print *print);

/* Reads `path`. `done` is called once, never from within, and the struct is freed after it. */
struct identify *identify_start(struct pool *pool, const char *path, uint64_t image_bytes,
                                const uint8_t sha256[DIGEST_SHA256_SIZE], identify_done_fn done, void *owner);

/* Asks the run to end soon; `done` is still called. NULL is fine. */
void identify_cancel(struct identify *identify);
