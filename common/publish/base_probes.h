/* SPDX-License-Identifier: MIT */
/*
 * Where a device looks to see which of the bases it holds (docs/manifest.md, 3.3): places where a base
 * differs from the image, and from each of the other bases. Blocks on the medium.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_pack.h"
#include "common/publish/base_image.h"

struct device;

/* Fills the probes of bases[which]. `table` is that of the new image. */
bool base_probes_choose(struct base_image *const *bases, uint32_t base_count, uint32_t which,
                        const struct device *image, const struct chunk_table *table,
                        struct manifest_base *ret_base, struct error *error);
