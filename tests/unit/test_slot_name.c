/* SPDX-License-Identifier: MIT */
/* Names of slots that cannot be relied on, and names that end in the same storage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/host/slots.h"
#include "tests/unit/slots_scene.h"

static const char *judge_names(struct scene *scene, const char *a, const char *b, bool by_content)
{
    struct slots_request request = {.root = scene->root,
                                    .names = {a, b},
                                    .selected = SLOT_NONE,
                                    .judge_names = true,
                                    .names_by_content = by_content};
    struct error error;

    scene->slots = slots_free(scene->slots);
    if (!slots_find(&request, &scene->slots, &scene->error))
        fail_msg("%s", scene->error.message);
    if (scene->slots->name_why)
        for (int i = SLOT_A; i <= SLOT_B; i++) {
            assert_false(slots_target_check(scene->slots, (enum slot)i, &error));
            assert_int_equal(error.kind, ERROR_REFUSED);
        }
    return scene->slots->name_why;
}

static void assert_name_why(struct scene *scene, const char *a, const char *b, const char *const *parts)
{
    const char *why = judge_names(scene, a, b, false);

    if (!why)
        fail_msg("%s and %s can be relied on", a, b);
    for (; *parts; parts++)
        if (!strstr(why, *parts))
            fail_msg("no %s in: %s", *parts, why);
}

#define ASSERT_NAME_WHY(scene, a, b, ...)                                                                    \
    assert_name_why(scene, a, b, (const char *const[]){__VA_ARGS__, NULL})

static void assert_names_certain(struct scene *scene, const char *a, const char *b)
{
    const char *why = judge_names(scene, a, b, false);

    if (why)
        fail_msg("%s", why);
}

static void put_stick(const struct scene *scene, const char *uevent)
{
    scene_put_device(scene, "pci/usb1/block/sdb", "8:16", NULL, NULL);
    scene_put_device(scene, "pci/usb1/block/sdb/sdb3", "8:19", "3\n", uevent);
}

static void test_name_that_two_disks_share(void **state)
{
    struct scene *scene = *state;

    scene_put_sd_card(scene);
    scene_put_kernel(scene, "root=/dev/mmcblk0p2", "25 1 179:2 / / rw - ext4 /dev/mmcblk0p2 rw\n");
    scene_put_link(scene, "/dev/disk/by-partlabel/root-b", "../../mmcblk0p3");
    assert_names_certain(scene, "PARTLABEL=root-a", "PARTLABEL=root-b");
    put_stick(scene, "PARTN=3\nPARTNAME=root-b\nPARTUUID=738A4D67-03\n");
    /* By whatever way the name is used. */
    scene_put_link(scene, "/dev/system-b", "disk/by-partlabel/root-b");
    ASSERT_NAME_WHY(scene, "PARTLABEL=root-a", "PARTLABEL=root-b", "slot b", "PARTLABEL=root-b",
                    "/dev/mmcblk0p3", "/dev/sdb3");
    ASSERT_NAME_WHY(scene, "PARTLABEL=root-b", "PARTLABEL=root-a", "slot a");
    ASSERT_NAME_WHY(scene, "/dev/mmcblk0p2", "/dev/disk/by-partlabel/root-b", "/dev/mmcblk0p3", "/dev/sdb3");
    ASSERT_NAME_WHY(scene, "/dev/mmcblk0p2", "/dev/system-b", "/dev/mmcblk0p3", "/dev/sdb3");
    ASSERT_NAME_WHY(scene, "/dev/mmcblk0p2", "PARTUUID=738a4d67-03", "/dev/mmcblk0p3", "/dev/sdb3");
    ASSERT_NAME_WHY(scene, "/dev/mmcblk0p2", "/dev/disk/by-partuuid/738a4d67-03", "/dev/sdb3");
    ASSERT_NAME_WHY(scene, "PARTUUID=738a4d67-03/PARTNROFF=-1", "/dev/mmcblk0p3", "slot a", "/dev/sdb3");
    assert_names_certain(scene, "/dev/mmcblk0p2", "/dev/mmcblk0p3");
    assert_names_certain(scene, "PARTUUID=738a4d67-02", "/dev/mmcblk0p3");
    /* A disk that is part of another device has none of its own. */
    scene_put(scene, "/sys/devices/pci/usb1/block/sdb/holders/dm-0", "");
    assert_names_certain(scene, "PARTLABEL=root-a", "PARTLABEL=root-b");
}

