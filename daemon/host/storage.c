/* SPDX-License-Identifier: MIT */
#include "daemon/host/storage.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/base/folder.h"
#include "common/base/text.h"

enum {
    SYSFS_FILE_MAX = 8192,
};

/* "179:2" */
static bool parse_number(const char *text, dev_t *ret_number)
{
    unsigned number_major, number_minor;
    int used = 0;

    if (!isdigit((unsigned char)*text) ||
        sscanf(text, "%7u:%7u%n", &number_major, &number_minor, &used) != 2 || text[used])
        return false;
    *ret_number = makedev(number_major, number_minor);
    return true;
}

/* The device number of block device `name` as sysfs knows it ("sda2"). */
static bool number_of_name(const char *root, const char *name, dev_t *ret_number)
{
    CLEANUP_FREE char *kernel_name = alloc_string(name);

    /* /dev/cciss/c0d0 is cciss!c0d0 there. */
    for (char *at = kernel_name; *at; at++)
        if (*at == '/')
            *at = '!';
    CLEANUP_FREE char *text = file_read_text(SYSFS_FILE_MAX, "%s/sys/class/block/%s/dev", root, kernel_name);
    return text && parse_number(text, ret_number);
}

/* The kernel's name of a device number, from the link /sys/dev/block/M:m; owned by the caller, NULL if
 * unknown. */
static char *name_of_number(const char *root, dev_t number)
{
    CLEANUP_FREE char *path = alloc_printf("%s/sys/dev/block/%u:%u", root, major(number), minor(number));
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof(target) - 1);

    if (length < 0)
        return NULL;
    target[length] = 0;
    char *slash = strrchr(target, '/');
    return alloc_string(slash ? slash + 1 : target);
}

/* Takes "/a/b/../c" apart and together again as "/a/c". */
static void normalize(char *path)
{
    char *out = path;

    for (char *at = path; *at;) {
        at += strspn(at, "/");
        size_t length = strcspn(at, "/");
        if (length == 2 && at[0] == '.' && at[1] == '.') {
            while (out > path && *--out != '/')
                ;
        } else if (length && !(length == 1 && *at == '.')) {
            *out++ = '/';
            memmove(out, at, length);
            out += length;
        }
        at += length;
    }
    if (out == path)
        *out++ = '/';
    *out = 0;
}

char *storage_follow_link(const char *root, const char *path)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", root, path);
    char target[PATH_MAX];
    ssize_t length = readlink(full, target, sizeof(target) - 1);

    if (length <= 0)
        return NULL;
    target[length] = 0;
    const char *slash = strrchr(path, '/');
    char *next = *target == '/' ? alloc_string(target)
                                : alloc_printf("%.*s/%s", slash ? (int)(slash - path) : 0, path, target);
    normalize(next);
    return next;
}

/* Follows the links that `path` itself is, below `root`; owned by the caller. */
static char *follow_links(const char *root, const char *path)
{
    char *at = alloc_string(path), *next;

    for (int i = 0; i < STORAGE_LINKS_MAX && (next = storage_follow_link(root, at)); i++) {
        free(at);
        at = next;
    }
    return at;
}

/* udev's spelling of a name under /dev/disk/by-...; owned by the caller. */
static char *encode_name(const char *name)
{
    char *encoded = alloc_array(strlen(name) + 1, 4);
    char *out = encoded;

    for (const unsigned char *at = (const unsigned char *)name; *at; at++) {
        /* Whole UTF-8 sequences stay as they are; what is not UTF-8 cannot be written in the settings anyway.
         */
        if (isalnum(*at) || strchr("#+-.:=@_", *at) || *at >= 0x80)
            *out++ = (char)*at;
        else
            out += sprintf(out, "\\x%02x", *at);
    }
    return encoded;
}

