/* SPDX-License-Identifier: MIT */
/*
 * Makes IMAGE.pack (docs/manifest.md, 3): the image's chunks, each compressed by itself, and patches from
 * earlier releases, on all processors. Equal inputs make equal bytes, however many processors there are.
 * Memory is some 70 MB a processor and 130 MB for the base in hand, whatever the images' sizes. Blocks until
 * it is done: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_pack.h"

enum {
    PACK_SPAN_MAX_DEFAULT = 2 * 1024 * 1024, /* bytes; docs/publishing.md has what others bring */
    PACK_OUTPUT_MAX_DEFAULT = 1024 * 1024,   /* bytes; no chunk is larger */
    PACK_BOUND_LEAST = 64 * 1024,            /* bytes; of both */
};

struct device;

struct pack_settings {
    struct device *image;
    const struct chunk_table *table;
    const uint8_t *rows; /* of the table, without its header */
    bool with_frames;    /* the chunks, too */
    const char *const *base_paths;
    uint32_t base_count; /* at most MANIFEST_BASES_MAX */
    uint32_t span_max;   /* bytes of a base for one patch, PACK_BOUND_LEAST to MANIFEST_SPAN_MAX_LIMIT */
    uint32_t output_max; /* bytes that one patch makes, from the largest chunk to MANIFEST_OUTPUT_MAX_LIMIT */
    /* Called now and then, not NULL: the stage, and how much of its work is done, in units that mean nothing
     * else. */
    void (*progress)(void *owner, const char *stage, uint64_t done, uint64_t total);
    void *owner;
};

#define PACK_NO_TWIN UINT32_MAX

/* What one base came to. */
struct pack_base_result {
    uint32_t twin; /* an earlier base of the same bytes, in whose place it stands; PACK_NO_TWIN for none */
    bool is_image; /* it has the same bytes as the image */
    uint64_t patch_bytes;   /* all frames */
    uint64_t covered_bytes; /* of the image, that patches make */
    uint64_t missing_bytes; /* of chunks that the base lacks and no patch makes, as they are fetched */
    uint64_t index_bytes;   /* its section */
    uint32_t patch_count;
};

struct pack_result {
    uint64_t frame_bytes;
    struct pack_base_result bases[MANIFEST_BASES_MAX];
};

/* Writes the pack, a base that is given twice once; ret_pack->url is left to the caller, who frees it all by
 * manifest_pack_finish(). */
bool pack_write(const struct pack_settings *settings, struct file_writer *writer,
                struct manifest_pack *ret_pack, struct pack_result *ret_result, struct error *error);
