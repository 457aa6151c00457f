/* SPDX-License-Identifier: MIT */
/*
 * Chooses the spans of the base that a patch makes a run from: what lies between the places of the run's
 * neighbours, and what is similar to the run, wherever it lies. Pure; any thread.
 */
#pragma once

#include <stdint.h>

#include "common/image/patch_list.h"
#include "common/publish/base_image.h"
#include "common/publish/patch_runs.h"

/* Chooses spans for `run`, whose bytes are `data`, with at least 1 and at most `span_max` bytes together. The
 * most similar one is the last, as zstd finds nearer repetitions more cheaply. Returns how many there are, at
 * least 1. base_image_sample() must have been called. */
uint32_t patch_spans_choose(const struct base_image *base, const struct patch_run *run, const uint8_t *data,
                            uint32_t span_max, struct patch_span ret_spans[PATCH_SPANS_MAX]);
