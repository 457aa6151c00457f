/* SPDX-License-Identifier: MIT */
#include "common/publish/report/inode_times.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/le.h"
#include "common/io/device.h"
#include "common/publish/report/superblock.h"

enum {
    DESCRIPTOR_SIZE_MAX = 64,
    INODE_SIZE_OLD = 128,              /* bytes that every inode has */
    TABLE_SIZE_MAX = 64 * 1024 * 1024, /* bytes of one group's inodes: mke2fs makes some 2 MiB */
    /* Offsets in an inode (the kernel's struct ext4_inode): i_links_count, and i_extra_isize, which says how
     * many bytes of further fields there are. */
    INODE_LINKS = 0x1A,
    INODE_EXTRA = 0x80,
    INODE_EXTRA_MAX = 32, /* bytes of further fields that are known here */
};

struct inode_field {
    uint16_t offset;
    uint16_t size;
};

/* The times, and the checksum over all of the inode. */
static const struct inode_field times[] = {
    {0x08, 12}, /* access, change, modification */
    {0x7C, 2},  /* checksum, lower half */
    {0x82, 2},  /* its upper half */
    {0x84, 20}, /* fractions of the times, creation */
};

static void clear_times(uint8_t *inode, size_t inode_size)
{
    size_t known = INODE_SIZE_OLD;

    if (inode_size >= INODE_EXTRA + INODE_EXTRA_MAX &&
        le_read_u16(inode + INODE_EXTRA) >= INODE_EXTRA_MAX - 4)
        known = INODE_EXTRA + INODE_EXTRA_MAX;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (times[i].offset + times[i].size <= known)
            memset(inode + times[i].offset, 0, times[i].size);
}

static void compare_inodes(uint8_t *new_table, uint8_t *old_table, uint32_t count, size_t inode_size,
                           struct inode_times *counts)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *new_inode = new_table + i * inode_size, *old_inode = old_table + i * inode_size;
        if (le_read_u16(new_inode + INODE_LINKS) == 0 || le_read_u16(old_inode + INODE_LINKS) == 0)
            continue;
        counts->used++;
        if (memcmp(new_inode, old_inode, inode_size) == 0)
            continue;
        clear_times(new_inode, inode_size);
        clear_times(old_inode, inode_size);
        counts->times_only += memcmp(new_inode, old_inode, inode_size) == 0;
    }
}

/* Reads the inode table of a group. */
static bool read_table(const struct device *device, const struct superblock *superblock, uint32_t group,
                       uint8_t *table, size_t size)
{
    uint8_t descriptor[DESCRIPTOR_SIZE_MAX] = {0};
    size_t descriptor_size = superblock->ext4.descriptor_size;

    if (!device_read(device, descriptor, descriptor_size,
                     superblock->ext4.groups_offset + (uint64_t)group * descriptor_size, NULL))
        return false;
    uint64_t block = le_read_u32(descriptor + 0x08);
    if (descriptor_size >= 0x2C)
        block |= (uint64_t)le_read_u32(descriptor + 0x28) << 32;
    return block <= (UINT64_C(1) << 62) / superblock->block_size &&
           device_read(device, table, size, block * superblock->block_size, NULL);
}

void inode_times_count(const struct device *new_device, const struct superblock *new_superblock,
                       const struct device *old_device, const struct superblock *old_superblock,
                       struct inode_times *ret_times)
{
    uint32_t per_group = new_superblock->ext4.inodes_per_group;
    size_t inode_size = new_superblock->ext4.inode_size, size = per_group * inode_size; /* at most 2^36 */

    *ret_times = (struct inode_times){0};
    if (size == 0 || size > TABLE_SIZE_MAX || per_group != old_superblock->ext4.inodes_per_group ||
        inode_size != old_superblock->ext4.inode_size ||
        new_superblock->ext4.group_count != old_superblock->ext4.group_count)
        return;
    uint8_t *new_table = alloc_zeroed(size), *old_table = alloc_zeroed(size);
    struct inode_times counts = {0};
    bool ok = true;
    for (uint32_t group = 0; ok && group < new_superblock->ext4.group_count; group++) {
        ok = read_table(new_device, new_superblock, group, new_table, size) &&
             read_table(old_device, old_superblock, group, old_table, size);
        if (ok)
            compare_inodes(new_table, old_table, per_group, inode_size, &counts);
    }
    free(new_table);
    free(old_table);
    if (ok)
        *ret_times = counts;
}
