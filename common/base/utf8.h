/* SPDX-License-Identifier: MIT */
/* Whether bytes from outside are text, and may be shown to people. Never blocks; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True where `text` is 1 to `max_size` bytes of well-formed UTF-8 on one line: no control characters, no line
 * or paragraph separators, and no marks that reverse the direction of writing (so that what is shown is what
 * is there). */
bool utf8_is_printable(const char *text, size_t max_size);

/* A copy of `text` in which each byte that belongs to no character of UTF-8 is '?'. Owned by the caller. */
char *utf8_replace_invalid(const char *text);

/* The bytes of the character that `text` begins with; 0 where it begins with none. */
size_t utf8_length(const char *text);

/* Takes one code point off *text, which ends with a zero byte, and returns it; -1 for what is no character of
 * UTF-8, and then *text may have moved. */
int32_t utf8_take(const char **text);

/* Where the first byte lies that belongs to no character of UTF-8, in `size` bytes that may have zeros among
 * them; `size` where there is none. */
size_t utf8_find_invalid(const char *text, size_t size);
