/* SPDX-License-Identifier: MIT */
/* Checks whether bytes from outside are text in UTF-8 that may be shown to people. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether `text` is 1 to `max_size` bytes of well-formed UTF-8 on one line: without control characters, line
 * or paragraph separators, and without marks that change the direction of writing, by which a text can be
 * shown in another order than it has. */
bool utf8_is_printable(const char *text, size_t max_size);

/* A copy of `text`, owned by the caller, in which each byte that is not part of a character is '?'. */
char *utf8_replace_invalid(const char *text);

/* How many bytes the first character of `text` has; 0 at the end, or if the bytes are not well-formed. */
size_t utf8_length(const char *text);

/* Returns the first code point of *text, which ends with a zero byte, and moves *text past it. -1 if the
 * bytes are not well-formed; *text may have moved then. */
int32_t utf8_take(const char **text);

/* The index of the first byte that is not part of a character, in `size` bytes that may have zeros among
 * them; `size` if there is none. */
size_t utf8_find_invalid(const char *text, size_t size);
