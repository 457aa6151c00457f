/* SPDX-License-Identifier: MIT */
/*
 * What `generate` reports of a finished publication: a line for each base, warnings, and the sums. The main
 * thread only.
 */
#pragma once

#include "common/publish/generate.h"

/* Writes the events, and a sentence to stderr for everything a publisher should look at. */
void generate_report_write(const char *verb, const struct generate_settings *settings,
                           const struct generate_result *result);
