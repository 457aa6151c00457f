/* SPDX-License-Identifier: MIT */
/*
 * Reads an opened target back from its medium and compares it with the manifest: by XXH32, and by SHA-256 if
 * the manifest has one. Works in slices on a pool thread. The loop's thread calls everything here; nothing
 * blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/io/device.h"
#include "common/io/pool.h"

struct verify;

struct verify_events {
    void (*progress)(void *owner, uint64_t bytes); /* `bytes` more were read and hashed */
    /* The target is a file that cannot be read past the page cache, so what was read may not be what is on
     * the medium. A note, at most once, before `done`. May be NULL. */
    void (*cached)(void *owner, const struct error *why);
    /* The end, exactly once. `error` is NULL if the target equals the image, ERROR_MISMATCH if it was read
     * and does not. xxh32 is that of what was read, or 0 if not all was read. verify_free() is allowed
     * inside. */
    void (*done)(void *owner, const struct error *error, uint32_t xxh32);
};

/* Begins; `device` and `manifest` must outlive it. */
struct verify *verify_start(struct pool *pool, const struct device *device, const struct manifest *manifest,
                            const struct verify_events *events, void *owner);

/* `done` comes with ERROR_CANCELLED as soon as the slice under way ends. */
void verify_stop(struct verify *verify);

/* Inside a `done` without an error: the SHA-256 of what was read. False if the manifest has none. */
bool verify_get_sha256(const struct verify *verify, uint8_t ret_sha256[DIGEST_SHA256_SIZE]);

/* Frees after `done`; NULL is fine. Returns NULL. */
struct verify *verify_free(struct verify *verify);
