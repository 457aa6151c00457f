/* SPDX-License-Identifier: MIT */
/*
 * Text in an HTML page. Pure but for the stream.
 */
#pragma once

#include <stdio.h>

/* Writes text that anybody may have made up, of any length, so that it is text: for elements and for quoted
 * attributes. What is not printable becomes '?'. */
void html_write_text(FILE *out, const char *text);
