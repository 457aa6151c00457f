/* SPDX-License-Identifier: MIT */
/*
 * An HTML page from a template. {{name}} stands for a value, as text, whoever made it up: for elements and
 * for quoted attributes; what is not printable becomes '?'. {{#name}}...{{/name}} is written once for each
 * element of a list, whose members are the nearest then, or once where the value is there and not false;
 * {{^name}}...{{/name}} is written where it is neither. Pure but for the stream.
 */
#pragma once

#include <stdio.h>

#include "common/base/json.h"

/* The template is our own, and its tags match. A value that is not there is empty. */
void template_write(FILE *out, const char *template, struct json_object *values);
