/* SPDX-License-Identifier: MIT */
/*
 * The patches of one base: the second part of its index in IMAGE.pack (docs/manifest.md, 3.4). Parsed from
 * hostile bytes: every number is checked against the manifest's bounds and the table. Immutable once made;
 * any thread. Never blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_pack.h"

enum {
    PATCH_SPANS_MAX = 8,
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

struct patch_list;

/* Parses the rest of the index of `base`, after the table's difference. No frame may end behind pack_size. */
bool patch_list_parse(const uint8_t *data, size_t size, const struct chunk_table *table,
                      const struct manifest_base *base, uint64_t pack_size, struct patch_list **ret_list,
                      struct error *error);

/* Frees; NULL is fine. Returns NULL. */
struct patch_list *patch_list_free(struct patch_list *list);

uint32_t patch_list_count(const struct patch_list *list);

/* Patch `index`; they are in the order of the chunks they make, and no chunk is made by two. */
const struct patch *patch_list_at(const struct patch_list *list, uint32_t index);

/* The spans of a patch, in the order in which they are joined. */
const struct patch_span *patch_list_spans(const struct patch_list *list, const struct patch *patch);
