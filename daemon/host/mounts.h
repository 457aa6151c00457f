/* SPDX-License-Identifier: MIT */
/*
 * Parses /proc/self/mountinfo. Pure; any thread.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* One line, its escapes undone. The strings point into the text that was parsed. */
struct mount {
    dev_t number;
    char *mount_point;
    char *type;
    char *source;
    char *options; /* of the file system */
};

struct mounts {
    struct mount *items;
    size_t count;
};

/* Cuts `text` into mounts that point into it; it stays the caller's. */
struct mounts mounts_parse(char *text);

/* The mount that `path` is on: the one with the longest mount point above it, the last one mounted there.
 * NULL = none. */
const struct mount *mounts_find(const struct mounts *mounts, const char *path);

/* Frees what it holds, but not the text. */
void mounts_finish(struct mounts *mounts);
