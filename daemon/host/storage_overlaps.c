/* SPDX-License-Identifier: MIT */
/* Whether two stacks of devices end in the same bytes: part of daemon/host/storage.h. */
#include "daemon/host/storage.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/folder.h"
#include "common/base/text.h"

enum {
    EXTENTS_MAX = 32,
    DEPTH_MAX = 8,
    ATTRIBUTE_MAX = PATH_MAX + 16, /* of sysfs: some hold a path */
    SECTOR = 512,                  /* sysfs counts in these, whatever the device's own are */
};

/* A range of bytes of a device below which nothing is known, or which has its members for itself. */
struct extent {
    struct storage storage; /* without a path */
    uint64_t begin, end;
};

struct extents {
    struct extent items[EXTENTS_MAX];
    size_t count;
};

static void add_extents(struct extents *extents, const char *root, const struct storage *storage,
                        uint64_t begin, uint64_t end, int depth);

static bool read_number(const char *device, const char *name, uint64_t *ret_number)
{
    CLEANUP_FREE char *text = file_read_text(ATTRIBUTE_MAX, "%s/%s", device, name);

    return text && text_parse_u64(text, ret_number) == 0;
}

/* The part of [begin, end) of a device that is `size` bytes (0 = all there are) from `offset` of another. */
static void add_part(struct extents *extents, const char *root, const struct storage *below, uint64_t offset,
                     uint64_t size, uint64_t begin, uint64_t end, int depth)
{
    if (size && end > size)
        end = size;
    if (begin >= end || offset > UINT64_MAX - begin)
        return;
    add_extents(extents, root, below, offset + begin, offset > UINT64_MAX - end ? UINT64_MAX : offset + end,
                depth);
}

/* Asks the kernel which file it has open: the file's path may lead elsewhere by now, or in another mount
 * namespace. */
static bool ask_loop(const char *root, const struct storage *loop, struct storage *ret_file,
                     uint64_t *ret_offset, uint64_t *ret_size)
{
    CLEANUP_FREE char *path = alloc_printf("%s%s", root, loop->path);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct loop_info64 info;

    if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
        return false;
    uint64_t number = info.lo_rdevice ? info.lo_rdevice : info.lo_device;
    *ret_file = (struct storage){
        .present = true,
        .is_block = info.lo_rdevice != 0,
        /* The way the kernel packs device numbers into 32 bits. */
        .number = makedev((unsigned)(number >> 8) & 0xfff,
                          (unsigned)(number & 0xff) | ((unsigned)(number >> 12) & 0xfff00)),
        .inode = (ino_t)info.lo_inode,
    };
    if (ret_file->is_block) {
        dev_t device = ret_file->number;
        if (!storage_find_number(root, device, ret_file))
            return false;
    }
    *ret_offset = info.lo_offset;
    *ret_size = info.lo_sizelimit;
    return true;
}

static bool add_loop_file(struct extents *extents, const char *root, const struct storage *storage,
                          const char *device, uint64_t begin, uint64_t end, int depth)
{
    CLEANUP_FREE char *backing = file_read_text(ATTRIBUTE_MAX, "%s/loop/backing_file", device);
    struct storage file;
    uint64_t offset = 0, size = 0;

    if (!backing)
        return false;
    if (!ask_loop(root, storage, &file, &offset, &size)) {
        if (*backing != '/' || !storage_find(root, backing, &file, NULL))
            return false;
        read_number(device, "loop/offset", &offset);
        read_number(device, "loop/sizelimit", &size);
    }
    if (file.present)
        add_part(extents, root, &file, offset, size, begin, end, depth);
    bool found = file.present;
    storage_finish(&file);
    return found;
}

static bool add_disk(struct extents *extents, const char *root, const char *device, uint64_t begin,
                     uint64_t end, int depth)
{
    CLEANUP_FREE char *real = realpath(device, NULL);
    struct storage disk;
    uint64_t number, start, size;

    if (!real || !read_number(device, "partition", &number) || !read_number(device, "start", &start) ||
        !read_number(device, "size", &size) || start > UINT64_MAX / SECTOR || size > UINT64_MAX / SECTOR ||
        !size)
        return false;
    *strrchr(real, '/') = 0;
    CLEANUP_FREE char *path = alloc_printf("/dev/%s", strrchr(real, '/') + 1);
    if (!storage_find(root, path, &disk, NULL))
        return false;
    if (disk.present)
        add_part(extents, root, &disk, start * SECTOR, size * SECTOR, begin, end, depth);
    bool found = disk.present;
    storage_finish(&disk);
    return found;
}

/* Whether the device has its members for itself. Not so with LVM, with disks that several arrays of a
 * motherboard's RAID share, and with a cache. */
static bool has_members_alone(const char *device)
{
    CLEANUP_FREE char *uuid = file_read_text(ATTRIBUTE_MAX, "%s/dm/uuid", device);
    CLEANUP_FREE char *metadata = file_read_text(ATTRIBUTE_MAX, "%s/md/metadata_version", device);

    if (uuid)
        return text_has_prefix(uuid, "CRYPT-") || text_has_prefix(uuid, "mpath-");
    return metadata && !text_has_prefix(metadata, "external:");
}

/* Adds the members of a device, if the whole of it is meant: then it does not matter where in a member a byte
 * lies. A part of the device is not followed into its members. */
static void add_members(struct extents *extents, const char *root, const char *device, uint64_t begin,
                        uint64_t end, int depth)
{
    CLEANUP_FREE char *path = alloc_printf("%s/slaves", device);
    uint64_t size = 0;

    bool whole = begin == 0 &&
                 (end == UINT64_MAX || (read_number(device, "size", &size) && size && end / SECTOR >= size));
    CLEANUP_FOLDER DIR *folder = whole && has_members_alone(device) ? opendir(path) : NULL;
    for (struct dirent *entry; (entry = folder_next(folder));) {
        CLEANUP_FREE char *name = alloc_printf("/dev/%s", entry->d_name);
        struct storage member;
        if (!storage_find(root, name, &member, NULL))
            continue;
        if (member.present)
            add_extents(extents, root, &member, 0, UINT64_MAX, depth);
        storage_finish(&member);
    }
}

static void add_extents(struct extents *extents, const char *root, const struct storage *storage,
                        uint64_t begin, uint64_t end, int depth)
{
    if (storage->is_block && depth < DEPTH_MAX) {
        CLEANUP_FREE char *device =
            alloc_printf("%s/sys/dev/block/%u:%u", root, major(storage->number), minor(storage->number));
        if (add_loop_file(extents, root, storage, device, begin, end, depth + 1) ||
            add_disk(extents, root, device, begin, end, depth + 1))
            return;
        add_members(extents, root, device, begin, end, depth + 1);
    }
    if (extents->count == EXTENTS_MAX)
        return;
    struct extent *extent = &extents->items[extents->count++];
    *extent = (struct extent){.storage = *storage, .begin = begin, .end = end};
    extent->storage.path = NULL;
}

bool storage_overlaps(const char *root, const struct storage *storage, const struct storage *other)
{
    struct extents mine = {.count = 0}, others = {.count = 0};

    if (!storage->present || !other->present)
        return false;
    add_extents(&mine, root, storage, 0, UINT64_MAX, 0);
    add_extents(&others, root, other, 0, UINT64_MAX, 0);
    for (size_t i = 0; i < mine.count; i++)
        for (size_t j = 0; j < others.count; j++) {
            const struct extent *a = &mine.items[i], *b = &others.items[j];
            if (storage_equal(&a->storage, &b->storage) && a->begin < b->end && b->begin < a->end)
                return true;
        }
    return false;
}
