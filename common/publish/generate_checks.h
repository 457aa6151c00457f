/* SPDX-License-Identifier: MIT */
/*
 * What can be said of a publication before anything of the image is read. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunker.h"
#include "common/publish/generate.h"

/* What the sizes alone forbid, for an image of `size` bytes: 0 bytes, and more chunks than a manifest or a
 * table holds. */
bool generate_check_sizes(const struct generate_settings *settings, uint64_t size,
                          const struct chunker *chunker, struct error *error);

/* The comment that is signed along with the manifest; the caller frees it. */
char *generate_trusted_comment(const struct generate_settings *settings);

/* Whether that can be a trusted comment, where there is a key to sign with. */
bool generate_check_comment(const struct generate_settings *settings, struct error *error);