void storage_decode_name(char *name)
{
    char *out = name;
    unsigned byte;

    for (const char *at = name; *at;) {
        if (at[0] == '\\' && at[1] == 'x' && isxdigit((unsigned char)at[2]) &&
            isxdigit((unsigned char)at[3]) && sscanf(at + 2, "%2x", &byte) == 1 && byte) {
            *out++ = (char)byte;
            at += 4;
        } else {
            *out++ = *at++;
        }
    }
    *out = 0;
}

static char *change_case(const char *name, int (*change)(int))
{
    char *copy = alloc_string(name);

    for (char *at = copy; *at; at++)
        *at = (char)change((unsigned char)*at);
    return copy;
}

/* Whether the uevent file `text` holds the line KEY=value, in any case of letters. */
static bool uevent_has(const char *text, const char *key, const char *value)
{
    CLEANUP_FREE char *line = alloc_printf("%s=%s", key, value);
    size_t length = strlen(line);

    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strncasecmp(at, line, length) == 0 && (at[length] == '\n' || !at[length]))
            return true;
    return false;
}

/* Looks through sysfs for the partition with that line in its uevent: where udev's links are missing. */
static char *name_by_uevent(const char *root, const char *key, const char *value)
{
    CLEANUP_FREE char *path = alloc_printf("%s/sys/class/block", root);
    CLEANUP_FOLDER DIR *folder = opendir(path);

    for (struct dirent *entry; (entry = folder_next(folder));) {
        CLEANUP_FREE char *text =
            file_read_text(SYSFS_FILE_MAX, "%s/sys/class/block/%s/uevent", root, entry->d_name);
        if (text && uevent_has(text, key, value))
            return alloc_printf("/dev/%s", entry->d_name);
    }
    return NULL;
}

/* The path that TAG=value leads to; where there is nothing, the link that udev would make. Owned by the
 * caller. */
static char *path_by_tag(const char *root, const char *folder, const char *uevent_key, const char *value,
                         bool any_case)
{
    CLEANUP_FREE char *lower = any_case ? change_case(value, tolower) : alloc_string(value);
    CLEANUP_FREE char *upper = any_case ? change_case(value, toupper) : alloc_string(value);
    const char *const spellings[] = {value, lower, upper};

    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        CLEANUP_FREE char *name = encode_name(spellings[i]);
        CLEANUP_FREE char *path = alloc_printf("/dev/disk/%s/%s", folder, name);
        CLEANUP_FREE char *full = alloc_printf("%s%s", root, path);
        struct stat status;
        if (file_status_link(full, &status) == 0)
            return follow_links(root, path);
    }
    char *found = uevent_key ? name_by_uevent(root, uevent_key, value) : NULL;
    if (found)
        return found;
    CLEANUP_FREE char *name = encode_name(value);
    return alloc_printf("/dev/disk/%s/%s", folder, name);
}

/* The partition `offset` numbers after the one at `path`, on the same disk; NULL where there is none. */
static char *neighbour(const char *root, const char *path, long offset)
{
    const char *name = strrchr(path, '/') + 1;
    CLEANUP_FREE char *number = file_read_text(SYSFS_FILE_MAX, "%s/sys/class/block/%s/partition", root, name);
    CLEANUP_FREE char *link = alloc_printf("%s/sys/class/block/%s", root, name);
    CLEANUP_FREE char *real = realpath(link, NULL);

    if (!number || !real)
        return NULL;
    *strrchr(real, '/') = 0;
    CLEANUP_FOLDER DIR *disk = opendir(real);
    for (struct dirent *entry; (entry = folder_next(disk));) {
        CLEANUP_FREE char *other =
            file_read_text(SYSFS_FILE_MAX, "%s/sys/class/block/%s/partition", root, entry->d_name);
        if (other && strtol(other, NULL, 10) == strtol(number, NULL, 10) + offset)
            return alloc_printf("/dev/%s", entry->d_name);
    }
    return NULL;
}

