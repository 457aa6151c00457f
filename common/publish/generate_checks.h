/* SPDX-License-Identifier: MIT */
/*
 * Checks of a publication before anything of the image is read. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunker.h"
#include "common/publish/generate.h"

/* Refuses an image of `size` bytes that is empty, or has more chunks than a manifest or a table can hold. */
bool generate_check_sizes(const struct generate_settings *settings, uint64_t size,
                          const struct chunker *chunker, struct error *error);

/* The comment that is signed with the manifest: the settings' or "file:IMAGE.json"; freed by the caller. */
char *generate_trusted_comment(const struct generate_settings *settings);

/* If there is a key to sign with, checks that minisign allows this comment. */
bool generate_check_comment(const struct generate_settings *settings, struct error *error);
