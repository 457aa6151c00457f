/* SPDX-License-Identifier: MIT */
/*
 * Making the chunks of a run from what was read or fetched: unpacks them, proves them, writes them to the
 * target. A chunk that does not prove right is not written, wherever it came from. Everything here blocks on
 * the media: pool threads only. An assembly has one set of buffers, so only one job at a time may use it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/frame_index.h"
#include "common/image/patch_list.h"
#include "common/io/device.h"
#include "common/sinter/plan.h"

/* What became of a chunk. */
enum assemble_result {
    ASSEMBLE_RESULT_PASSED, /* it stood in place already, or was not looked at */
    ASSEMBLE_RESULT_WRITTEN,
    ASSEMBLE_RESULT_BAD,
};

struct assemble_settings {
    const struct chunk_table *table;
    const bool *kept; /* of each chunk: it stands in place and is passed over */
    const struct device *target;
    struct device *const *seeds;      /* seeds[0] is PLAN_SOURCE_SEED_FIRST */
    const struct frame_index *frames; /* NULL where chunks come from the image */
    const struct patch_list *patches; /* NULL where the plan has none */
};

struct assembly;

/* Allocates buffers for the plan's patches, and for unpacking chunks if `frames` is set. NULL if there is no
 * memory. */
struct assembly *assembly_new(const struct assemble_settings *settings, const struct plan *plan);

/* Frees; NULL is fine. Returns NULL. */
struct assembly *assembly_free(struct assembly *assembly);

/* Where the bytes to fetch for a chunk lie in the pack or the image, and how many they are. */
uint64_t assemble_fetch_offset(const struct assemble_settings *settings, uint32_t chunk);

uint32_t assemble_fetch_size(const struct assemble_settings *settings, uint32_t chunk);

/* For the next three: ret_results has an entry for each chunk of the run (enum assemble_result). False with
 * an error if the target cannot be written; whatever else goes wrong makes chunks BAD. */

/* Copies a run through `buffer`, which has room for it. Needs no assembly. */
bool assemble_copy(const struct assemble_settings *settings, const struct plan_run *run, uint8_t *buffer,
                   uint8_t *ret_results, struct error *error);

/* Makes a run of fetched chunks. `window` holds the bytes from window_offset on of the pack or the image; at
 * least those for the chunks of the run that are not kept. Uses the assembly's buffers to unpack frames. */
bool assemble_fetched(struct assembly *assembly, const struct plan_run *run, const uint8_t *window,
                      uint64_t window_offset, uint8_t *ret_results, struct error *error);

/* Makes a run by its patch; `frame` is the patch's frame. */
bool assemble_patch(struct assembly *assembly, const struct plan_run *run, const uint8_t *frame,
                    uint8_t *ret_results, struct error *error);

/* Reads the spans of a patch, joined, into `ret_spans` (of spans_size bytes). Returns whether they are the
 * bytes that the patch was made against. */
bool assemble_read_spans(const struct patch_list *patches, const struct patch *patch,
                         const struct device *source, uint8_t *ret_spans);
