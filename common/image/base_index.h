/* SPDX-License-Identifier: MIT */
/*
 * Writes the index of a base, as it is in IMAGE.pack before packing (docs/manifest.md, 3.4): the table's
 * difference, then the patches. table_difference and patch_list read it. Pure; any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/image/patch_list.h"

/* A chunk that the base does not have. */
#define BASE_INDEX_NONE UINT64_MAX

struct base_index {
    uint32_t average;    /* of the table of chunks */
    const uint8_t *rows; /* of the table of chunks, without its header */
    uint32_t row_count;
    const uint64_t *base_offsets; /* for each row: where the chunk lies in the base (other than as the base's
                                     last chunk), or BASE_INDEX_NONE */
    const struct patch *patches;  /* in order; frame_offset, output_size and spans_size are not written */
    uint32_t patch_count;
    const struct patch_span *spans; /* see patch::span_first */
};

/* Gives the index's bytes, owned by the caller. */
void base_index_format(const struct base_index *index, uint8_t **ret_data, size_t *ret_size);
