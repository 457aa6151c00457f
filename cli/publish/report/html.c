/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/html.h"

#include <stdlib.h>
#include <string.h>

#include "cli/plain_text.h"
#include "common/base/alloc.h"

static const char *entity(char character)
{
    switch (character) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    }
    return NULL;
}

void html_write_text(FILE *out, const char *text)
{
    size_t size = strlen(text) + 1;
    CLEANUP_FREE char *plain = alloc_zeroed(size);

    /* What is replaced becomes shorter, never longer. */
    plain_text_copy(plain, size, text);
    for (const char *at = plain; *at; at++) {
        const char *name = entity(*at);
        if (name)
            fputs(name, out);
        else
            fputc(*at, out);
    }
}
