/* SPDX-License-Identifier: MIT */
/*
 * Makes an HTML page from a template, in the language of Mustache as far as it is needed here. {{name}}
 * stands for a value, which is always escaped for elements and quoted attributes; what is not printable
 * becomes '?'.
 * {{#name}}...{{/name}} is written once for each element of a list, with the element's members looked up
 * first, or once if the value is there and not false; {{^name}}...{{/name}} is written otherwise. Pure,
 * except for the stream.
 */
#pragma once

#include <stdio.h>

#include "common/base/json.h"

/* Writes the page. The template must have matching tags, with names of less than 32 bytes. A missing value is
 * empty. */
void template_write(FILE *out, const char *template, struct json_object *values);