static void test_name_as_udev_knows_it(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    put_stick(scene, "PARTN=3\n");
    scene_put_link(scene, "/dev/disk/by-partlabel/root\\x20b", "../../sda3");
    scene_put(scene, "/run/udev/data/b8:3",
              "S:disk/by-partlabel/root\\x20b\nE:ID_PART_ENTRY_NAME=root\\x20b\n");
    scene_put(scene, "/run/udev/data/b8:19", "E:ID_PART_ENTRY_SCHEME=gpt\n");
    assert_names_certain(scene, "/dev/sda2", "PARTLABEL=root b");
    scene_put(scene, "/run/udev/data/b8:19", "E:ID_PART_ENTRY_SCHEME=gpt\nE:ID_PART_ENTRY_NAME=root\\x20b\n");
    ASSERT_NAME_WHY(scene, "/dev/sda2", "PARTLABEL=root b", "/dev/sda3", "/dev/sdb3");
    ASSERT_NAME_WHY(scene, "/dev/sda2", "/dev/disk/by-partlabel/root\\x20b", "/dev/sda3", "/dev/sdb3");
}

static void test_names_that_end_early(void **state)
{
    static const char *const names[][2] = {
        {"root\\x20b", "root b"}, {"b\\x5", "b\\x5"},   {"b\\x", "b\\x"}, {"b\\", "b\\"},
        {"b\\x 5", "b\\x 5"},     {"b\\x00", "b\\x00"}, {"b\\x5c", "b\\"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        /* What lies behind a name is none of it. */
        char text[32];
        memset(text, 'z', sizeof(text));
        memcpy(text, names[i][0], strlen(names[i][0]) + 1);
        text[sizeof(text) - 1] = 0;
        storage_decode_name(text);
        assert_string_equal(text, names[i][1]);
    }
}

/* A disk with a GPT whose third partition is `name`, or with the table of a PC. */
static void put_table(const struct scene *scene, const char *path, bool gpt, const char *name)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);
    unsigned char sectors[8 * 512] = {[510] = 0x55, [511] = 0xaa};

    memcpy(sectors + 440, "\x67\x4d\x8a\x73", 4);
    if (gpt) {
        unsigned char *header = sectors + 512, *entry = sectors + 1024 + 2 * 128;
        memcpy(header, "EFI PART", 8);
        header[72] = 2;
        header[80] = 128;
        header[84] = 128;
        memcpy(entry + 16, "\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
        for (size_t i = 0; name[i]; i++)
            entry[56 + 2 * i] = (unsigned char)name[i];
    }
    scene_put(scene, path, "");
    FILE *stream = fopen(full, "we");
    assert_non_null(stream);
    assert_int_equal(fwrite(sectors, sizeof(sectors), 1, stream), 1);
    fclose(stream);
}

static void test_name_in_the_partition_table(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    put_stick(scene, NULL);
    scene_put_link(scene, "/dev/disk/by-partlabel/root-b", "../../sda3");
    scene_put_link(scene, "/dev/disk/by-partuuid/00112233-4455-6677-8899-AABBCCDDEEFF", "../../sda3");
    scene_put_link(scene, "/dev/disk/by-partuuid/738a4d67-03", "../../sda3");
    put_table(scene, "/dev/sda", true, "root-b");
    put_table(scene, "/dev/sdb", true, "other");
    assert_names_certain(scene, "/dev/sda2", "PARTLABEL=root-b");
    ASSERT_NAME_WHY(scene, "/dev/sda2", "PARTUUID=00112233-4455-6677-8899-AABBCCDDEEFF", "/dev/sda3",
                    "/dev/sdb3");
    put_table(scene, "/dev/sdb", true, "root-b");
    ASSERT_NAME_WHY(scene, "/dev/sda2", "PARTLABEL=root-b", "/dev/sda3", "/dev/sdb3");
    put_table(scene, "/dev/sdb", false, "");
    assert_names_certain(scene, "/dev/sda2", "PARTLABEL=root-b");
    ASSERT_NAME_WHY(scene, "/dev/sda2", "PARTUUID=738a4d67-03", "/dev/sda3", "/dev/sdb3");
    /* What a table's numbers must not lead to. */
    put_table(scene, "/dev/sdb", true, "root-b");
    CLEANUP_FREE char *path = alloc_printf("%s/dev/sdb", scene->root);
    for (size_t at = 512 + 72; at < 512 + 88; at++) {
        FILE *stream = fopen(path, "r+e");
        assert_non_null(stream);
        fseek(stream, (long)at, SEEK_SET);
        fputc(0xff, stream);
        fclose(stream);
        judge_names(scene, "/dev/sda2", "PARTLABEL=root-b", false);
    }
}

