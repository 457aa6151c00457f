/* SPDX-License-Identifier: MIT */
/*
 * A section of IMAGE.pack: proved and unpacked (docs/manifest.md, 3). Never blocks on anything but the
 * processor: pool threads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/manifest_pack.h"

/* `data` are the section's bytes as they lie in the pack, section->size of them; nothing else of them is used
 * before they have the SHA-256 that the manifest names. *ret_unpacked gets section->unpacked bytes, which are
 * the caller's. `what` says in errors which section it is. MISMATCH: it is another pack. */
bool pack_section_unpack(const struct manifest_section *section, const uint8_t *data, const char *what,
                         uint8_t **ret_unpacked, struct error *error);
