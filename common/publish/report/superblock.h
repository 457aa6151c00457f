/* SPDX-License-Identifier: MIT */
/*
 * What an image says of itself in its first bytes: which file system, how its files are compressed, when it
 * was made. Only for advice to a publisher, so whatever cannot be made out is left empty and nothing is an
 * error. The bytes are an image's, and thus anybody's: every number that is passed on is within the bounds
 * said here. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum superblock_kind {
    SUPERBLOCK_UNKNOWN,
    SUPERBLOCK_SQUASHFS,
    SUPERBLOCK_EROFS,
    SUPERBLOCK_EXT4,            /* ext2 and ext3 too */
    SUPERBLOCK_COMPRESSED_FILE, /* gzip, xz, zstd, bzip2 or lz4 around whatever it is */
    SUPERBLOCK_ENCRYPTED,       /* LUKS */
};

enum {
    SUPERBLOCK_BYTES = 4096, /* of the image's beginning that are looked at; fewer are no harm */
    SUPERBLOCK_UUID_SIZE = 16,
};

struct superblock {
    enum superblock_kind kind;
    const char
        *compression; /* of its files' contents: "gzip", "zstd", ...; NULL where there is none or unknown */
    uint32_t block_size; /* bytes, of what is compressed at once or of a block: 512 to 2^20; 0: unknown */
    uint64_t made_at;    /* Unix seconds; 0: unknown */
    bool has_uuid;
    uint8_t uuid[SUPERBLOCK_UUID_SIZE];
    struct {
        bool has_journal;
        bool uuid_in_checksums; /* every checksum of metadata depends on the UUID */
        uint8_t hash_seed[SUPERBLOCK_UUID_SIZE];
        uint32_t inodes_per_group; /* 0 where the inode tables cannot be read; at most 8 * block_size */
        uint32_t inode_count;
        uint32_t inode_size;      /* bytes, 128 to block_size */
        uint32_t group_count;     /* inode_count / inodes_per_group, rounded up */
        uint64_t groups_offset;   /* of the table of group descriptors, bytes */
        uint32_t descriptor_size; /* bytes, 32 to 64 */
    } ext4;
};

/* Reads the superblock from an image's first `size` bytes (SUPERBLOCK_BYTES, or all of a smaller image). */
void superblock_read(const uint8_t *data, size_t size, struct superblock *ret_superblock);

/* "squashfs", "ext4", ...; "unknown" for SUPERBLOCK_UNKNOWN. */
const char *superblock_kind_name(enum superblock_kind kind);
