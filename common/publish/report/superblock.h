/* SPDX-License-Identifier: MIT */
/*
 * Reads from the first bytes of an image which file system it is, how its files are compressed, and when it
 * was made. That is only for advice to a publisher, so there are no errors: what is not understood is left
 * empty. The bytes may be hostile, but every number is within the bounds given here. Offsets and values are
 * those of Linux (squashfs_fs.h, erofs_fs.h, ext4.h). Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum superblock_kind {
    SUPERBLOCK_UNKNOWN,
    SUPERBLOCK_SQUASHFS,
    SUPERBLOCK_EROFS,
    SUPERBLOCK_EXT4,            /* or ext2 or ext3 */
    SUPERBLOCK_COMPRESSED_FILE, /* anything, compressed as a whole by gzip, xz, zstd, bzip2 or lz4 */
    SUPERBLOCK_ENCRYPTED,       /* LUKS */
};

enum {
    SUPERBLOCK_BYTES = 4096, /* at the image's beginning that are read */
    SUPERBLOCK_UUID_SIZE = 16,
};

struct superblock {
    enum superblock_kind kind;
    const char *compression; /* of its files' contents: "gzip", "zstd", ...; NULL = none, or not known */
    uint32_t block_size; /* bytes, of what is compressed at once or of a block: 512 to 2^20; 0 = not known */
    uint64_t made_at;    /* Unix time in seconds; 0 = not known */
    uint8_t uuid[SUPERBLOCK_UUID_SIZE];
    struct {
        bool has_journal;
        bool uuid_in_checksums; /* every checksum of metadata depends on the UUID */
        uint8_t hash_seed[SUPERBLOCK_UUID_SIZE];
        uint32_t inodes_per_group; /* at most 8 * block_size; 0 = it is not known where the inodes are */
        uint32_t inode_size;       /* bytes, 128 to block_size */
        uint32_t group_count;      /* the image's inodes / inodes_per_group, rounded up */
        uint64_t groups_offset;    /* of the table of group descriptors, bytes */
        uint32_t descriptor_size;  /* bytes, 32 to 64 */
    } ext4;
};

/* Reads an image's first `size` bytes: SUPERBLOCK_BYTES of them, or all of a smaller image. */
void superblock_read(const uint8_t *data, size_t size, struct superblock *ret_superblock);

/* "squashfs", "ext4", ...; "unknown" for SUPERBLOCK_UNKNOWN. */
const char *superblock_kind_name(enum superblock_kind kind);
