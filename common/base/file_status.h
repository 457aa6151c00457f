/* SPDX-License-Identifier: MIT */
/*
 * What stat(2) tells, whatever the file's dates: where time_t has 32 bits, stat() and its kin fail with
 * EOVERFLOW on a file or a device node whose time lies past January 2038, and a board whose clock was wrong
 * at boot has such nodes. These ask statx(2), which has wide times on every machine. A test holds the tree to
 * them. The functions block on the medium as stat() does; any thread.
 *
 * They stand in the place of stat(), so they answer like it: 0, or -1 with errno set and *ret_status
 * untouched. A time that time_t cannot hold keeps its lower bits: right for telling whether a file changed,
 * not for telling when. st_blksize is not filled.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "common/base/error.h"

/* What `path` leads to, links followed. */
int file_status(const char *path, struct stat *ret_status);

/* `path` itself, also where it is a link. */
int file_status_link(const char *path, struct stat *ret_status);

/* What descriptor `fd` is open on. */
int file_status_fd(int fd, struct stat *ret_status);

/* What `name` in the folder open as `folder_fd` leads to, links followed. */
int file_status_at(int folder_fd, const char *name, struct stat *ret_status);

/* Whether nobody may write what `status` tells of but root and whoever runs this; else false, with the mend.
 * For what decides what this machine does: its checks, its keys. `path` is named in the sentence. */
bool file_status_check_owner(const char *path, const struct stat *status, struct error *error);

/* Whether `path` itself may be neither replaced nor overwritten, by root either (chattr +i, +a). */
bool file_status_is_fixed(const char *path);

/* Whether something is mounted on `path` itself, which then cannot be renamed and nothing be renamed to.
 * Where the kernel cannot tell (before 5.8), not. */
bool file_status_is_mounted(const char *path);
