/* SPDX-License-Identifier: MIT */
/*
 * Makes a report in a temporary folder, which is removed afterwards, however the work ends: see cli/work.h.
 * The command's own thread only.
 */
#pragma once

#include <stdbool.h>

#include "cli/meter.h"
#include "cli/publish/diff_images.h"
#include "cli/publish/report/diff_output.h"
#include "cli/publish/report/diff_report.h"
#include "common/base/error.h"
#include "common/publish/report/diff_report.h"

/* Makes a report on each image, which the caller finishes in every case, and the page on all of them, and
 * writes the page to `output`: a file is written on the thread, so that a signal leaves nothing incomplete,
 * anything else at the end. ret_reports has room for as many as there are images, and is zeroed. The folder
 * lies beside the file, or in $TMPDIR if there is none. The meter shows the progress; diff's own callback is
 * not called, and its paths are not used. */
bool diff_scratch_make_report(const char *verb, const struct diff_settings *diff,
                              const struct diff_images *images, struct diff_output *output,
                              struct meter *meter, struct diff_report *ret_reports, struct error *error);
