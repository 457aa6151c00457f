/* SPDX-License-Identifier: MIT */
/*
 * Makes IMAGE.pack (docs/manifest.md, 3): the image's chunks, each compressed by itself, and patches against
 * earlier releases. Works on all processors; equal inputs make equal bytes, however many there are. Takes
 * some 35 MB of memory for each processor and up to 260 MB for one base at a time (measured,
 * docs/publishing.md), whatever the images' sizes. Blocks until it is done: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_pack.h"

enum {
    PACK_SPAN_MAX_DEFAULT = 2 * 1024 * 1024, /* bytes; docs/publishing.md compares others */
    PACK_OUTPUT_MAX_DEFAULT = 1024 * 1024,   /* bytes; no chunk is larger */
    PACK_BOUND_LEAST = 64 * 1024,            /* bytes; the least that span_max and output_max may be */
};

struct device;

struct pack_settings {
    struct device *image;
    const struct chunk_table *table; /* of the image; not empty */
    const uint8_t *rows;             /* the bytes of the table after its header */
    bool with_frames;                /* put the chunks into the pack; else there must be a base */
    const char *const *base_paths;
    uint32_t base_count; /* at most MANIFEST_BASES_MAX */
    uint32_t span_max;   /* bytes of a base for one patch, PACK_BOUND_LEAST to MANIFEST_SPAN_MAX_LIMIT */
    uint32_t output_max; /* bytes that one patch makes, from the largest chunk to MANIFEST_OUTPUT_MAX_LIMIT */
    /* Called now and then with what is being done and how much of it, in units without meaning; not NULL. */
    void (*progress)(void *owner, const char *stage, uint64_t done, uint64_t total);
    void *owner;
};

#define PACK_NO_TWIN UINT32_MAX

/* What came of one base. Sizes are those in the pack unless they are of the image. */
struct pack_base_result {
    uint32_t twin; /* an earlier base with the same bytes, which stands for this one, or PACK_NO_TWIN */
    bool is_image; /* it has the same bytes as the image */
    uint64_t patch_bytes;   /* frames of all patches */
    uint64_t covered_bytes; /* of the image, made by patches */
    uint64_t missing_bytes; /* frames of chunks that the base does not have and no patch makes */
    uint64_t index_bytes;
    uint32_t patch_count;
};

struct pack_result {
    uint64_t frame_bytes; /* frames of all chunks */
    struct pack_base_result bases[MANIFEST_BASES_MAX];
};

/* Appends the pack to `writer`. A base that is given twice is written once. The caller sets ret_pack->url and
 * frees what is in ret_pack by manifest_pack_finish(). */
bool pack_write(const struct pack_settings *settings, struct file_writer *writer,
                struct manifest_pack *ret_pack, struct pack_result *ret_result, struct error *error);
