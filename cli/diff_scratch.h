/*
 * Makes a report in a temporary folder that is gone afterwards, however that ends: the work goes on on a
 * thread, while the loop draws the meter and waits for SIGINT and SIGTERM. The command's own thread only.
 */
#pragma once

#include <stdbool.h>

#include "cli/meter.h"
#include "common/base/error.h"
#include "common/sinter/diff_report.h"

/* Makes the report, which the caller finishes, with a folder beside the file `beside`; diff's progress is not
 * called, the meter shows it. At SIGINT and SIGTERM the folder is removed, the failure told in the name of
 * `verb`, and the program ended with status 1. */
bool diff_scratch_make_report(const char *verb, const struct diff_settings *diff, const char *beside,
                              struct meter *meter, struct diff_report *ret_report, struct error *error);
