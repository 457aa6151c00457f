/* SPDX-License-Identifier: MIT */
/*
 * What a publisher is told of a publication that is in order and yet hardly what was meant: an end in the
 * past, a serial that devices refuse, bases that are of no use. Reads the manifest that is published so far;
 * blocks on the medium.
 */
#pragma once

#include "common/image/manifest.h"
#include "common/publish/generate.h"

/* Fills result->warnings from what the manifest that is about to be published says and from what the bases
 * came to, which `result` holds already. */
void generate_warnings_find(const struct generate_settings *settings, const struct manifest *manifest,
                            struct generate_result *result);
