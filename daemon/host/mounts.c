/* SPDX-License-Identifier: MIT */
#include "daemon/host/mounts.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"

/* Undoes the kernel's \ooo for blanks and backslashes, in place. */
static void unescape(char *text)
{
    char *out = text;

    for (const char *at = text; *at;) {
        bool octal = at[0] == '\\';
        for (int i = 1; i <= 3 && octal; i++)
            octal = at[i] >= '0' && at[i] <= '7';
        *out++ = (char)(octal ? (at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0') : *at);
        at += octal ? 4 : 1;
    }
    *out = 0;
}

/* "36 35 98:0 /root /mount/point options optional... - type source options", cut in place. */
static bool parse_mount(char *line, struct mount *ret_mount)
{
    enum { FIELD_NUMBER = 2, FIELD_MOUNT_POINT = 4, FIELDS_FIRST = 6 };
    char *fields[FIELDS_FIRST], *rest[3], *separator = strstr(line, " - "), *save = NULL;
    unsigned number_major, number_minor;

    if (!separator)
        return false;
    *separator = 0;
    for (size_t i = 0; i < FIELDS_FIRST; i++)
        if (!(fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save)))
            return false;
    if (sscanf(fields[FIELD_NUMBER], "%7u:%7u", &number_major, &number_minor) != 2)
        return false;
    char *at = separator + 3;
    for (size_t i = 0; i < 3; i++) {
        /* An empty source leaves two blanks side by side, which strtok_r() would take for one. */
        rest[i] = at ? strsep(&at, " ") : NULL;
        if (!rest[i])
            return false;
        unescape(rest[i]);
    }
    unescape(fields[FIELD_MOUNT_POINT]);
    *ret_mount = (struct mount){
        .number = makedev(number_major, number_minor),
        .mount_point = fields[FIELD_MOUNT_POINT],
        .type = rest[0],
        .source = rest[1],
        .options = rest[2],
    };
    return true;
}

struct mounts mounts_parse(char *text)
{
    struct mounts mounts = {0};
    size_t lines = 1;

    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    mounts.items = alloc_array(lines, sizeof(mounts.items[0]));
    while (text && *text) {
        char *line = strsep(&text, "\n");
        if (parse_mount(line, &mounts.items[mounts.count]))
            mounts.count++;
    }
    return mounts;
}

const struct mount *mounts_find(const struct mounts *mounts, const char *path)
{
    const struct mount *found = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < mounts->count; i++) {
        const char *point = mounts->items[i].mount_point;
        size_t length = strcmp(point, "/") == 0 ? 0 : strlen(point);
        if (strncmp(path, point, length) != 0 || (path[length] && path[length] != '/'))
            continue;
        if (!found || length >= longest) {
            found = &mounts->items[i];
            longest = length;
        }
    }
    return found;
}

void mounts_finish(struct mounts *mounts)
{
    free(mounts->items);
    *mounts = (struct mounts){0};
}
