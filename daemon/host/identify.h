/* SPDX-License-Identifier: MIT */
/*
 * Whether a slot holds a certain image: its first bytes hashed and compared, on a pool thread. For a machine
 * that was installed by other means and has nothing recorded of the slot it runs, so that what runs is not
 * installed again. Reads the slot whole, so it is done once and remembered. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/io/pool.h"
#include "daemon/host/slot_print.h"

struct identify;

/* `equal`: it holds the image, and `print` (valid during the call) is its fingerprint, of 0 bytes where there
 * is none. A slot that cannot be read, is too small, or a cancelled run is not equal. */
typedef void (*identify_done_fn)(void *owner, bool equal, bool cancelled, const struct slot_print *print);

/* Reads `path`; `done` is called once, never from within, and the structure ends with it. */
struct identify *identify_start(struct pool *pool, const char *path, uint64_t image_bytes,
                                const uint8_t sha256[DIGEST_SHA256_SIZE], identify_done_fn done, void *owner);

/* Asks it to end soon; `done` comes all the same. NULL is fine. */
void identify_cancel(struct identify *identify);
