/* SPDX-License-Identifier: MIT */
#include "daemon/host/read_only.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/base/text.h"
#include "daemon/host/mounts.h"

enum { MOUNTINFO_MAX = 4 * 1024 * 1024 };

/* Whether one of the options, separated by commas, is "ro". */
static bool has_ro(const char *options)
{
    return text_has_prefix(options, "ro") && (options[2] == 0 || options[2] == ',');
}

static void explain_mount(const char *path, int code, char *ret_text)
{
    CLEANUP_FREE char *real = realpath(path, NULL);
    CLEANUP_FREE char *text = NULL;
    size_t size;

    snprintf(ret_text, READ_ONLY_TEXT_SIZE, "let moonsinterd.service write it by a drop-in (docs/boot.md)");
    if (code != EROFS || !real || !file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &text, &size, NULL))
        return;
    struct mounts mounts = mounts_parse(text);
    const struct mount *mount = mounts_find(&mounts, real);
    if (mount && has_ro(mount->options))
        snprintf(
            ret_text, READ_ONLY_TEXT_SIZE,
            "%.60s is mounted read-only on %.60s; mount -o remount,rw it, and correct its line in /etc/fstab",
            mount->source, mount->mount_point);
    else if (mount)
        snprintf(ret_text, READ_ONLY_TEXT_SIZE,
                 "%.60s (%.60s) is read-only for this service alone; let moonsinterd.service write it by a "
                 "drop-in (docs/boot.md)",
                 mount->mount_point, mount->source);
    mounts_finish(&mounts);
}

/* An attribute of the block device at `path` that is 1. The file's own path into *ret_file, the caller's. */
static bool is_set(const char *path, const char *attribute, char **ret_file)
{
    CLEANUP_FREE char *real = realpath(path, NULL);
    CLEANUP_FREE char *file =
        real ? alloc_printf("/sys/class/block/%s/%s", strrchr(real, '/') + 1, attribute) : NULL;
    CLEANUP_FREE char *text = file ? file_read_text(16, "%s", file) : NULL;

    if (!text || *text != '1')
        return false;
    *ret_file = file;
    file = NULL;
    return true;
}

static bool is_block_device(const char *path)
{
    struct stat status;

    return file_status(path, &status) == 0 && S_ISBLK(status.st_mode);
}

void read_only_explain(const char *path, int code, char ret_text[READ_ONLY_TEXT_SIZE])
{
    CLEANUP_FREE char *forced = NULL, *set = NULL;

    if (!is_block_device(path))
        explain_mount(path, code, ret_text);
    else if (is_set(path, "force_ro", &forced))
        snprintf(
            ret_text, READ_ONLY_TEXT_SIZE,
            "the device is write-protected; echo 0 > %.100s lifts that, by a rule of udev's at each start",
            forced);
    else if (is_set(path, "ro", &set))
        snprintf(ret_text, READ_ONLY_TEXT_SIZE, "the device is read-only; blockdev --setrw %.100s lifts that",
                 path);
    else
        snprintf(ret_text, READ_ONLY_TEXT_SIZE,
                 "let moonsinterd.service write the device: DeviceAllow= in a drop-in (docs/boot.md)");
}

bool read_only_check(const char *path, struct error *error)
{
    CLEANUP_FREE char *forced = NULL, *set = NULL;
    char why[READ_ONLY_TEXT_SIZE];
    int code = access(path, W_OK) < 0 ? errno : 0;

    if (!code && is_block_device(path)) {
        /* libubootenv itself takes the write protection of eMMC boot partitions off, if it may. */
        if (is_set(path, "force_ro", &forced))
            code = access(forced, W_OK) < 0 ? EACCES : 0;
        else if (is_set(path, "ro", &set))
            code = EROFS;
    }
    if (!code)
        return true;
    read_only_explain(path, code, why);
    return error_set_errno(error, code, "cannot write %s; %s", path, why);
}