static void test_names_of_the_content(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_link(scene, "/dev/disk/by-label/root-b", "../../sda3");
    scene_put_link(scene, "/dev/disk/by-uuid/1234-ABCD", "../../sda3");
    scene_put_link(scene, "/dev/system-b", "disk/by-uuid/1234-ABCD");
    const char *names[] = {
        "LABEL=root-b",  "UUID=1234-ABCD", "/dev/disk/by-label/root-b", "/dev/disk/by-uuid/1234-ABCD",
        "/dev/system-b", "LABEL=absent"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ASSERT_NAME_WHY(scene, "/dev/sda2", names[i], "slot b", "part of what an update overwrites");
        assert_null(judge_names(scene, "/dev/sda2", names[i], true));
    }
}

static void put_loop(const struct scene *scene, int number, const char *backing, const char *offset)
{
    CLEANUP_FREE char *place = alloc_printf("virtual/block/loop%d", number);
    CLEANUP_FREE char *device = alloc_printf("7:%d", number);
    CLEANUP_FREE char *file = alloc_printf("/sys/devices/%s/loop/backing_file", place);
    CLEANUP_FREE char *where = alloc_printf("/sys/devices/%s/loop/offset", place);
    CLEANUP_FREE char *limit = alloc_printf("/sys/devices/%s/loop/sizelimit", place);

    scene_put_device(scene, place, device, NULL, NULL);
    scene_put(scene, file, backing);
    scene_put(scene, where, offset);
    scene_put(scene, limit, "1024\n");
}

