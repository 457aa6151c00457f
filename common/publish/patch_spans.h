/* SPDX-License-Identifier: MIT */
/*
 * Which spans of the base a run is made from: what stands between the places of its unchanged neighbours, and
 * what looks like the run wherever it is. Pure; any thread.
 */
#pragma once

#include <stdint.h>

#include "common/image/patch_list.h"
#include "common/publish/base_image.h"
#include "common/publish/patch_runs.h"

/* Chooses spans for `run`, whose bytes are `data`, of at most `span_max` bytes (at least 1) together, in
 * the order in which a prefix is best made of them: the likest last. Returns their number, at
 * least 1. The base must have been sampled. */
uint32_t patch_spans_choose(const struct base_image *base, const struct patch_run *run, const uint8_t *data,
                            uint32_t span_max, struct patch_span ret_spans[PATCH_SPANS_MAX]);
