/* SPDX-License-Identifier: MIT */
/*
 * Shows a report on an update: to people as one HTML page that loads nothing (no script, font or address),
 * with a map of the image, a table of costs, and advice; to programs as events with the same figures. Names
 * and texts from files can never act as HTML.
 */
#pragma once

#include <stdbool.h>

#include "cli/publish/diff_images.h"
#include "common/base/error.h"
#include "common/publish/report/diff_report.h"

/* Makes the page, which the caller frees, of a report on each image; of several, with their sum at the top.
 * `chunk_size` is that of the fixed chunks that were counted, in bytes. Pure; any thread. Fails only if there
 * is no memory. */
bool diff_report_make_page(const struct diff_report *reports, const struct diff_images *images,
                           uint32_t chunk_size, char **ret_page, size_t *ret_size, struct error *error);

/* Writes the events `fates`, `way` and `advice` to stdout, each with the name of the part if it is not NULL.
 * The main thread only. */
void diff_report_write_events(const struct diff_report *report, const char *part);
