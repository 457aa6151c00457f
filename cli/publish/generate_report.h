/* SPDX-License-Identifier: MIT */
/*
 * Reports a finished publication of `generate`: a line for each base, warnings, and the sums. The main thread
 * only; may block on stdout and stderr.
 */
#pragma once

#include "common/publish/generate.h"

/* Writes the events to stdout, and to stderr a sentence for each thing that a publisher should look at. */
void generate_report_write(const char *verb, const struct generate_settings *settings,
                           const struct generate_result *result);
