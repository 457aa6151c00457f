/* SPDX-License-Identifier: MIT */
/*
 * Shows a report on an update: to people as one HTML page that loads nothing (no script, font or address),
 * with a map of the image, a table of costs, and advice; to programs as events with the same figures. Names
 * and texts from files can never act as HTML.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/publish/report/diff_report.h"

/* What the page shows beside the report's figures. */
struct diff_report_names {
    const char *new_path;
    const char *old_path;
    uint32_t chunk_size; /* bytes of the fixed chunks that were counted */
};

/* Makes the page, which the caller frees. Pure; any thread. Fails only if there is no memory. */
bool diff_report_make_page(const struct diff_report *report, const struct diff_report_names *names,
                           char **ret_page, size_t *ret_size, struct error *error);

/* Writes the events `fates`, `way` and `advice` to stdout. The main thread only. */
void diff_report_write_events(const struct diff_report *report);
