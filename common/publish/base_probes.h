/* SPDX-License-Identifier: MIT */
/*
 * Chooses the probes of a base (docs/manifest.md, 3.3): places where it differs from the new image and from
 * each of the other bases, by which a device recognises which base it holds. Blocks on the medium: for
 * programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_pack.h"
#include "common/publish/base_image.h"

struct device;

/* Fills ret_base->probes with at least one probe for bases[which]. `table` is the table of `image`, the new
 * image. All bases must have been cut. */
bool base_probes_choose(struct base_image *const *bases, uint32_t base_count, uint32_t which,
                        const struct device *image, const struct chunk_table *table,
                        struct manifest_base *ret_base, struct error *error);
