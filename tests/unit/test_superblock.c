/* SPDX-License-Identifier: MIT */
/* What images say of themselves: the fields of each kind, and bytes that mean harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/publish/report/superblock.h"

static void put(uint8_t *data, size_t offset, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[offset + i] = (uint8_t)(value >> (8 * i));
}

static void put_squashfs(uint8_t *data)
{
    memcpy(data, "hsqs", 4);
    put(data, 8, 1700000000, 4);
    put(data, 12, 131072, 4);
    put(data, 20, 6, 2);
    put(data, 28, 4, 2);
}

static void put_erofs(uint8_t *data)
{
    put(data, 1024, 0xE0F5E1E2, 4);
    put(data, 1024 + 12, 12, 1);
    put(data, 1024 + 24, 1700000000, 8);
    memset(data + 1024 + 48, 7, 16);
}

static void put_ext4(uint8_t *data)
{
    put(data, 1024, 8000, 4);
    put(data, 1024 + 0x18, 2, 4);
    put(data, 1024 + 0x28, 2000, 4);
    put(data, 1024 + 0x38, 0xEF53, 2);
    put(data, 1024 + 0x4C, 1, 4);
    put(data, 1024 + 0x58, 256, 2);
    put(data, 1024 + 0x108, 1700000000, 4);
    memset(data + 1024 + 0x68, 7, 16);
}

static void test_squashfs(void **state)
{
    uint8_t data[SUPERBLOCK_BYTES] = {0};
    struct superblock superblock;

    (void)state;
    put_squashfs(data);
    superblock_read(data, sizeof(data), &superblock);
    assert_int_equal(superblock.kind, SUPERBLOCK_SQUASHFS);
    assert_string_equal(superblock.compression, "zstd");
    assert_int_equal(superblock.block_size, 131072);
    assert_int_equal(superblock.made_at, 1700000000);
    put(data, 24, 0x2, 2); /* data is not compressed */
    superblock_read(data, sizeof(data), &superblock);
    assert_null(superblock.compression);
    put(data, 24, 0, 2);
    put(data, 20, 7, 2); /* a compression that is not known */
    put(data, 12, 131073, 4);
    superblock_read(data, sizeof(data), &superblock);
    assert_null(superblock.compression);
    assert_int_equal(superblock.block_size, 0);
    superblock_read(data, 95, &superblock);
    assert_int_equal(superblock.kind, SUPERBLOCK_UNKNOWN);
    put(data, 28, 3, 2); /* another layout */
    superblock_read(data, sizeof(data), &superblock);
    assert_int_equal(superblock.kind, SUPERBLOCK_UNKNOWN);
}

static void test_erofs(void **state)
{
    uint8_t data[SUPERBLOCK_BYTES] = {0};
    struct superblock superblock;

    (void)state;
    put_erofs(data);
    superblock_read(data, sizeof(data), &superblock);
    assert_int_equal(superblock.kind, SUPERBLOCK_EROFS);
    assert_null(superblock.compression);
    assert_int_equal(superblock.block_size, 4096);
    assert_int_equal(superblock.made_at, 1700000000);
    assert_int_equal(superblock.uuid[15], 7);
    put(data, 1024 + 80, 0x1, 4);
    put(data, 1024 + 84, 0xFFFF, 2); /* lz4's longest distance */
    superblock_read(data, sizeof(data), &superblock);
    assert_string_equal(superblock.compression, "lz4");
    put(data, 1024 + 80, 0x3, 4);
    put(data, 1024 + 84, 0x2, 2);
    superblock_read(data, sizeof(data), &superblock);
    assert_string_equal(superblock.compression, "lzma");
    put(data, 1024 + 12, 63, 1);
    superblock_read(data, sizeof(data), &superblock);
    assert_int_equal(superblock.block_size, 0);
}

