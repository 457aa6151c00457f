/* SPDX-License-Identifier: MIT */
/*
 * What `generate` tells of a publication that was made: a line a base, warnings, and the sums. The main
 * thread only.
 */
#pragma once

#include "common/publish/generate.h"

/* Writes the events, and a sentence on stderr for what a publisher ought to look at. */
void generate_report_write(const char *verb, const struct generate_settings *settings,
                           const struct generate_result *result);
