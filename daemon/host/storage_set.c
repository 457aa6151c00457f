/* SPDX-License-Identifier: MIT */
/* Sets of storage, and what lies below one: the second half of daemon/host/storage.h. */
#include "daemon/host/storage.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/folder.h"

enum {
    SET_MAX = 512, /* devices below one, or below all places of a slot with sixteen parts */
    DEPTH_MAX = 8, /* of stacked devices; nobody really stacks deeper */
};

bool storage_set_has(const struct storage_set *set, const struct storage *storage)
{
    for (size_t i = 0; i < set->count; i++)
        if (storage_equal(&set->items[i], storage))
            return true;
    return false;
}

void storage_set_finish(struct storage_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        storage_finish(&set->items[i]);
    free(set->items);
    *set = (struct storage_set){0};
}

void storage_set_add_only(struct storage_set *set, const struct storage *storage)
{
    if (set->count == SET_MAX || storage_set_has(set, storage))
        return;
    struct storage *items = reallocarray(set->items, set->count + 1, sizeof(*items));
    if (!items)
        abort();
    set->items = items;
    items[set->count] = *storage;
    items[set->count++].path = alloc_string(storage->path);
}

static void set_add_deep(struct storage_set *set, const char *root, const struct storage *storage, int depth);

static void set_add_named(struct storage_set *set, const char *root, const char *path, int depth)
{
    struct storage below;

    if (!storage_find(root, path, &below, NULL))
        return;
    if (below.present)
        set_add_deep(set, root, &below, depth);
    storage_finish(&below);
}

/* The file (or device) behind a loop device. */
static void set_add_loop_file(struct storage_set *set, const char *root, const char *device, int depth)
{
    CLEANUP_FREE char *backing = file_read_text(PATH_MAX + 16, "%s/loop/backing_file", device);

    if (backing && *backing == '/')
        set_add_named(set, root, backing, depth);
}

/* Members of a device-mapper, RAID or bcache device. */
static void set_add_slaves(struct storage_set *set, const char *root, const char *device, int depth)
{
    CLEANUP_FREE char *path = alloc_printf("%s/slaves", device);
    CLEANUP_FOLDER DIR *folder = opendir(path);

    for (struct dirent *entry; (entry = folder_next(folder));) {
        CLEANUP_FREE char *below = alloc_printf("/dev/%s", entry->d_name);
        set_add_named(set, root, below, depth);
    }
}

/* The folder above its own in sysfs. */
char *storage_find_disk(const char *root, const struct storage *storage)
{
    CLEANUP_FREE char *device =
        alloc_printf("%s/sys/dev/block/%u:%u", root, major(storage->number), minor(storage->number));
    CLEANUP_FREE char *mark = alloc_printf("%s/partition", device);
    bool is_partition = storage->present && storage->is_block && access(mark, F_OK) == 0;
    CLEANUP_FREE char *real = is_partition ? realpath(device, NULL) : NULL;

    if (!real)
        return NULL;
    *strrchr(real, '/') = 0;
    return alloc_printf("/dev/%s", strrchr(real, '/') + 1);
}

static void set_add_disk(struct storage_set *set, const char *root, const struct storage *storage, int depth)
{
    CLEANUP_FREE char *path = storage_find_disk(root, storage);

    if (path)
        set_add_named(set, root, path, depth);
}

static void set_add_deep(struct storage_set *set, const char *root, const struct storage *storage, int depth)
{
    if (depth > DEPTH_MAX || set->count == SET_MAX || storage_set_has(set, storage))
        return;
    storage_set_add_only(set, storage);
    if (!storage->present || !storage->is_block)
        return;

    CLEANUP_FREE char *number = alloc_printf("%u:%u", major(storage->number), minor(storage->number));
    CLEANUP_FREE char *device = alloc_printf("%s/sys/dev/block/%s", root, number);
    set_add_loop_file(set, root, device, depth + 1);
    set_add_slaves(set, root, device, depth + 1);
    set_add_disk(set, root, storage, depth + 1);
}

void storage_set_add(struct storage_set *set, const char *root, const struct storage *storage)
{
    set_add_deep(set, root, storage, 0);
}
