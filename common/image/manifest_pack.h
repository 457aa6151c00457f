/* SPDX-License-Identifier: MIT */
/*
 * The manifest's member `moonsinter.pack`: what lies where in IMAGE.pack, and against which earlier releases
 * its patches were made (docs/manifest.md, 3). Parsing checks the numbers against each other. Never blocks;
 * any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"

enum {
    MANIFEST_PACK_HEADER_SIZE = 8, /* bytes before the first frame: MSPACK01 */
    MANIFEST_BASES_MAX = 16,
    MANIFEST_PROBES_MAX = 16,
    MANIFEST_PROBE_SIZE = 4096,                  /* a probe is the hash of so many bytes of the base */
    MANIFEST_SPAN_MAX_LIMIT = 8 * 1024 * 1024,   /* bytes, of the joined spans of a patch */
    MANIFEST_OUTPUT_MAX_LIMIT = 4 * 1024 * 1024, /* bytes, of what a patch makes */
};

/* The most bytes of a pack; the same as of an image. */
#define MANIFEST_PACK_SIZE_MAX (UINT64_C(1) << 62)

struct json_object;

/* One zstd frame in the pack that is fetched and checked as a whole. */
struct manifest_section {
    uint64_t offset;                    /* in the pack, bytes */
    uint32_t size;                      /* bytes in the pack */
    uint32_t unpacked;                  /* bytes it holds */
    uint8_t sha256[DIGEST_SHA256_SIZE]; /* of the `size` bytes */
};

/* A place where a base differs from the image. */
struct manifest_probe {
    uint64_t offset; /* in the base, bytes; less than its size */
    uint64_t xxh3;   /* of the MANIFEST_PROBE_SIZE bytes at `offset`, or fewer at the end of the base */
};

/* An earlier release that patches were made against. */
struct manifest_base {
    uint64_t size; /* of its image, bytes */
    struct manifest_probe probes[MANIFEST_PROBES_MAX];
    uint32_t probe_count;    /* 1 to MANIFEST_PROBES_MAX */
    uint64_t patches_offset; /* in the pack: where its patches' frames begin */
    struct manifest_section index;
    uint32_t span_max;   /* bytes of the base that a patch needs at most */
    uint32_t output_max; /* bytes that a patch makes at most */
};

struct manifest_pack {
    bool present;
    char *url;       /* relative to the manifest's URL, or absolute */
    uint64_t size;   /* bytes */
    bool has_frames; /* chunks are fetched from the pack */
    struct manifest_section frames;
    struct manifest_base *bases;
    uint32_t base_count;
};

/* Parses the member for a table of chunks of `table_size` bytes. The caller zeroes `pack` before and finishes
 * it in every case. */
bool manifest_pack_parse(struct json_object *object, uint64_t table_size, struct manifest_pack *pack,
                         struct error *error);

/* Makes the member: a new reference. */
struct json_object *manifest_pack_format(const struct manifest_pack *pack);

/* Frees what `pack` holds, and zeroes it. */
void manifest_pack_finish(struct manifest_pack *pack);
