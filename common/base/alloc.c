/* SPDX-License-Identifier: MIT */
#include "common/base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROW_FIRST = 64 };

static void *alloc_check(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

void *alloc_zeroed(size_t size)
{
    return alloc_check(calloc(1, size ? size : 1));
}

void *alloc_array(size_t count, size_t size)
{
    return alloc_check(calloc(count ? count : 1, size ? size : 1));
}

void *alloc_grow(void *items, size_t size, size_t count, size_t *room)
{
    if (items && count <= *room)
        return items;
    *room = count > 2 * *room ? count : 2 * *room;
    *room = *room > GROW_FIRST ? *room : GROW_FIRST;
    return alloc_check(reallocarray(items, *room, size));
}

char *alloc_string(const char *text)
{
    return text ? alloc_check(strdup(text)) : NULL;
}

char *alloc_printf(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        abort();
    return text;
}

void alloc_free_pointer(void *pointer)
{
    free(*(void **)pointer);
}
