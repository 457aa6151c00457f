/* SPDX-License-Identifier: MIT */
#include "daemon/host/file_place.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/base/text.h"
#include "daemon/host/mounts.h"
#include "daemon/host/read_only.h"

enum { MOUNTINFO_MAX = 4 * 1024 * 1024 };

/* The block device that a file system is mounted from; not present where it cannot be told. */
static void find_device(const char *root, const struct mount *mount, struct storage *ret_storage)
{
    struct storage storage = {0};

    /* btrfs and the like have numbers that name no device; the mount's source does. */
    if (major(mount->number) != 0)
        storage_find_number(root, mount->number, &storage);
    else if (text_has_prefix(mount->source, "/dev/"))
        storage_find(root, mount->source, &storage, NULL);
    *ret_storage = storage;
}

/* Whether the folder lies on a mount of its own, and what that is mounted from. What is mounted on demand was
 * mounted by looking at the folder. */
static char *check_mount(const char *root, const char *folder, bool any_folder, struct storage *ret_on)
{
    CLEANUP_FREE char *path = alloc_printf("%s/proc/self/mountinfo", root);
    CLEANUP_FREE char *text = NULL;
    struct error error = {0};
    char *why = NULL;
    size_t size;

    if (!file_read(path, MOUNTINFO_MAX, &text, &size, &error))
        return any_folder ? NULL : alloc_printf("cannot be judged: %s", error.message);
    struct mounts mounts = mounts_parse(text);
    const struct mount *top = mounts_find(&mounts, "/"), *mount = mounts_find(&mounts, folder);
    /* A bind mount, or a subvolume, of the root file system has its number and lies in the slot as well. */
    if (!any_folder && (!mount || !top || mount->number == top->number || strcmp(mount->type, "autofs") == 0))
        why = alloc_printf("lies in this system's own file system, for nothing else is mounted on %.200s or "
                           "above it; mount the partition that the boot loader reads, or correct the path",
                           folder);
    if (mount && top && mount->number != top->number)
        find_device(root, mount, ret_on);
    mounts_finish(&mounts);
    return why;
}

/* How much room the folder's file system has. Returns 0 or -errno. */
static int find_room(const char *folder, struct file_place *place)
{
    struct statvfs room;
    struct statfs kind;
    struct stat status;

    if (file_status(folder, &status) < 0 || statvfs(folder, &room) < 0 || statfs(folder, &kind) < 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        return -ENOTDIR;
    place->file_system = status.st_dev;
    place->free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    place->unit_bytes = (uint32_t)(room.f_frsize > room.f_bsize ? room.f_frsize : room.f_bsize);
    /* FAT keeps sizes in 32 bits. f_type is an int on some machines, and the numbers have 32 bits. */
    place->max_bytes = (unsigned)kind.f_type == MSDOS_SUPER_MAGIC ? UINT32_MAX : UINT64_MAX;
    return 0;
}

/* What is wrong with the file itself; NULL if nothing is, or if there is none yet. */
static const char *judge_file(const struct stat *status)
{
    if (S_ISLNK(status->st_mode))
        return "is a symbolic link, and the file itself is what is overwritten; name that";
    if (!S_ISREG(status->st_mode))
        return "is no regular file";
    if (status->st_nlink > 1)
        return "has another name, a hard link, by which the same file would be overwritten; make it a copy";
    return NULL;
}

void file_place_look(const char *root, const char *name, const struct storage *storage, bool any_folder,
                     struct file_place *ret_place)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", root, name);
    CLEANUP_FREE char *shown_folder = file_folder(storage->path);
    CLEANUP_FREE char *folder = alloc_printf("%s%s", root, shown_folder);
    struct file_place place = {.path = alloc_string(full)};
    struct stat status;
    struct error error;

    /* Looking at the room mounts what is mounted on demand, so it comes first. */
    int result = find_room(folder, &place);
    CLEANUP_FREE char *real = realpath(folder, NULL);
    size_t root_length = strlen(root);
    bool inside = real && strncmp(real, root, root_length) == 0;
    place.why = check_mount(root, inside ? real + root_length : shown_folder, any_folder, &place.on);
    bool exists = file_status_link(full, &status) == 0;
    const char *why = exists ? judge_file(&status) : NULL;
    if (!place.why && result < 0)
        place.why = alloc_printf("cannot be made, for the folder %.200s cannot be looked at (%s); make it",
                                 shown_folder, strerror(-result));
    if (!place.why && why)
        place.why = alloc_string(why);
    if (!place.why && !read_only_check(exists ? full : folder, &error))
        place.why = alloc_printf("cannot be written: %s", error.message);
    if (exists && S_ISREG(status.st_mode))
        place.own_bytes = (uint64_t)status.st_blocks * 512;
    *ret_place = place;
}

const char *file_place_check_opened(const struct file_place *place, int fd)
{
    struct stat opened, named;

    if (file_status_fd(fd, &opened) < 0 || file_status_link(place->path, &named) < 0)
        return "cannot be looked at any more";
    const char *why = judge_file(&named);
    if (why)
        return why;
    if (named.st_dev != opened.st_dev || named.st_ino != opened.st_ino)
        return "became another file while it was opened";
    if (opened.st_dev != place->file_system)
        return "is on another file system than when it was looked for; see what is mounted there";
    return NULL;
}

void file_place_finish(struct file_place *place)
{
    storage_finish(&place->on);
    free(place->path);
    free(place->why);
    *place = (struct file_place){0};
}
