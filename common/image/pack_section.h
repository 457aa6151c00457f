/* SPDX-License-Identifier: MIT */
/*
 * Proves and unpacks a section of IMAGE.pack (docs/manifest.md, 3). Blocks on nothing, but takes processor
 * time: pool threads only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/manifest_pack.h"

/* `data` are the section's section->size bytes as they lie in the pack; they are not used before their
 * SHA-256 is found to be the manifest's. *ret_unpacked gets section->unpacked bytes, owned by the caller.
 * `what` names the section in errors. MISMATCH: the bytes are of another pack. */
bool pack_section_unpack(const struct manifest_section *section, const uint8_t *data, const char *what,
                         uint8_t **ret_unpacked, struct error *error);
