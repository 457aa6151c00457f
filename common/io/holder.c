/* SPDX-License-Identifier: MIT */
#include "common/io/holder.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/base/folder.h"
#include "common/base/text.h"

/* The phrase for the first line of a file in /proc for which `look` returns one, or NULL. */
static char *holder_find_line(const char *path, char *(*look)(const char *line, dev_t device), dev_t device)
{
    FILE *file = fopen(path, "re");
    CLEANUP_FREE char *line = NULL;
    size_t room = 0;
    char *found = NULL;

    if (!file)
        return NULL;
    while (!found && getline(&line, &room, file) > 0)
        found = look(line, device);
    fclose(file);
    return found;
}

/* A line of /proc/self/mountinfo (proc(5)): its third field is major:minor, the fifth the mount point. */
static char *holder_look_at_mount(const char *line, dev_t device)
{
    unsigned major_number, minor_number;
    char point[512];

    if (sscanf(line, "%*d %*d %u:%u %*s %511s", &major_number, &minor_number, point) != 3 ||
        makedev(major_number, minor_number) != device)
        return NULL;
    return alloc_printf("it is mounted at %s", point);
}

/* A line of /proc/swaps. */
static char *holder_look_at_swap(const char *line, dev_t device)
{
    char path[512];
    struct stat status;

    if (sscanf(line, "%511s", path) != 1 || path[0] != '/' || file_status(path, &status) < 0 ||
        !S_ISBLK(status.st_mode) || status.st_rdev != device)
        return NULL;
    return alloc_string("it is in use as swap");
}

static char *holder_find_mount(dev_t device)
{
    return holder_find_line("/proc/self/mountinfo", holder_look_at_mount, device);
}

/* Stacked devices (device-mapper, md, bcache) are listed in the holders folder of the device below them. */
static char *holder_find_stacked(dev_t device)
{
    CLEANUP_FREE char *path = alloc_printf("/sys/dev/block/%u:%u/holders", major(device), minor(device));
    CLEANUP_FOLDER DIR *folder = opendir(path);
    const struct dirent *entry = folder_next(folder);

    return entry ? alloc_printf("it is held by %s", entry->d_name) : NULL;
}

/* Whether a descriptor of process `pid` is open on `device`. Only root can see this of other users'
 * processes. */
static bool holder_has_open(const char *pid, dev_t device)
{
    CLEANUP_FREE char *path = alloc_printf("/proc/%s/fd", pid);
    CLEANUP_FOLDER DIR *folder = opendir(path);
    struct stat status;

    for (struct dirent *entry; (entry = folder_next(folder));)
        if (file_status_at(dirfd(folder), entry->d_name, &status) == 0 && S_ISBLK(status.st_mode) &&
            status.st_rdev == device)
            return true;
    return false;
}

/* The first process other than this one that has the device open. It cannot be seen which of several has it
 * open exclusively, so the phrase does not claim that. */
static char *holder_find_process(dev_t device)
{
    CLEANUP_FOLDER DIR *folder = opendir("/proc");

    for (struct dirent *entry; (entry = folder_next(folder));) {
        char name[32] = "?";
        if (!isdigit((unsigned char)entry->d_name[0]) || strtol(entry->d_name, NULL, 10) == getpid() ||
            !holder_has_open(entry->d_name, device))
            continue;
        CLEANUP_FREE char *path = alloc_printf("/proc/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file) {
            if (fgets(name, sizeof(name), file))
                name[strcspn(name, "\n")] = '\0';
            fclose(file);
        }
        return alloc_printf("process %s (%s) has it open", entry->d_name, name);
    }
    return NULL;
}

/* Whether loop device `name` ("loop0") stands on the file: sysfs says on which path. */
static bool holder_is_backed_by(const char *name, const struct stat *file)
{
    CLEANUP_FREE char *path = file_read_text(PATH_MAX, "/sys/block/%s/loop/backing_file", name);
    struct stat status;

    return path && file_status(path, &status) == 0 && file_status_is_same(&status, file);
}

char *holder_describe_loop(const struct stat *file)
{
    CLEANUP_FOLDER DIR *folder = opendir("/sys/block");

    for (struct dirent *entry; (entry = folder_next(folder));) {
        struct stat loop;
        if (!text_has_prefix(entry->d_name, "loop") || !holder_is_backed_by(entry->d_name, file))
            continue;
        CLEANUP_FREE char *path = alloc_printf("/dev/%s", entry->d_name);
        CLEANUP_FREE char *mount =
            file_status(path, &loop) == 0 && S_ISBLK(loop.st_mode) ? holder_find_mount(loop.st_rdev) : NULL;
        return mount ? alloc_printf("it backs %s, and %s", path, mount) : alloc_printf("it backs %s", path);
    }
    return NULL;
}

char *holder_describe(dev_t device)
{
    char *found = holder_find_mount(device);

    if (!found)
        found = holder_find_line("/proc/swaps", holder_look_at_swap, device);
    if (!found)
        found = holder_find_stacked(device);
    if (!found)
        found = holder_find_process(device);
    return found ? found : alloc_string("another program has it open exclusively");
}
