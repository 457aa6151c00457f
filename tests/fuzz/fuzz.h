/* SPDX-License-Identifier: MIT */
/*
 * The one function of a fuzz target. libFuzzer calls it with inputs of its own; replay.c with the seeds, so
 * that every build runs those.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Handles one input; returns 0. A broken promise aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
