/* SPDX-License-Identifier: MIT */
/*
 * A report on the way from one image to the next, for people: one HTML page that needs nothing but itself (no
 * script, no font, no address), with a map of the image, a table of costs and advice. And the same figures as
 * events for programs. Names and texts that come from files are shown without letting them be anything but
 * text.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/publish/report/diff_report.h"

/* What the page says beyond the report's figures. */
struct diff_report_names {
    const char *new_path;
    const char *old_path;
    uint32_t chunk_size; /* bytes of the fixed chunks that were counted */
};

/* Makes the page, which the caller frees. Pure, but for memory that may be short. */
bool diff_report_make_page(const struct diff_report *report, const struct diff_report_names *names,
                           char **ret_page, size_t *ret_size, struct error *error);

/* Writes `fates`, `way` and `advice` to stdout. */
void diff_report_write_events(const struct diff_report *report);
