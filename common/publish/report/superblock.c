/* SPDX-License-Identifier: MIT */
#include "common/publish/report/superblock.h"

#include <assert.h>
#include <string.h>

#include "common/base/le.h"

enum {
    /* Where the superblocks begin, and how many bytes of them must be there; squashfs begins at 0. */
    SQUASHFS_SIZE = 96,
    EROFS_OFFSET = 1024,
    EROFS_SIZE = 128,
    EXT4_OFFSET = 1024,
    EXT4_SIZE = 1024,

    SQUASHFS_MAJOR = 4,           /* the only version that Linux reads */
    SQUASHFS_DATA_AS_IT_IS = 0x2, /* the files' contents are not compressed */
    EROFS_ZERO_PADDING = 0x1,     /* set by mkfs.erofs whenever it compresses */
    EROFS_COMPRESSION_CONFIGS = 0x2,
    EXT4_HAS_JOURNAL = 0x4,
    EXT4_META_BG = 0x10, /* the group descriptors are not all in one place */
    EXT4_64BIT = 0x80,
    EXT4_CHECKSUM_SEED = 0x2000,
    EXT4_METADATA_CHECKSUMS = 0x400,
    EXT4_DESCRIPTOR_SIZE_DEFAULT = 32,
    EXT4_DESCRIPTOR_SIZE_64BIT = 64,
    EXT4_INODE_SIZE_OLD = 128, /* of file systems whose superblock does not say */
};

static bool is_block_size(uint64_t size)
{
    return size >= 512 && size <= 1 << 20 && (size & (size - 1)) == 0;
}

static bool read_squashfs(const uint8_t *data, size_t size, struct superblock *superblock)
{
    static const char *const compressions[] = {NULL, "gzip", "lzma", "lzo", "xz", "lz4", "zstd"};

    if (size < SQUASHFS_SIZE || memcmp(data, "hsqs", 4) != 0 || le_read_u16(data + 28) != SQUASHFS_MAJOR)
        return false;
    uint16_t compression = le_read_u16(data + 20);
    superblock->kind = SUPERBLOCK_SQUASHFS;
    superblock->made_at = le_read_u32(data + 8);
    if (is_block_size(le_read_u32(data + 12)))
        superblock->block_size = le_read_u32(data + 12);
    if (!(le_read_u16(data + 24) & SQUASHFS_DATA_AS_IT_IS) &&
        compression < sizeof(compressions) / sizeof(compressions[0]))
        superblock->compression = compressions[compression];
    return true;
}

static const char *erofs_compression(const uint8_t *data)
{
    uint32_t features = le_read_u32(data + 80);
    uint16_t algorithms = le_read_u16(data + 84);

    if (!(features & EROFS_COMPRESSION_CONFIGS))
        /* Without configurations there is only lz4, and `algorithms` is its longest distance. */
        return features & EROFS_ZERO_PADDING ? "lz4" : NULL;
    return algorithms & 0x2 ? "lzma" : algorithms & 0x4 ? "deflate" : algorithms & 0x8 ? "zstd" : "lz4";
}

static bool read_erofs(const uint8_t *data, size_t size, struct superblock *superblock)
{
    if (size < EROFS_OFFSET + EROFS_SIZE || le_read_u32(data + EROFS_OFFSET) != 0xE0F5E1E2)
        return false;
    data += EROFS_OFFSET;
    superblock->kind = SUPERBLOCK_EROFS;
    if (data[12] >= 9 && data[12] <= 16)
        superblock->block_size = UINT32_C(1) << data[12];
    superblock->made_at = le_read_u64(data + 24);
    memcpy(superblock->uuid, data + 48, SUPERBLOCK_UUID_SIZE);
    superblock->compression = erofs_compression(data);
    return true;
}

