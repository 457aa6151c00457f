/* SPDX-License-Identifier: MIT */
/* Which slot runs, as the kernel tells it, and what may be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/host/root_device.h"
#include "daemon/host/slots.h"
#include "tests/unit/slots_scene.h"

static void assert_running(struct scene *scene, const char *a, const char *b, enum slot running,
                           const char *why)
{
    if (!scene_find(scene, a, b, SLOT_NONE))
        fail_msg("%s", scene->error.message);
    if (scene->slots->running != running || !strstr(scene->slots->why, why))
        fail_msg("running %s: %s", slot_name(scene->slots->running), scene->slots->why);
    struct error error;
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        bool allowed = slots_target_check(scene->slots, (enum slot)i, &error);
        assert_int_equal(allowed, running == slot_other((enum slot)i) && running != SLOT_NONE);
    }
}

static void test_raspberry_pi(void **state)
{
    struct scene *scene = *state;

    scene_put_sd_card(scene);
    scene_put_kernel(
        scene,
        "coherent_pool=1M 8250.nr_uarts=0 console=ttyS0,115200 root=PARTUUID=738a4d67-02 rootfstype=ext4 "
        "fsck.repair=yes rootwait\n",
        "21 25 0:19 / /sys rw,nosuid,nodev,noexec,relatime shared:6 - sysfs sysfs rw\n"
        "25 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n"
        "69 25 179:1 / /boot/firmware rw,relatime shared:43 - vfat /dev/mmcblk0p1 rw,fmask=0022\n");
    assert_running(scene, "PARTUUID=738a4d67-02", "PARTUUID=738a4d67-03", SLOT_A,
                   "as the kernel's command line says");
    assert_running(scene, "/dev/mmcblk0p3", "/dev/mmcblk0p2", SLOT_B, "/dev/mmcblk0p2");
    assert_string_equal(scene->slots->devices[SLOT_A].path, "/dev/mmcblk0p3");
    /* Names in udev's absence, and in another case of letters. */
    assert_running(scene, "PARTLABEL=root-a", "PARTLABEL=root-b", SLOT_A, "mmcblk0p2");
    assert_running(scene, "PARTUUID=738A4D67-02", "/dev/disk/by-partuuid/738a4d67-03", SLOT_A, "mmcblk0p2");
    assert_true(slots_target(scene->slots) == SLOT_B);
    assert_true(scene->slots->is_root[SLOT_A]);
    assert_false(scene->slots->is_root[SLOT_B]);
}

static void test_number_and_offset(void **state)
{
    struct scene *scene = *state;
    const char *mounts = "25 1 179:3 / / rw - ext4 /dev/root rw\n";

    scene_put_sd_card(scene);
    scene_put_kernel(scene, "root=PARTUUID=738a4d67-01/PARTNROFF=2", mounts);
    assert_running(scene, "/dev/mmcblk0p2", "/dev/mmcblk0p3", SLOT_B, "as the kernel's");
    scene_put_kernel(scene, "root=179:3", mounts);
    assert_running(scene, "/dev/mmcblk0p2", "/dev/mmcblk0p3", SLOT_B, "as the kernel's");
    /* The last root= counts, and what follows -- is init's. */
    scene_put_kernel(scene, "root=/dev/mmcblk0p2 root=/dev/mmcblk0p3 -- root=/dev/mmcblk0p1", mounts);
    assert_running(scene, "/dev/mmcblk0p2", "/dev/mmcblk0p3", SLOT_B, "as the kernel's");
}

