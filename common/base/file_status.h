/* SPDX-License-Identifier: MIT */
/*
 * Replaces stat(2), which fails with EOVERFLOW if time_t has 32 bits and the file's time is past January
 * 2038. A board whose clock was wrong at boot has device nodes with such times. These functions ask statx(2),
 * whose times have 64 bits on every machine; tests/unit/test_includes.py makes sure that all of moonsinter
 * uses them. They block on the medium as stat() does; any thread.
 *
 * The functions that fill *ret_status return what stat() would: 0, or -1 with errno set and *ret_status
 * untouched. Of a time that time_t cannot hold the lower bits are kept: they tell whether a file changed, but
 * not when. st_blksize is not filled.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "common/base/error.h"

/* Looks at what `path` leads to, through links. */
int file_status(const char *path, struct stat *ret_status);

/* Looks at `path` itself, even if it is a link. */
int file_status_link(const char *path, struct stat *ret_status);

/* Looks at what `fd` is open on. */
int file_status_fd(int fd, struct stat *ret_status);

/* Looks at what `name`, in the folder that `folder_fd` is open on, leads to, through links. */
int file_status_at(int folder_fd, const char *name, struct stat *ret_status);

/* Whether only root and the user who runs this may write the file that `status` is of. If not, false with an
 * error that names `path` and says what to do. For files that decide what this machine does: its health
 * checks and its keys. Does not block. */
bool file_status_check_owner(const char *path, const struct stat *status, struct error *error);

/* Whether both are one file, or one block device by two nodes. */
bool file_status_is_same(const struct stat *one, const struct stat *other);

/* Whether `path` itself has the attribute by which not even root may replace or overwrite it (chattr +i or
 * +a). */
bool file_status_is_fixed(const char *path);

/* Whether something is mounted on `path` itself, so that nothing can be renamed to that name. False if the
 * kernel cannot tell (before 5.8). */
bool file_status_is_mounted(const char *path);
