/* SPDX-License-Identifier: MIT */
#include "cli/plain_text.h"

#include <string.h>

#include "common/base/alloc.h"
#include "common/base/utf8.h"

enum { CHARACTER_SIZE = 5 }; /* a character in UTF-8 with its terminating zero */

/* Takes one character off *text; gives "?" for one that must not be shown. */
static const char *take_character(const char **text, char ret_character[CHARACTER_SIZE])
{
    size_t size = 1;

    /* The bytes that continue a character are of the form 10xxxxxx. */
    while (size < CHARACTER_SIZE - 1 && ((unsigned char)(*text)[size] & 0xc0) == 0x80)
        size++;
    memcpy(ret_character, *text, size);
    ret_character[size] = '\0';
    *text += size;
    if (!utf8_is_printable(ret_character, size))
        strcpy(ret_character, "?");
    return ret_character;
}

char *plain_text_copy(char *ret_text, size_t size, const char *text)
{
    char character[CHARACTER_SIZE];
    size_t used = 0;

    while (text && *text) {
        size_t length = strlen(take_character(&text, character));
        if (used + length + 1 > size)
            break;
        memcpy(ret_text + used, character, length);
        used += length;
    }
    ret_text[used] = '\0';
    return ret_text;
}

char *plain_text_new(const char *text)
{
    size_t size = strlen(text) + 1; /* making it safe to show never makes it longer */

    return plain_text_copy(alloc_zeroed(size), size, text);
}

void plain_text_print(FILE *stream, const char *text)
{
    char character[CHARACTER_SIZE];

    while (*text)
        fputs(take_character(&text, character), stream);
}
