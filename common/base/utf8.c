/* SPDX-License-Identifier: MIT */
#include "common/base/utf8.h"

#include <stdint.h>
#include <string.h>

#include "common/base/alloc.h"

int32_t utf8_take(const char **text)
{
    static const int32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *c = (const unsigned char *)*text;
    int following = *c < 0x80             ? 0
                    : (*c & 0xe0) == 0xc0 ? 1
                    : (*c & 0xf0) == 0xe0 ? 2
                    : (*c & 0xf8) == 0xf0 ? 3
                                          : -1;

    if (following < 0)
        return -1;
    int32_t point = following == 0 ? *c : *c & (0x3f >> following);
    for (int i = 1; i <= following; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return -1;
        point = point << 6 | (c[i] & 0x3f);
    }
    *text += 1 + following;
    /* Not well-formed either: longer than necessary, half of a UTF-16 pair, or past the last code point. */
    if (point < smallest[following] || (point >= 0xd800 && point < 0xe000) || point > 0x10ffff)
        return -1;
    return point;
}

bool utf8_is_printable(const char *text, size_t max_size)
{
    size_t size = strnlen(text, max_size + 1);

    if (size == 0 || size > max_size)
        return false;
    while (*text) {
        int32_t point = utf8_take(&text);
        if (point < 0x20 || (point >= 0x7f && point < 0xa0))
            return false;
        if ((point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069))
            return false;
    }
    return true;
}

char *utf8_replace_invalid(const char *text)
{
    char *valid = alloc_string(text);

    for (char *c = valid; *c;) {
        const char *end = c;
        if (utf8_take(&end) < 0)
            *c++ = '?';
        else
            c += end - c;
    }
    return valid;
}

size_t utf8_length(const char *text)
{
    const char *end = text;

    return *text && utf8_take(&end) >= 0 ? (size_t)(end - text) : 0;
}

size_t utf8_find_invalid(const char *text, size_t size)
{
    size_t at = 0;

    while (at < size) {
        /* A copy with a zero byte after it, so that utf8_take() does not read past the end of a character
         * that is cut off. */
        char next[5] = {0};
        memcpy(next, text + at, size - at < 4 ? size - at : 4);
        const char *end = next;
        if (utf8_take(&end) < 0)
            return at;
        at += (size_t)(end - next);
    }
    return size;
}