/* Finds where the inode tables are; leaves the fields 0 if their layout is none of the usual ones. */
static void read_ext4_inodes(const uint8_t *data, struct superblock *superblock)
{
    uint32_t block_size = superblock->block_size, incompatible = le_read_u32(data + 0x60);
    uint32_t inode_count = le_read_u32(data), inodes_per_group = le_read_u32(data + 0x28);
    uint32_t inode_size = le_read_u32(data + 0x4C) == 0 ? EXT4_INODE_SIZE_OLD : le_read_u16(data + 0x58);
    uint32_t descriptor_size = EXT4_DESCRIPTOR_SIZE_DEFAULT;

    if (incompatible & EXT4_64BIT)
        descriptor_size = le_read_u16(data + 0xFE);
    if (block_size == 0 || (incompatible & EXT4_META_BG) || inode_count == 0 || inodes_per_group == 0 ||
        inodes_per_group > 8 * block_size || inode_size < EXT4_INODE_SIZE_OLD || inode_size > block_size ||
        (inode_size & (inode_size - 1)) != 0 || descriptor_size < EXT4_DESCRIPTOR_SIZE_DEFAULT ||
        descriptor_size > EXT4_DESCRIPTOR_SIZE_64BIT)
        return;
    superblock->ext4.inodes_per_group = inodes_per_group;
    superblock->ext4.inode_size = inode_size;
    superblock->ext4.descriptor_size = descriptor_size;
    superblock->ext4.group_count = (inode_count - 1) / inodes_per_group + 1;
    /* The table follows the superblock's block, which is block 1 if blocks have 1 KiB, else block 0. */
    superblock->ext4.groups_offset = ((uint64_t)le_read_u32(data + 0x14) + 1) * block_size;
}

static bool read_ext4(const uint8_t *data, size_t size, struct superblock *superblock)
{
    if (size < EXT4_OFFSET + EXT4_SIZE || le_read_u16(data + EXT4_OFFSET + 0x38) != 0xEF53)
        return false;
    data += EXT4_OFFSET;
    uint32_t log_block_size = le_read_u32(data + 0x18), read_only_compatible = le_read_u32(data + 0x64);
    superblock->kind = SUPERBLOCK_EXT4;
    if (log_block_size <= 6)
        superblock->block_size = UINT32_C(1024) << log_block_size;
    superblock->made_at = le_read_u32(data + 0x108);
    memcpy(superblock->uuid, data + 0x68, SUPERBLOCK_UUID_SIZE);
    memcpy(superblock->ext4.hash_seed, data + 0xEC, SUPERBLOCK_UUID_SIZE);
    superblock->ext4.has_journal = le_read_u32(data + 0x5C) & EXT4_HAS_JOURNAL;
    superblock->ext4.uuid_in_checksums =
        (read_only_compatible & EXT4_METADATA_CHECKSUMS) && !(le_read_u32(data + 0x60) & EXT4_CHECKSUM_SEED);
    read_ext4_inodes(data, superblock);
    return true;
}

static bool read_magic(const uint8_t *data, size_t size, struct superblock *superblock)
{
    static const struct {
        const char *magic;
        size_t size;
        enum superblock_kind kind;
        const char *compression;
    } magics[] = {
        {"\x1F\x8B", 2, SUPERBLOCK_COMPRESSED_FILE, "gzip"},
        {"\xFD"
         "7zXZ\0",
         6, SUPERBLOCK_COMPRESSED_FILE, "xz"},
        {"\x28\xB5\x2F\xFD", 4, SUPERBLOCK_COMPRESSED_FILE, "zstd"},
        {"\x04\x22\x4D\x18", 4, SUPERBLOCK_COMPRESSED_FILE, "lz4"},
        {"BZh", 3, SUPERBLOCK_COMPRESSED_FILE, "bzip2"},
        {"LUKS\xBA\xBE", 6, SUPERBLOCK_ENCRYPTED, NULL},
    };

    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        if (size < magics[i].size || memcmp(data, magics[i].magic, magics[i].size) != 0)
            continue;
        superblock->kind = magics[i].kind;
        superblock->compression = magics[i].compression;
        return true;
    }
    return false;
}

void superblock_read(const uint8_t *data, size_t size, struct superblock *ret_superblock)
{
    *ret_superblock = (struct superblock){0};
    if (!read_squashfs(data, size, ret_superblock) && !read_erofs(data, size, ret_superblock) &&
        !read_ext4(data, size, ret_superblock))
        read_magic(data, size, ret_superblock);
}

const char *superblock_kind_name(enum superblock_kind kind)
{
    static const char *const names[] = {
        [SUPERBLOCK_UNKNOWN] = "unknown",
        [SUPERBLOCK_SQUASHFS] = "squashfs",
        [SUPERBLOCK_EROFS] = "erofs",
        [SUPERBLOCK_EXT4] = "ext4",
        [SUPERBLOCK_COMPRESSED_FILE] = "compressed file",
        [SUPERBLOCK_ENCRYPTED] = "LUKS",
    };

    assert(kind < sizeof(names) / sizeof(names[0]));
    return names[kind];
}
