/* SPDX-License-Identifier: MIT */
/*
 * An HTML page from a template. {{name}} stands for a value, escaped for elements and quoted attributes,
 * wherever it comes from; what is not printable becomes '?'. {{#name}}...{{/name}} is written once for each
 * element of a list, with the element's members looked up first, or once if the value is there and not false;
 * {{^name}}...{{/name}} is written otherwise. Pure, except for the stream.
 */
#pragma once

#include <stdio.h>

#include "common/base/json.h"

/* The template must have matching tags. A missing value is empty. */
void template_write(FILE *out, const char *template, struct json_object *values);
