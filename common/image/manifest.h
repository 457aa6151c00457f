/* SPDX-License-Identifier: MIT */
/*
 * IMAGE.json: the ancestor's five members, and ours under "moonsinter". Parsing checks every count, size and
 * offset against the others before memory is allocated by it. Specified in docs/manifest.md. Never blocks,
 * but parsing a large manifest takes milliseconds: run it on a pool thread. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/image/manifest_pack.h"
#include "common/image/manifest_parts.h"
#include "common/image/manifest_release.h"

enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_FORMAT_SET = 2, /* of a release with parts */
    /* 12 MiB is enough for the fixed chunks of a 160 GiB image at 128 KiB each; a larger file is refused
     * unread. */
    MANIFEST_SIZE_MAX = 12 * 1024 * 1024,
    MANIFEST_CHUNK_SIZE_DEFAULT = 128 * 1024,
    MANIFEST_CHUNK_SIZE_MAX = 1024 * 1024 * 1024,
    /* A fixed chunk is fetched and checked in one buffer, so cloning takes chunks of at most this size
       (bytes). */
    MANIFEST_FIXED_CHUNK_CLONE_MAX = 16 * 1024 * 1024,
};

/* The first moonsinter that knows sets, for the error message of those that do not. */
#define MANIFEST_SET_NEEDS "0.2.0"

/* The most bytes of an image: more is impossible, and the sum of two such sizes fits 64 bits. */
#define MANIFEST_FILE_SIZE_MAX (UINT64_C(1) << 62)

/* Where IMAGE.chunks is and what it must be. */
struct manifest_chunks {
    bool present;
    char *url; /* relative to the manifest's URL, or absolute */
    uint64_t size_bytes;
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

struct manifest {
    /* the ancestor's members */
    uint32_t *chunk_hashes; /* XXH32 of each fixed chunk */
    uint32_t chunk_count;
    uint32_t chunk_size;
    uint32_t last_chunk_size;
    uint32_t file_hash; /* XXH32 of the image */
    uint64_t file_size; /* bytes */
    /* ours; absent from an ancestor's manifest */
    bool has_sha256;
    uint8_t sha256[DIGEST_SHA256_SIZE]; /* of the image */
    struct manifest_chunks chunks;
    struct manifest_pack pack;
    struct manifest_release release;
    struct manifest_parts parts;
};

/* Parses the `size` bytes of a manifest (which need not be zero-terminated). */
bool manifest_parse(const char *text, size_t size, struct manifest **ret_manifest, struct error *error);

/* NULL if the manifest can be that of a part of a set; else why not, as half a sentence that goes on after
 * its name. */
const char *manifest_check_part(const struct manifest *manifest);

/* Frees the manifest, also an incomplete one; NULL is fine. Returns NULL. */
struct manifest *manifest_free(struct manifest *manifest);

/* The bytes of IMAGE.json: first the ancestor's members, spelled and ordered as it does, then, if has_sha256
 * is set, "moonsinter", then a line feed. Owned by the caller, zero-terminated. Reproducible: equal input
 * gives equal bytes. */
char *manifest_format(const struct manifest *manifest);
