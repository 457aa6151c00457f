/* SPDX-License-Identifier: MIT */
#include "daemon/host/state_folder.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "common/base/alloc.h"
#include "common/base/file_status.h"

char *state_folder_find_objection(const char *path, const struct slots *slots)
{
    struct statfs filesystem;
    struct stat folder;

    if (statfs(path, &filesystem) < 0 || file_status(path, &folder) < 0)
        return alloc_printf("%s cannot be looked at: %s", path, strerror(errno));
    /* An int on some machines, and the numbers have 32 bits. */
    unsigned type = (unsigned)filesystem.f_type;
    if (type == TMPFS_MAGIC || type == RAMFS_MAGIC)
        return alloc_printf("%s lies in memory (tmpfs)", path);
    if (type == OVERLAYFS_SUPER_MAGIC)
        return alloc_printf("%s lies on an overlay, whose upper layer belongs to one slot or to memory",
                            path);

    struct storage storage;
    struct storage_set below = {0};
    char *objection = NULL;
    if (!storage_find_number("", folder.st_dev, &storage))
        return NULL;
    storage_set_add(&below, "", &storage);
    for (int i = 0; i < SLOT_COUNT && !objection; i++)
        if (slots->devices[i].present && storage_set_has(&below, &slots->devices[i]))
            objection = alloc_printf("%s lies on slot %s (%s)", path, slot_name((enum slot)i),
                                     slots->devices[i].path);
    for (unsigned i = 0; i < slots->part_count * SLOT_COUNT && !objection; i++) {
        const struct slots_part *part = &slots->parts[i / SLOT_COUNT];
        const struct storage *place = &part->devices[i % SLOT_COUNT];
        if (place->present && storage_set_has(&below, place))
            objection = alloc_printf("%s lies on part %s of slot %s (%s)", path, part->name,
                                     slot_name((enum slot)(i % SLOT_COUNT)), place->path);
    }
    storage_set_finish(&below);
    storage_finish(&storage);
    return objection;
}
