/* SPDX-License-Identifier: MIT */
/*
 * Makes the picture of a report: rows that show the image from its first byte to its last, coloured by what
 * becomes of each part; a legend; and a table with the same numbers. Pure.
 */
#pragma once

#include "common/base/json.h"
#include "common/publish/report/diff_report.h"

/* Adds "fates", the legend, alone. */
void diff_map_add_fates(struct json_object *values, const struct diff_report *report);

/* Adds the values that page.html needs for it: "fates", "lines", "rows", and the texts about them. */
void diff_map_add(struct json_object *values, const struct diff_report *report);
