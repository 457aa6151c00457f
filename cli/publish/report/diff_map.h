/* SPDX-License-Identifier: MIT */
/*
 * The picture in a report: the image from its first byte to its last, in rows, coloured by what becomes of
 * it; with a legend, and a table that says the same in numbers. HTML. Pure but for the stream.
 */
#pragma once

#include <stdio.h>

#include "common/publish/report/diff_report.h"

/* Writes the section with the map. */
void diff_map_write(FILE *out, const struct diff_report *report);