/* The path a name leads to; NULL for a name of no known form. Owned by the caller. */
static char *path_of_name(const char *root, const char *name)
{
    static const struct {
        const char *tag, *folder, *uevent_key;
        bool any_case;
    } tags[] = {
        {"PARTUUID=", "by-partuuid", "PARTUUID", true},
        {"PARTLABEL=", "by-partlabel", "PARTNAME", false},
        {"LABEL=", "by-label", NULL, false},
        {"UUID=", "by-uuid", NULL, true},
    };
    dev_t number;

    if (*name == '/')
        return follow_links(root, name);
    if (parse_number(name, &number)) {
        CLEANUP_FREE char *kernel_name = name_of_number(root, number);
        return kernel_name ? alloc_printf("/dev/%s", kernel_name) : alloc_printf("/dev/block/%s", name);
    }
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        if (!text_has_prefix(name, tags[i].tag))
            continue;
        CLEANUP_FREE char *value = alloc_string(name + strlen(tags[i].tag));
        char *offset = i == 0 ? strstr(value, "/PARTNROFF=") : NULL;
        if (offset)
            *offset = 0;
        char *path = path_by_tag(root, tags[i].folder, tags[i].uevent_key, value, tags[i].any_case);
        char *moved = offset ? neighbour(root, path, strtol(offset + strlen("/PARTNROFF="), NULL, 10)) : NULL;
        if (!offset)
            return path;
        free(path);
        return moved ? moved : alloc_printf("/dev/disk/by-partuuid/%s", name + strlen(tags[i].tag));
    }
    return NULL;
}

static bool from_stat(const struct stat *status, struct storage *storage)
{
    if (S_ISBLK(status->st_mode)) {
        storage->is_block = true;
        storage->number = status->st_rdev;
    } else if (S_ISREG(status->st_mode)) {
        storage->is_block = false;
        storage->number = status->st_dev;
        storage->inode = status->st_ino;
    } else {
        return false;
    }
    storage->present = true;
    return true;
}

bool storage_find(const char *root, const char *name, struct storage *ret_storage, struct error *error)
{
    struct storage storage = {.path = path_of_name(root, name)};
    struct stat status;

    if (!storage.path)
        return error_set(
            error, ERROR_REFUSED,
            "%s is neither an absolute path nor PARTUUID=, PARTLABEL=, LABEL= or UUID= with a name", name);
    CLEANUP_FREE char *full = alloc_printf("%s%s", root, storage.path);
    if (file_status(full, &status) == 0) {
        if (!from_stat(&status, &storage)) {
            error_set(error, ERROR_REFUSED, "%s is %s; a slot is a partition or a file", storage.path,
                      S_ISDIR(status.st_mode) ? "a folder" : "neither a block device nor a regular file");
            storage_finish(&storage);
            return false;
        }
    } else if (errno != ENOENT && errno != ENOTDIR) {
        error_set_errno(error, errno, "cannot look at %s", storage.path);
        storage_finish(&storage);
        return false;
    } else if (text_has_prefix(storage.path, "/dev/")) {
        storage.is_block = storage.present =
            number_of_name(root, storage.path + strlen("/dev/"), &storage.number);
    }
    *ret_storage = storage;
    return true;
}

bool storage_find_number(const char *root, dev_t number, struct storage *ret_storage)
{
    CLEANUP_FREE char *name = name_of_number(root, number);

    if (!name)
        return false;
    *ret_storage = (struct storage){
        .path = alloc_printf("/dev/%s", name), .present = true, .is_block = true, .number = number};
    return true;
}

int storage_find_fd(int fd, struct storage *ret_storage)
{
    struct storage storage = {0};
    struct stat status;

    if (file_status_fd(fd, &status) < 0)
        return -errno;
    if (!from_stat(&status, &storage))
        return -EINVAL;
    *ret_storage = storage;
    return 0;
}

void storage_finish(struct storage *storage)
{
    free(storage->path);
    *storage = (struct storage){0};
}

bool storage_equal(const struct storage *storage, const struct storage *other)
{
    if (!storage->present && !other->present)
        return storage->path && other->path && strcmp(storage->path, other->path) == 0;
    return storage->present == other->present && storage->is_block == other->is_block &&
           storage->number == other->number && (storage->is_block || storage->inode == other->inode);
}
