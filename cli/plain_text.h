/* SPDX-License-Identifier: MIT */
/*
 * Text from the daemon, from servers and file names, shown to people without letting it steer their terminal:
 * whatever is not printable becomes '?'. Pure but for plain_text_print(), which may block as its stream may.
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
