/* SPDX-License-Identifier: MIT */
/*
 * Makes text from the daemon, from servers and file names safe to show, so that it cannot steer a terminal:
 * whatever is not printable becomes '?'. Pure, except plain_text_print(), which may block on its stream.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* Copies `text` (NULL counts as "") cut to `size` bytes with its terminating zero, never within a character.
 * Returns ret_text. */
char *plain_text_copy(char *ret_text, size_t size, const char *text);

/* A copy of `text` of any length, which the caller frees. */
char *plain_text_new(const char *text);

/* Prints `text` of any length. */
void plain_text_print(FILE *stream, const char *text);
