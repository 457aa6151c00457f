/* SPDX-License-Identifier: MIT */
/*
 * Reading an opened target back from its medium and comparing it with the manifest: the SHA-256 of the image
 * where the manifest has one, else the ancestor's XXH32. In slices on a pool thread. The loop's thread calls
 * everything here; nothing blocks.
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
    void (*progress)(void *owner, uint64_t bytes); /* so many more were read and hashed */
    /* A file on a file system that has no way past the page cache: a note, once, before `done`, that what was
     * read need not be what is on the medium. NULL: nobody wants to know. */
    void (*cached)(void *owner, const struct error *why);
    /* The end, exactly once. NULL: equal. ERROR_MISMATCH: read, but not equal. xxh32 is that of what was
     * read, 0 unless all of it was. verify_free() is allowed inside. */
    void (*done)(void *owner, const struct error *error, uint32_t xxh32);
};

/* Begins; `device` and `manifest` must outlive it. */
struct verify *verify_start(struct pool *pool, const struct device *device, const struct manifest *manifest,
                            const struct verify_events *events, void *owner);

/* `done` comes with ERROR_CANCELLED as soon as the slice under way ends. */
void verify_stop(struct verify *verify);

/* In `done`, without an error: the SHA-256 of what was read. False where the manifest has none to compare
 * with. */
bool verify_get_sha256(const struct verify *verify, uint8_t ret_sha256[DIGEST_SHA256_SIZE]);

/* Frees after `done`; NULL is fine. Returns NULL. */
struct verify *verify_free(struct verify *verify);
