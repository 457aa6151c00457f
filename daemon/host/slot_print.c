/* SPDX-License-Identifier: MIT */
#include "daemon/host/slot_print.h"

#include <string.h>

#include "common/base/digest.h"

/* With fewer blocks that are not empty, mounting read-write may change most of them. */
enum { COUNTED_MIN = 8 };

/* Where the superblocks of read-only file systems lie, and what they begin with; little endian, as all that
 * are in use. */
static const struct {
    size_t offset;
    uint8_t magic[4];
} fixed_file_systems[] = {
    {0, {'h', 's', 'q', 's'}},        /* squashfs */
    {1024, {0xe2, 0xe1, 0xf5, 0xe0}}, /* erofs */
};

static bool find_fixed(const uint8_t *block, size_t size)
{
    for (size_t i = 0; i < sizeof(fixed_file_systems) / sizeof(fixed_file_systems[0]); i++) {
        size_t offset = fixed_file_systems[i].offset;
        if (offset + 4 <= size && memcmp(block + offset, fixed_file_systems[i].magic, 4) == 0)
            return true;
    }
    return false;
}

static uint64_t hash_block(const uint8_t *block, size_t size)
{
    uint8_t digest[DIGEST_SHA256_SIZE];
    uint64_t hash = 0;

    digest_sha256(block, size, digest);
    for (size_t i = 0; i < sizeof(hash); i++)
        hash = hash << 8 | digest[i];
    return hash;
}

/* A hash of ext4's UUID, which mounting does not change; 0 = none. */
static uint64_t find_identity(const uint8_t *block, size_t size)
{
    enum { SUPERBLOCK = 1024, MAGIC = SUPERBLOCK + 0x38, UUID = SUPERBLOCK + 0x68, UUID_SIZE = 16 };

    if (size < UUID + UUID_SIZE || block[MAGIC] != 0x53 || block[MAGIC + 1] != 0xef)
        return 0;
    return hash_block(block + UUID, UUID_SIZE);
}

bool slot_print_take(const struct device *device, uint64_t bytes, struct slot_print *ret_print)
{
    struct slot_print print = {.bytes = bytes};
    uint64_t device_bytes;
    uint64_t last = bytes ? (bytes - 1) / SLOT_PRINT_BLOCK_SIZE : 0; /* block */
    uint8_t block[SLOT_PRINT_BLOCK_SIZE];
    struct error error;

    if (!bytes || !device_size(device, &device_bytes, &error))
        return false;
    for (unsigned i = 0; i < SLOT_PRINT_BLOCKS; i++) {
        /* In this order, for an image may have up to 2^62 bytes. */
        uint64_t number =
            last / (SLOT_PRINT_BLOCKS - 1) * i + last % (SLOT_PRINT_BLOCKS - 1) * i / (SLOT_PRINT_BLOCKS - 1);
        uint64_t offset = number * SLOT_PRINT_BLOCK_SIZE, left = bytes - offset;
        size_t size = left < sizeof(block) ? (size_t)left : sizeof(block);
        /* A block beyond the device's end differs from any block. */
        if (offset + size > device_bytes)
            continue;
        if (!device_read(device, block, size, offset, &error))
            return false;
        print.blocks[i] = hash_block(block, size);
        if (i == 0) {
            print.is_fixed = find_fixed(block, size);
            print.identity = find_identity(block, size);
        }
    }
    *ret_print = print;
    return true;
}

bool slot_print_take_path(const char *path, uint64_t bytes, struct slot_print *ret_print)
{
    struct device *device;
    struct error error;

    if (!device_open_source(path, &device, &error))
        return false;
    bool taken = slot_print_take(device, bytes, ret_print);
    device_close(device);
    return taken;
}

bool slot_print_fits(const struct slot_print *known, const struct slot_print *seen)
{
    static const uint8_t zeros[SLOT_PRINT_BLOCK_SIZE];
    uint64_t empty = hash_block(zeros, sizeof(zeros));
    unsigned counted = 0, differ = 0;

    for (unsigned i = 0; i < SLOT_PRINT_BLOCKS; i++) {
        counted += known->blocks[i] != empty || seen->blocks[i] != empty;
        differ += known->blocks[i] != seen->blocks[i];
    }
    if (known->is_fixed)
        return differ == 0;
    if (known->identity && known->identity != seen->identity)
        return false;
    return counted < COUNTED_MIN || differ <= counted / 2;
}
