/* SPDX-License-Identifier: MIT */
/*
 * Makes a report in a temporary folder that is gone afterwards, however that ends: see cli/work.h. The
 * command's own thread only.
 */
#pragma once

#include <stdbool.h>

#include "cli/meter.h"
#include "cli/publish/report/diff_output.h"
#include "cli/publish/report/diff_report.h"
#include "common/base/error.h"
#include "common/publish/report/diff_report.h"

/* Makes the report, which the caller finishes, and its page, and puts it where it belongs: into a file from
 * the thread, so that a signal leaves nothing half, and else at the end. The folder is beside the file, or in
 * $TMPDIR where there is none. diff's progress is not called, the meter shows it. */
bool diff_scratch_make_report(const char *verb, const struct diff_settings *diff, struct diff_output *output,
                              struct meter *meter, struct diff_report *ret_report, struct error *error);
