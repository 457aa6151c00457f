/* SPDX-License-Identifier: MIT */
#include "common/base/file_status.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static struct timespec narrow_time(const struct statx_timestamp *time)
{
    return (struct timespec){.tv_sec = (time_t)time->tv_sec, .tv_nsec = (long)time->tv_nsec};
}

static int ask(int folder_fd, const char *name, int flags, struct stat *ret_status)
{
    struct statx wide;

    /* Without this flag statx() would trigger an automounter, which stat() does not. */
    if (statx(folder_fd, name, flags | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &wide) < 0)
        return -1;
    *ret_status = (struct stat){
        .st_dev = makedev(wide.stx_dev_major, wide.stx_dev_minor),
        .st_ino = wide.stx_ino,
        .st_mode = wide.stx_mode,
        .st_nlink = wide.stx_nlink,
        .st_uid = wide.stx_uid,
        .st_gid = wide.stx_gid,
        .st_rdev = makedev(wide.stx_rdev_major, wide.stx_rdev_minor),
        .st_size = (off_t)wide.stx_size,
        .st_blocks = (blkcnt_t)wide.stx_blocks,
        .st_atim = narrow_time(&wide.stx_atime),
        .st_mtim = narrow_time(&wide.stx_mtime),
        .st_ctim = narrow_time(&wide.stx_ctime),
    };
    return 0;
}

int file_status(const char *path, struct stat *ret_status)
{
    return ask(AT_FDCWD, path, 0, ret_status);
}

int file_status_link(const char *path, struct stat *ret_status)
{
    return ask(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, ret_status);
}

int file_status_fd(int fd, struct stat *ret_status)
{
    return ask(fd, "", AT_EMPTY_PATH, ret_status);
}

int file_status_at(int folder_fd, const char *name, struct stat *ret_status)
{
    return ask(folder_fd, name, 0, ret_status);
}

bool file_status_check_owner(const char *path, const struct stat *status, struct error *error)
{
    if (status->st_uid != 0 && status->st_uid != geteuid())
        return error_set(error, ERROR_REFUSED,
                         "%s belongs to user %u, and must belong to root: chown root %s", path,
                         (unsigned)status->st_uid, path);
    if (status->st_mode & (S_IWGRP | S_IWOTH))
        return error_set(error, ERROR_REFUSED, "%s may be written by others than its owner: chmod go-w %s",
                         path, path);
    return true;
}

static bool has_attribute(const char *path, uint64_t attributes)
{
    struct statx wide;

    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &wide) == 0 &&
           (wide.stx_attributes & attributes);
}

bool file_status_is_same(const struct stat *one, const struct stat *other)
{
    return (one->st_dev == other->st_dev && one->st_ino == other->st_ino) ||
           (S_ISBLK(one->st_mode) && S_ISBLK(other->st_mode) && one->st_rdev == other->st_rdev);
}

bool file_status_is_fixed(const char *path)
{
    return has_attribute(path, STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND);
}

bool file_status_is_mounted(const char *path)
{
    return has_attribute(path, STATX_ATTR_MOUNT_ROOT);
}