static void test_plain_partition(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_kernel(scene, "BOOT_IMAGE=/vmlinuz root=/dev/sda2 ro quiet",
                     "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "/dev/sda2");
    /* A whole disk stands under its partitions. */
    scene_put_device(scene, "pci/ata2/block/sdb", "8:16", NULL, NULL);
    assert_running(scene, "/dev/sdb", "/dev/sda", SLOT_B, "/dev/sda2");
}

static void test_dev_root_and_no_cmdline_answer(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_kernel(scene, "root=/dev/root quiet", "30 1 8:3 / / rw - ext4 /dev/root rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "/dev/sda3");
    /* Of several mounts on one place the last one is on top. */
    scene_put_kernel(scene, "quiet",
                     "1 1 0:2 / / rw - rootfs rootfs rw\n30 1 8:3 / / rw - ext4 /dev/root rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "/dev/sda3");
}

static void test_dm_verity(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_device(scene, "virtual/block/dm-0", "254:0", NULL, NULL);
    scene_put_link(scene, "/sys/devices/virtual/block/dm-0/slaves/sda2",
                   "../../../../pci/ata1/block/sda/sda2");
    scene_put_link(scene, "/sys/devices/virtual/block/dm-0/slaves/sda4",
                   "../../../../pci/ata1/block/sda/sda4");
    scene_put_link(scene, "/dev/mapper/root", "../dm-0");
    scene_put_kernel(scene, "root=/dev/mapper/root roothash=00 systemd.verity_root_data=/dev/sda2",
                     "30 1 254:0 / / ro - erofs /dev/mapper/root ro\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
    scene_put_kernel(scene, "root=/dev/dm-0", "30 1 254:0 / / ro - erofs /dev/dm-0 ro\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
}

static void test_overlay_over_squashfs(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_kernel(
        scene, "root=/dev/sda3 overlayroot=tmpfs",
        "28 1 8:3 / /media/root-ro ro - squashfs /dev/sda3 ro\n"
        "29 1 0:28 / /media/root-rw rw - tmpfs tmpfs-root rw\n"
        "30 1 0:29 / / rw - overlay overlayroot "
        "rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay,workdir=/media/root-rw/overlay-workdir/_\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "as the kernel's");
    /* Several layers, blanks and colons in their names, the newer spelling of the option. */
    scene_put_kernel(
        scene, "quiet",
        "27 1 8:4 / /app rw - ext4 /dev/sda4 rw\n"
        "28 1 8:3 / /lower\\040a:b ro - squashfs /dev/sda3 ro\n"
        "30 1 0:29 / / rw - overlay overlay rw,lowerdir=/app:/lower\\040a\\134:b/x,upperdir=/nowhere\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "");
    scene_put_kernel(scene, "quiet",
                     "27 1 8:4 / /app rw - ext4 /dev/sda4 rw\n"
                     "28 1 8:3 / /lower ro - squashfs /dev/sda3 ro\n"
                     "30 1 0:29 / / rw - overlay overlay rw,lowerdir+=/app,lowerdir+=/lower\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "");
}

static void test_overlay_from_initramfs(void **state)
{
    struct scene *scene = *state;
    const char *mounts = "1 1 0:2 / / rw - rootfs rootfs rw\n"
                         "30 1 0:29 / / rw - overlay overlay rw,lowerdir=/lower,upperdir=/upper/data\n";

    /* The layers' own mounts are out of sight: only root= can tell. */
    scene_put_disk(scene);
    scene_put_kernel(scene, "root=/dev/sda2", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "root=/dev/sda2");
    scene_put_kernel(scene, "quiet", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
    /* Then a word on the command line is accepted. */
    scene_put_kernel(scene, "quiet rauc.slot=B", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "names slot b");
    scene_put_kernel(scene, "quiet moonsinter.slot=a", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "names slot a");
    scene_put_kernel(scene, "quiet moonsinter.slot=a rauc.slot=b", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
}

static void test_label_on_nvme(void **state)
{
    struct scene *scene = *state;

    scene_put_device(scene, "pci/nvme/nvme0/nvme0n1", "259:0", NULL, NULL);
    scene_put_device(scene, "pci/nvme/nvme0/nvme0n1/nvme0n1p2", "259:2", "2\n", NULL);
    scene_put_device(scene, "pci/nvme/nvme0/nvme0n1/nvme0n1p3", "259:3", "3\n", NULL);
    scene_put_link(scene, "/dev/disk/by-label/root\\x20a", "../../nvme0n1p2");
    scene_put_link(scene, "/dev/disk/by-label/root\\x20b", "../../nvme0n1p3");
    scene_put_kernel(scene, "quiet \"root=LABEL=root b\" ro", "30 1 259:3 / / rw - ext4 /dev/nvme0n1p3 rw\n");
    assert_running(scene, "LABEL=root a", "LABEL=root b", SLOT_B, "as the kernel's");
    assert_string_equal(scene->slots->devices[SLOT_A].path, "/dev/nvme0n1p2");
}

static void test_btrfs(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_kernel(
        scene, "root=/dev/sda2 rootflags=subvol=@",
        "30 1 0:23 /@ / rw,relatime shared:1 - btrfs /dev/sda2 rw,space_cache,subvolid=256,subvol=/@\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
}

static void test_recovery(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_device(scene, "pci/usb1/block/sdb", "8:16", NULL, NULL);
    scene_put_device(scene, "pci/usb1/block/sdb/sdb1", "8:17", "1\n", NULL);
    scene_put_kernel(scene, "root=/dev/sdb1", "30 1 8:17 / / rw - ext4 /dev/sdb1 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "/dev/sdb1, which is neither slot");
    /* A hint does not overrule what is plain to see. */
    scene_put_kernel(scene, "root=/dev/sdb1 moonsinter.slot=a", "30 1 8:17 / / rw - ext4 /dev/sdb1 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "neither slot");
    scene_put_kernel(scene, "root=/dev/nfs nfsroot=x", "30 1 0:30 / / rw - nfs 10.0.0.1:/root rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
    scene_put_kernel(scene, "root=/dev/ram0", "30 1 0:2 / / rw - tmpfs  rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
}

static void test_contradictions(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put_kernel(scene, "root=/dev/sda2", "30 1 8:3 / / rw - ext4 /dev/sda3 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE,
                   "means slot a, but / is mounted from /dev/sda3");
    scene_put_kernel(scene, "root=/dev/sda1", "30 1 8:3 / / rw - ext4 /dev/sda3 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "means neither slot, but");
    scene_put_kernel(scene, "root=/dev/sda2 rauc.slot=B", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "names slot b, but this system runs from");
    /* Both slots under one root. */
    scene_put_device(scene, "virtual/block/md0", "9:0", NULL, NULL);
    scene_put_link(scene, "/sys/devices/virtual/block/md0/slaves/sda2",
                   "../../../../pci/ata1/block/sda/sda2");
    scene_put_link(scene, "/sys/devices/virtual/block/md0/slaves/sda3",
                   "../../../../pci/ata1/block/sda/sda3");
    scene_put_kernel(scene, "root=/dev/md0", "30 1 9:0 / / rw - ext4 /dev/md0 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "stands on both slots");
}

static void test_nothing_readable(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
    scene_put_kernel(scene, "", "garbage\n30 1 - - -\n30 1 x:y / / rw - ext4 /dev/sda2 rw\n\n - \n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
}

static void test_loop_over_a_file(void **state)
{
    struct scene *scene = *state;

    scene_put_disk(scene);
    scene_put(scene, "/data/a.img", "a");
    scene_put(scene, "/data/b.img", "b");
    scene_put_device(scene, "virtual/block/loop0", "7:0", NULL, NULL);
    scene_put(scene, "/sys/devices/virtual/block/loop0/loop/backing_file", "/data/a.img\n");
    scene_put_kernel(scene, "root=/dev/sda1", "30 1 7:0 / / ro - squashfs /dev/loop0 ro\n");
    /* root= names the partition the file is on, so the two ways disagree; the file is in use in any case. */
    assert_running(scene, "/data/a.img", "/data/b.img", SLOT_NONE, "means neither slot, but");
    assert_true(scene->slots->is_root[SLOT_A]);
    scene_put_kernel(scene, "quiet", "30 1 7:0 / / ro - squashfs /dev/loop0 ro\n");
    assert_running(scene, "/data/a.img", "/data/b.img", SLOT_A, "/dev/loop0");
    assert_running(scene, "/data/b.img", "/dev/loop0", SLOT_B, "/dev/loop0");
    /* The same storage by two names. */
    assert_false(scene_find(scene, "/data/a.img", "/dev/loop0", SLOT_NONE));
    assert_non_null(strstr(scene->error.message, "the same storage"));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
}

static void test_same_storage(void **state)
{
    struct scene *scene = *state;

    scene_put_sd_card(scene);
    scene_put(scene, "/data/a.img", "a");
    scene_put_link(scene, "/data/link.img", "a.img");
    assert_false(scene_find(scene, "/dev/mmcblk0p2", "PARTUUID=738a4d67-02", SLOT_NONE));
    assert_false(scene_find(scene, "/dev/mmcblk0", "/dev/mmcblk0p3", SLOT_NONE));
    assert_false(scene_find(scene, "/data/a.img", "/data/link.img", SLOT_NONE));
    assert_false(scene_find(scene, "/data/new.img", "/data/new.img", SLOT_NONE));
    CLEANUP_FREE char *hard = alloc_printf("%s/data/hard.img", scene->root);
    CLEANUP_FREE char *first = alloc_printf("%s/data/a.img", scene->root);
    assert_int_equal(link(first, hard), 0);
    assert_false(scene_find(scene, "/data/a.img", "/data/hard.img", SLOT_NONE));
    assert_false(scene_find(scene, "/data", "/data/a.img", SLOT_NONE));
    assert_non_null(strstr(scene->error.message, "slot a: /data is a folder"));
}

static void test_file_backend(void **state)
{
    struct scene *scene = *state;
    struct error error;

    scene_put_disk(scene);
    scene_put(scene, "/data/a.img", "a");
    scene_put_kernel(scene, "root=/dev/sda2", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    /* Slot B need not be there yet. */
    assert_true(scene_find(scene, "/data/a.img", "/data/b.img", SLOT_A));
    assert_int_equal(scene->slots->running, SLOT_A);
    assert_false(scene->slots->devices[SLOT_B].present);
    assert_true(slots_target_check(scene->slots, SLOT_B, &error));
    assert_false(slots_target_check(scene->slots, SLOT_A, &error));
    /* Whatever the selection says, the machine's own root is not written. */
    assert_true(scene_find(scene, "/dev/sda3", "/dev/sda2", SLOT_A));
    assert_false(slots_target_check(scene->slots, SLOT_B, &error));
    assert_non_null(strstr(error.message, "root file system"));
    assert_true(scene_find(scene, "/dev/sda3", "/dev/sda9", SLOT_A));
    assert_false(slots_target_check(scene->slots, SLOT_B, &error));
    assert_non_null(strstr(error.message, "is not there"));
}

/* Where a board's clock was wrong at boot, its nodes are dated so; a 32-bit time_t ends in 2038. */
static void test_dates_past_2038(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *node = alloc_printf("%s/dev/sda3", scene->root);
    CLEANUP_FREE char *files = alloc_printf("touch -d 2100-01-01 %s/data/*.img", scene->root);
    CLEANUP_FREE char *nodes = alloc_printf("touch -h -d 2100-01-01 %s/dev/sda3 %s/dev/disk/by-partlabel/*",
                                            scene->root, scene->root);

    scene_put(scene, "/data/a.img", "a");
    scene_put(scene, "/data/b.img", "b");
    assert_int_equal(system(files), 0);
    assert_true(scene_find(scene, "/data/a.img", "/data/b.img", SLOT_A));
    assert_true(scene->slots->devices[SLOT_A].present && scene->slots->devices[SLOT_B].present);

    scene_put_disk(scene);
    scene_put_link(scene, "/dev/disk/by-partlabel/root-b", "../../sda3");
    if (mknod(node, S_IFBLK | 0600, makedev(8, 3)) < 0)
        skip(); /* only root may */
    assert_int_equal(system(nodes), 0);
    scene_put_kernel(scene, "root=/dev/sda2", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
    assert_running(scene, "/dev/sda2", "PARTLABEL=root-b", SLOT_A, "as the kernel's");
}

static void test_opened_target(void **state)
{
    struct scene *scene = *state;
    struct error error;
    CLEANUP_FREE char *a = alloc_printf("%s/data/a.img", scene->root);
    CLEANUP_FREE char *b = alloc_printf("%s/data/b.img", scene->root);

    scene_put(scene, "/data/a.img", "a");
    scene_put(scene, "/data/b.img", "b");
    scene_put(scene, "/data/c.img", "c");
    CLEANUP_FREE char *c = alloc_printf("%s/data/c.img", scene->root);
    assert_true(scene_find(scene, "/data/a.img", "/data/b.img", SLOT_A));
    CLEANUP_FD int fd_a = open(a, O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int fd_b = open(b, O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int fd_c = open(c, O_RDONLY | O_CLOEXEC);
    assert_true(slots_target_check_opened(scene->slots, SLOT_B, MANIFEST_MAIN_NAME, fd_b, &error));
    /* The path was exchanged between looking and opening. */
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, MANIFEST_MAIN_NAME, fd_a, &error));
    assert_non_null(strstr(error.message, "turned out to be the running system"));
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, MANIFEST_MAIN_NAME, fd_c, &error));
    assert_non_null(strstr(error.message, "became another"));
}

/* This machine, whatever it is: nothing crashes, and nothing is found that cannot be named. */
static void test_this_machine(void **state)
{
    struct root_device device;

    root_device_by_cmdline("", &device);
    assert_true(*device.what);
    root_device_finish(&device);
    root_device_by_mounts("", &device);
    assert_true(*device.what);
    assert_true(!device.found || device.below.count > 0);
    root_device_finish(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_raspberry_pi, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_number_and_offset, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_plain_partition, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_dev_root_and_no_cmdline_answer, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_dm_verity, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_overlay_over_squashfs, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_overlay_from_initramfs, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_label_on_nvme, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_btrfs, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_recovery, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_contradictions, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_nothing_readable, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_loop_over_a_file, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_same_storage, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_file_backend, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_dates_past_2038, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_opened_target, scene_setup, scene_teardown),
        cmocka_unit_test(test_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
