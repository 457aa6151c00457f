/* SPDX-License-Identifier: MIT */
/*
 * Makes a report in a temporary folder, which is removed afterwards, however the work ends: see cli/work.h.
 * The command's own thread only.
 */
#pragma once

#include <stdbool.h>

#include "cli/meter.h"
#include "cli/publish/report/diff_output.h"
#include "cli/publish/report/diff_report.h"
#include "common/base/error.h"
#include "common/publish/report/diff_report.h"

/* Makes the report, which the caller finishes, and its page, and writes the page to `output`: a file is
 * written on the thread, so that a signal leaves nothing incomplete, anything else at the end. The folder
 * lies beside the file, or in $TMPDIR if there is none. The meter shows the progress; diff's own callback is
 * not called. */
bool diff_scratch_make_report(const char *verb, const struct diff_settings *diff, struct diff_output *output,
                              struct meter *meter, struct diff_report *ret_report, struct error *error);
