/* SPDX-License-Identifier: MIT */
/*
 * The picture in a report: the image from its first byte to its last, in rows, coloured by what becomes of
 * it; with a legend, and a table that says the same in numbers. Pure.
 */
#pragma once

#include "common/base/json.h"
#include "common/publish/report/diff_report.h"

/* Adds the values that page.html uses for it: "fates", "lines", "rows", and the texts about them. */
void diff_map_add(struct json_object *values, const struct diff_report *report);
