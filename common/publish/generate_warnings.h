/* SPDX-License-Identifier: MIT */
/*
 * Warns a publisher of what is allowed but probably a mistake: an end in the past, a serial that devices
 * refuse, bases that are of no use. Reads the manifest that is published now, so it may block on the medium.
 */
#pragma once

#include "common/image/manifest.h"
#include "common/publish/generate.h"

/* Fills result->warnings. `manifest` is the one that is about to be published; result->pack must have been
 * filled. */
void generate_warnings_find(const struct generate_settings *settings, const struct manifest *manifest,
                            struct generate_result *result);
