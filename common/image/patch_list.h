/*
 * The index of one base in IMAGE.pack (docs/manifest.md, 3.4): how the table of chunks differs from the base's, and
 * the patches. Parsed from hostile bytes: every number is checked against the manifest's bounds and the table.
 * Immutable once made; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest.h"

enum {
    PATCH_SPANS_MAX = 8,
    PATCH_SPAN_BYTES_MAX = 8 * 1024 * 1024,   /* joined spans, by the format */
    PATCH_OUTPUT_BYTES_MAX = 4 * 1024 * 1024, /* what a patch makes, by the format */
};

struct patch_span {
    uint64_t offset; /* in the base, bytes */
    uint32_t size;   /* bytes */
};

struct patch {
    uint32_t first, count; /* chunks it makes */
    uint32_t output_size;  /* bytes of them */
    uint32_t frame_size;   /* bytes */
    uint64_t frame_offset; /* in the pack, bytes */
    uint32_t spans_size;   /* bytes of all spans together */
    uint32_t span_first;   /* number of its first span, see patch_list_spans() */
    uint32_t span_count;   /* 1 to PATCH_SPANS_MAX */
    uint64_t spans_xxh3;   /* of the joined spans */
};