static void test_ext4(void **state)
{
    uint8_t data[SUPERBLOCK_BYTES] = {0};
    struct superblock superblock;

    (void)state;
    put_ext4(data);
    superblock_read(data, sizeof(data), &superblock);
    assert_int_equal(superblock.kind, SUPERBLOCK_EXT4);
    assert_int_equal(superblock.block_size, 4096);
    assert_int_equal(superblock.made_at, 1700000000);
    assert_int_equal(superblock.ext4.inodes_per_group, 2000);
    assert_int_equal(superblock.ext4.group_count, 4);
    assert_int_equal(superblock.ext4.inode_size, 256);
    assert_int_equal(superblock.ext4.groups_offset, 4096);
    assert_int_equal(superblock.ext4.descriptor_size, 32);
    assert_false(superblock.ext4.has_journal);
    assert_false(superblock.ext4.uuid_in_checksums);
    put(data, 1024 + 0x5C, 0x4, 4);
    put(data, 1024 + 0x64, 0x400, 4);
    put(data, 1024 + 0x60, 0x80, 4);
    put(data, 1024 + 0xFE, 64, 2);
    superblock_read(data, sizeof(data), &superblock);
    assert_true(superblock.ext4.has_journal);
    assert_true(superblock.ext4.uuid_in_checksums);
    assert_int_equal(superblock.ext4.descriptor_size, 64);
    put(data, 1024 + 0x60, 0x2000, 4); /* checksums have a seed of their own */
    superblock_read(data, sizeof(data), &superblock);
    assert_false(superblock.ext4.uuid_in_checksums);
}

/* Geometry that makes no sense is no geometry. */
static void test_ext4_without_geometry(void **state)
{
    static const struct {
        size_t offset, size;
        uint64_t value;
    } changes[] = {
        {0, 4, 0},      {0x18, 4, 7},    {0x28, 4, 0},    {0x28, 4, 32769},
        {0x58, 2, 255}, {0x58, 2, 8192}, {0x60, 4, 0x10}, {0x58, 2, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t data[SUPERBLOCK_BYTES] = {0};
        struct superblock superblock;
        put_ext4(data);
        put(data, 1024 + changes[i].offset, changes[i].value, changes[i].size);
        superblock_read(data, sizeof(data), &superblock);
        assert_int_equal(superblock.kind, SUPERBLOCK_EXT4);
        assert_int_equal(superblock.ext4.inodes_per_group, 0);
    }
}

static void test_wrappings(void **state)
{
    static const struct {
        const char *magic;
        size_t size;
        enum superblock_kind kind;
    } wrappings[] = {
        {"\x1F\x8B\x08", 3, SUPERBLOCK_COMPRESSED_FILE},
        {"\xFD"
         "7zXZ\0",
         6, SUPERBLOCK_COMPRESSED_FILE},
        {"\x28\xB5\x2F\xFD", 4, SUPERBLOCK_COMPRESSED_FILE},
        {"BZh9", 4, SUPERBLOCK_COMPRESSED_FILE},
        {"LUKS\xBA\xBE", 6, SUPERBLOCK_ENCRYPTED},
        {"LUKS", 4, SUPERBLOCK_UNKNOWN},
        {"", 0, SUPERBLOCK_UNKNOWN},
    };
    struct superblock superblock;

    (void)state;
    for (size_t i = 0; i < sizeof(wrappings) / sizeof(wrappings[0]); i++) {
        superblock_read((const uint8_t *)wrappings[i].magic, wrappings[i].size, &superblock);
        assert_int_equal(superblock.kind, wrappings[i].kind);
    }
}

/* Whatever the bytes are, what is passed on is within its bounds. */
static void test_any_bytes(void **state)
{
    static void (*const puts[])(uint8_t *) = {put_squashfs, put_erofs, put_ext4};
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 30000; round++) {
        uint8_t *data = calloc(1, SUPERBLOCK_BYTES);
        struct superblock superblock;
        puts[round % 3](data);
        for (int i = 0; i < 8; i++)
            data[round % 3 == 0 ? rand_r(&seed) % 96 : 1024 + rand_r(&seed) % 1024] = (uint8_t)rand_r(&seed);
        size_t size = (size_t)rand_r(&seed) % (SUPERBLOCK_BYTES + 1);
        data = realloc(data, size ? size : 1);
        superblock_read(data, size, &superblock);
        free(data);
        assert_true(superblock.block_size == 0 ||
                    (superblock.block_size >= 512 && superblock.block_size <= 1 << 20));
        if (superblock.ext4.inodes_per_group == 0)
            continue;
        assert_in_range(superblock.ext4.inodes_per_group, 1, 8 * superblock.block_size);
        assert_in_range(superblock.ext4.inode_size, 128, superblock.block_size);
        assert_in_range(superblock.ext4.descriptor_size, 32, 64);
        assert_true(superblock.ext4.group_count >= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_squashfs),  cmocka_unit_test(test_erofs),
        cmocka_unit_test(test_ext4),      cmocka_unit_test(test_ext4_without_geometry),
        cmocka_unit_test(test_wrappings), cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