static void test_stacks_that_end_in_the_same_storage(void **state)
{
    struct scene *scene = *state;
    struct error error;

    scene_put_disk(scene);
    scene_put(scene, "/sys/devices/pci/ata1/block/sda/sda3/start", "4\n");
    scene_put(scene, "/sys/devices/pci/ata1/block/sda/sda3/size", "4\n");
    scene_put(scene, "/data/disk.img", "x");
    scene_put_kernel(scene, "root=/dev/sda2", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    put_loop(scene, 0, "/data/disk.img\n", "0\n");
    put_loop(scene, 1, "/data/disk.img\n", "512\n");
    put_loop(scene, 2, "/data/disk.img\n", "1024\n");
    put_loop(scene, 3, "/dev/sda\n", "3072\n");
    put_loop(scene, 4, "/dev/sda\n", "4096\n");
    scene_put_device(scene, "virtual/block/dm-0", "254:0", NULL, NULL);
    scene_put(scene, "/sys/devices/virtual/block/dm-0/dm/uuid", "CRYPT-VERITY-1234-root\n");
    scene_put(scene, "/sys/devices/virtual/block/dm-0/slaves/loop1", "");
    scene_put_device(scene, "virtual/block/dm-1", "254:1", NULL, NULL);
    scene_put_device(scene, "virtual/block/dm-2", "254:2", NULL, NULL);
    for (int i = 1; i <= 2; i++) {
        CLEANUP_FREE char *uuid = alloc_printf("/sys/devices/virtual/block/dm-%d/dm/uuid", i);
        CLEANUP_FREE char *slave = alloc_printf("/sys/devices/virtual/block/dm-%d/slaves/sda4", i);
        scene_put(scene, uuid, "LVM-abcd\n");
        scene_put(scene, slave, "");
    }
    assert_false(scene_find(scene, "/dev/loop0", "/dev/loop1", SLOT_NONE));
    assert_non_null(strstr(scene->error.message, "the same storage"));
    assert_false(scene_find(scene, "/dev/loop0", "/dev/dm-0", SLOT_NONE));
    assert_false(scene_find(scene, "/dev/loop3", "/dev/sda3", SLOT_NONE));
    assert_true(scene_find(scene, "/dev/loop0", "/dev/loop2", SLOT_NONE));
    assert_true(scene_find(scene, "/dev/loop4", "/dev/sda3", SLOT_NONE));
    assert_true(scene_find(scene, "/dev/dm-1", "/dev/dm-2", SLOT_NONE));
    assert_true(scene_find(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE));
    /* Nor is what the machine runs from written by another name. */
    scene_put_kernel(scene, "quiet", "30 1 7:1 / / ro - squashfs /dev/loop1 ro\n");
    assert_true(scene_find(scene, "/dev/sda2", "/dev/loop0", SLOT_A));
    assert_false(slots_target_check(scene->slots, SLOT_B, &error));
    assert_non_null(strstr(error.message, "root file system"));
}

/* An array of two disks with partitions, as the RAID of a motherboard makes them. */
static void put_array(const struct scene *scene, const char *name, const char *number, const char *metadata)
{
    CLEANUP_FREE char *place = alloc_printf("virtual/block/%s", name);
    CLEANUP_FREE char *slave_a = alloc_printf("/sys/devices/%s/slaves/sda", place);
    CLEANUP_FREE char *slave_b = alloc_printf("/sys/devices/%s/slaves/sdb", place);
    CLEANUP_FREE char *version = alloc_printf("/sys/devices/%s/md/metadata_version", place);
    CLEANUP_FREE char *size = alloc_printf("/sys/devices/%s/size", place);

    scene_put_device(scene, place, number, NULL, NULL);
    scene_put(scene, slave_a, "");
    scene_put(scene, slave_b, "");
    scene_put(scene, version, metadata);
    scene_put(scene, size, "400\n");
}

static void put_array_part(const struct scene *scene, const char *name, const char *number, const char *start)
{
    CLEANUP_FREE char *place = alloc_printf("virtual/block/md126/%s", name);
    CLEANUP_FREE char *where = alloc_printf("/sys/devices/%s/start", place);
    CLEANUP_FREE char *size = alloc_printf("/sys/devices/%s/size", place);

    scene_put_device(scene, place, number, strchr(name, 'p') + 1, NULL);
    scene_put(scene, where, start);
    scene_put(scene, size, "100\n");
}

static void test_parts_of_an_array(void **state)
{
    struct scene *scene = *state;
    struct error error;

    scene_put_disk(scene);
    scene_put_device(scene, "pci/ata2/block/sdb", "8:16", NULL, NULL);
    put_array(scene, "md126", "9:126", "1.2\n");
    put_array_part(scene, "md126p2", "259:2", "100\n");
    put_array_part(scene, "md126p3", "259:3", "200\n");
    scene_put_kernel(scene, "root=/dev/md126p2", "30 1 259:2 / / rw - ext4 /dev/md126p2 rw\n");
    assert_true(scene_find(scene, "/dev/md126p2", "/dev/md126p3", SLOT_NONE));
    assert_true(slots_target_check(scene->slots, SLOT_B, &error));
    /* The whole array is its parts, and its members. */
    assert_false(scene_find(scene, "/dev/md126p2", "/dev/md126", SLOT_NONE));
    assert_false(scene_find(scene, "/dev/md126", "/dev/sdb", SLOT_NONE));
    /* Two arrays on parts of the same disks. */
    scene_put(scene, "/sys/devices/virtual/block/md126/md/metadata_version", "external:/md127/0\n");
    put_array(scene, "md125", "9:125", "external:/md127/1\n");
    assert_true(scene_find(scene, "/dev/md126", "/dev/md125", SLOT_NONE));
    assert_false(scene_find(scene, "/dev/md126p3", "/dev/md126", SLOT_NONE));
    /* Two devices with one cache. */
    scene_put_device(scene, "virtual/block/bcache0", "251:0", NULL, NULL);
    scene_put_device(scene, "virtual/block/bcache1", "251:16", NULL, NULL);
    scene_put(scene, "/sys/devices/virtual/block/bcache0/slaves/sdb", "");
    scene_put(scene, "/sys/devices/virtual/block/bcache1/slaves/sdb", "");
    assert_true(scene_find(scene, "/dev/bcache0", "/dev/bcache1", SLOT_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_name_that_two_disks_share, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_name_as_udev_knows_it, scene_setup, scene_teardown),
        cmocka_unit_test(test_names_that_end_early),
        cmocka_unit_test_setup_teardown(test_name_in_the_partition_table, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_names_of_the_content, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_stacks_that_end_in_the_same_storage, scene_setup,
                                        scene_teardown),
        cmocka_unit_test_setup_teardown(test_parts_of_an_array, scene_setup, scene_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
