/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/host/root_device.h"
#include "daemon/host/slots.h"

/* A machine as /proc, /sys and /dev show it. */
struct scene {
    char root[64];
    struct slots *slots;
    struct error error;
};

static int scene_setup(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    snprintf(scene->root, sizeof(scene->root), "/tmp/test_slots.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf '%s'", scene->root);

    slots_free(scene->slots);
    assert_int_equal(system(command), 0);
    free(scene);
    return 0;
}

static void put(const struct scene *scene, const char *path, const char *text)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);
    CLEANUP_FREE char *folder = alloc_string(full);

    *strrchr(folder, '/') = 0;
    assert_int_equal(file_make_folders(folder), 0);
    FILE *stream = fopen(full, "we");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

static void put_link(const struct scene *scene, const char *path, const char *target)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);
    CLEANUP_FREE char *folder = alloc_string(full);

    *strrchr(folder, '/') = 0;
    assert_int_equal(file_make_folders(folder), 0);
    assert_int_equal(symlink(target, full), 0);
}

/* A block device in sysfs: `place` is where it lies below /sys/devices. */
static void put_device(const struct scene *scene, const char *place, const char *number,
                       const char *partition, const char *uevent)
{
    const char *slash = strrchr(place, '/'), *name = slash ? slash + 1 : place;
    CLEANUP_FREE char *folder = alloc_printf("/sys/devices/%s", place);
    CLEANUP_FREE char *dev = alloc_printf("%s/dev", folder);
    CLEANUP_FREE char *number_text = alloc_printf("%s\n", number);
    CLEANUP_FREE char *by_name = alloc_printf("/sys/class/block/%s", name);
    CLEANUP_FREE char *by_number = alloc_printf("/sys/dev/block/%s", number);
    CLEANUP_FREE char *target = alloc_printf("../../devices/%s", place);

    put(scene, dev, number_text);
    put_link(scene, by_name, target);
    put_link(scene, by_number, target);
    if (partition) {
        CLEANUP_FREE char *file = alloc_printf("%s/partition", folder);
        put(scene, file, partition);
    }
    if (uevent) {
        CLEANUP_FREE char *file = alloc_printf("%s/uevent", folder);
        put(scene, file, uevent);
    }
}

static void put_sd_card(const struct scene *scene)
{
    put_device(scene, "platform/mmc0/block/mmcblk0", "179:0", NULL, NULL);
    put_device(scene, "platform/mmc0/block/mmcblk0/mmcblk0p1", "179:1", "1\n", "PARTN=1\nPARTNAME=boot\n");
    put_device(scene, "platform/mmc0/block/mmcblk0/mmcblk0p2", "179:2", "2\n",
               "MAJOR=179\nPARTN=2\nPARTNAME=root-a\nPARTUUID=738a4d67-02\n");
    put_device(scene, "platform/mmc0/block/mmcblk0/mmcblk0p3", "179:3", "3\n",
               "MAJOR=179\nPARTN=3\nPARTNAME=root-b\nPARTUUID=738a4d67-03");
    put_link(scene, "/dev/disk/by-partuuid/738a4d67-01", "../../mmcblk0p1");
    put_link(scene, "/dev/disk/by-partuuid/738a4d67-02", "../../mmcblk0p2");
    put_link(scene, "/dev/disk/by-partuuid/738a4d67-03", "../../mmcblk0p3");
}

static void put_disk(const struct scene *scene)
{
    put_device(scene, "pci/ata1/block/sda", "8:0", NULL, NULL);
    put_device(scene, "pci/ata1/block/sda/sda1", "8:1", "1\n", NULL);
    put_device(scene, "pci/ata1/block/sda/sda2", "8:2", "2\n", NULL);
    put_device(scene, "pci/ata1/block/sda/sda3", "8:3", "3\n", NULL);
    put_device(scene, "pci/ata1/block/sda/sda4", "8:4", "4\n", NULL);
}

static bool find(struct scene *scene, const char *a, const char *b, enum slot selected)
{
    struct slots_request request = {.root = scene->root, .names = {a, b}, .selected = selected};

    scene->slots = slots_free(scene->slots);
    return slots_find(&request, &scene->slots, &scene->error);
}

static void assert_running(struct scene *scene, const char *a, const char *b, enum slot running,
                           const char *why)
{
    if (!find(scene, a, b, SLOT_NONE))
        fail_msg("%s", scene->error.message);
    if (scene->slots->running != running || !strstr(scene->slots->why, why))
        fail_msg("running %s: %s", slot_name(scene->slots->running), scene->slots->why);
    struct error error;
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        bool allowed = slots_target_check(scene->slots, (enum slot)i, &error);
        assert_int_equal(allowed, running == slot_other((enum slot)i) && running != SLOT_NONE);
    }
}

static void put_kernel(const struct scene *scene, const char *cmdline, const char *mountinfo)
{
    put(scene, "/proc/cmdline", cmdline);
    put(scene, "/proc/self/mountinfo", mountinfo);
}

static void test_raspberry_pi(void **state)
{
    struct scene *scene = *state;

    put_sd_card(scene);
    put_kernel(
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

    put_sd_card(scene);
    put_kernel(scene, "root=PARTUUID=738a4d67-01/PARTNROFF=2", mounts);
    assert_running(scene, "/dev/mmcblk0p2", "/dev/mmcblk0p3", SLOT_B, "as the kernel's");
    put_kernel(scene, "root=179:3", mounts);
    assert_running(scene, "/dev/mmcblk0p2", "/dev/mmcblk0p3", SLOT_B, "as the kernel's");
    /* The last root= counts, and what follows -- is init's. */
    put_kernel(scene, "root=/dev/mmcblk0p2 root=/dev/mmcblk0p3 -- root=/dev/mmcblk0p1", mounts);
    assert_running(scene, "/dev/mmcblk0p2", "/dev/mmcblk0p3", SLOT_B, "as the kernel's");
}

static void test_plain_partition(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_kernel(scene, "BOOT_IMAGE=/vmlinuz root=/dev/sda2 ro quiet", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "/dev/sda2");
    /* A whole disk stands under its partitions. */
    put_device(scene, "pci/ata2/block/sdb", "8:16", NULL, NULL);
    assert_running(scene, "/dev/sdb", "/dev/sda", SLOT_B, "/dev/sda2");
}

static void test_dev_root_and_no_cmdline_answer(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_kernel(scene, "root=/dev/root quiet", "30 1 8:3 / / rw - ext4 /dev/root rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "/dev/sda3");
    /* Of several mounts on one place the last one is on top. */
    put_kernel(scene, "quiet", "1 1 0:2 / / rw - rootfs rootfs rw\n30 1 8:3 / / rw - ext4 /dev/root rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "/dev/sda3");
}

static void test_dm_verity(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_device(scene, "virtual/block/dm-0", "254:0", NULL, NULL);
    put_link(scene, "/sys/devices/virtual/block/dm-0/slaves/sda2", "../../../../pci/ata1/block/sda/sda2");
    put_link(scene, "/sys/devices/virtual/block/dm-0/slaves/sda4", "../../../../pci/ata1/block/sda/sda4");
    put_link(scene, "/dev/mapper/root", "../dm-0");
    put_kernel(scene, "root=/dev/mapper/root roothash=00 systemd.verity_root_data=/dev/sda2",
               "30 1 254:0 / / ro - erofs /dev/mapper/root ro\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
    put_kernel(scene, "root=/dev/dm-0", "30 1 254:0 / / ro - erofs /dev/dm-0 ro\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
}

static void test_overlay_over_squashfs(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_kernel(
        scene, "root=/dev/sda3 overlayroot=tmpfs",
        "28 1 8:3 / /media/root-ro ro - squashfs /dev/sda3 ro\n"
        "29 1 0:28 / /media/root-rw rw - tmpfs tmpfs-root rw\n"
        "30 1 0:29 / / rw - overlay overlayroot "
        "rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay,workdir=/media/root-rw/overlay-workdir/_\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "as the kernel's");
    /* Several layers, blanks and colons in their names, the newer spelling of the option. */
    put_kernel(
        scene, "quiet",
        "27 1 8:4 / /app rw - ext4 /dev/sda4 rw\n"
        "28 1 8:3 / /lower\\040a:b ro - squashfs /dev/sda3 ro\n"
        "30 1 0:29 / / rw - overlay overlay rw,lowerdir=/app:/lower\\040a\\134:b/x,upperdir=/nowhere\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "");
    put_kernel(scene, "quiet",
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
    put_disk(scene);
    put_kernel(scene, "root=/dev/sda2", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "root=/dev/sda2");
    put_kernel(scene, "quiet", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
    /* Then a word on the command line is accepted. */
    put_kernel(scene, "quiet rauc.slot=B", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_B, "names slot b");
    put_kernel(scene, "quiet moonsinter.slot=a", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "names slot a");
    put_kernel(scene, "quiet moonsinter.slot=a rauc.slot=b", mounts);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
}

static void test_label_on_nvme(void **state)
{
    struct scene *scene = *state;

    put_device(scene, "pci/nvme/nvme0/nvme0n1", "259:0", NULL, NULL);
    put_device(scene, "pci/nvme/nvme0/nvme0n1/nvme0n1p2", "259:2", "2\n", NULL);
    put_device(scene, "pci/nvme/nvme0/nvme0n1/nvme0n1p3", "259:3", "3\n", NULL);
    put_link(scene, "/dev/disk/by-label/root\\x20a", "../../nvme0n1p2");
    put_link(scene, "/dev/disk/by-label/root\\x20b", "../../nvme0n1p3");
    put_kernel(scene, "quiet \"root=LABEL=root b\" ro", "30 1 259:3 / / rw - ext4 /dev/nvme0n1p3 rw\n");
    assert_running(scene, "LABEL=root a", "LABEL=root b", SLOT_B, "as the kernel's");
    assert_string_equal(scene->slots->devices[SLOT_A].path, "/dev/nvme0n1p2");
}

static void test_btrfs(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_kernel(
        scene, "root=/dev/sda2 rootflags=subvol=@",
        "30 1 0:23 /@ / rw,relatime shared:1 - btrfs /dev/sda2 rw,space_cache,subvolid=256,subvol=/@\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
}

static void test_recovery(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_device(scene, "pci/usb1/block/sdb", "8:16", NULL, NULL);
    put_device(scene, "pci/usb1/block/sdb/sdb1", "8:17", "1\n", NULL);
    put_kernel(scene, "root=/dev/sdb1", "30 1 8:17 / / rw - ext4 /dev/sdb1 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "/dev/sdb1, which is neither slot");
    /* A hint does not overrule what is plain to see. */
    put_kernel(scene, "root=/dev/sdb1 moonsinter.slot=a", "30 1 8:17 / / rw - ext4 /dev/sdb1 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "neither slot");
    put_kernel(scene, "root=/dev/nfs nfsroot=x", "30 1 0:30 / / rw - nfs 10.0.0.1:/root rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
    put_kernel(scene, "root=/dev/ram0", "30 1 0:2 / / rw - tmpfs  rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
}

static void test_contradictions(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_kernel(scene, "root=/dev/sda2", "30 1 8:3 / / rw - ext4 /dev/sda3 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE,
                   "means slot a, but / is mounted from /dev/sda3");
    put_kernel(scene, "root=/dev/sda1", "30 1 8:3 / / rw - ext4 /dev/sda3 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "means neither slot, but");
    put_kernel(scene, "root=/dev/sda2 rauc.slot=B", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "names slot b, but this system runs from");
    /* Both slots under one root. */
    put_device(scene, "virtual/block/md0", "9:0", NULL, NULL);
    put_link(scene, "/sys/devices/virtual/block/md0/slaves/sda2", "../../../../pci/ata1/block/sda/sda2");
    put_link(scene, "/sys/devices/virtual/block/md0/slaves/sda3", "../../../../pci/ata1/block/sda/sda3");
    put_kernel(scene, "root=/dev/md0", "30 1 9:0 / / rw - ext4 /dev/md0 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "stands on both slots");
}

static void test_nothing_readable(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
    put_kernel(scene, "", "garbage\n30 1 - - -\n30 1 x:y / / rw - ext4 /dev/sda2 rw\n\n - \n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE, "cannot be determined");
}

static void test_loop_over_a_file(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put(scene, "/data/a.img", "a");
    put(scene, "/data/b.img", "b");
    put_device(scene, "virtual/block/loop0", "7:0", NULL, NULL);
    put(scene, "/sys/devices/virtual/block/loop0/loop/backing_file", "/data/a.img\n");
    put_kernel(scene, "root=/dev/sda1", "30 1 7:0 / / ro - squashfs /dev/loop0 ro\n");
    /* root= names the partition the file is on, so the two ways disagree; the file is in use in any case. */
    assert_running(scene, "/data/a.img", "/data/b.img", SLOT_NONE, "means neither slot, but");
    assert_true(scene->slots->is_root[SLOT_A]);
    put_kernel(scene, "quiet", "30 1 7:0 / / ro - squashfs /dev/loop0 ro\n");
    assert_running(scene, "/data/a.img", "/data/b.img", SLOT_A, "/dev/loop0");
    assert_running(scene, "/data/b.img", "/dev/loop0", SLOT_B, "/dev/loop0");
    /* The same storage by two names. */
    assert_false(find(scene, "/data/a.img", "/dev/loop0", SLOT_NONE));
    assert_non_null(strstr(scene->error.message, "the same storage"));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
}

static void test_same_storage(void **state)
{
    struct scene *scene = *state;

    put_sd_card(scene);
    put(scene, "/data/a.img", "a");
    put_link(scene, "/data/link.img", "a.img");
    assert_false(find(scene, "/dev/mmcblk0p2", "PARTUUID=738a4d67-02", SLOT_NONE));
    assert_false(find(scene, "/dev/mmcblk0", "/dev/mmcblk0p3", SLOT_NONE));
    assert_false(find(scene, "/data/a.img", "/data/link.img", SLOT_NONE));
    assert_false(find(scene, "/data/new.img", "/data/new.img", SLOT_NONE));
    CLEANUP_FREE char *hard = alloc_printf("%s/data/hard.img", scene->root);
    CLEANUP_FREE char *first = alloc_printf("%s/data/a.img", scene->root);
    assert_int_equal(link(first, hard), 0);
    assert_false(find(scene, "/data/a.img", "/data/hard.img", SLOT_NONE));
    assert_false(find(scene, "/data", "/data/a.img", SLOT_NONE));
    assert_non_null(strstr(scene->error.message, "slot a: /data is a folder"));
}

static void test_file_backend(void **state)
{
    struct scene *scene = *state;
    struct error error;

    put_disk(scene);
    put(scene, "/data/a.img", "a");
    put_kernel(scene, "root=/dev/sda2", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    /* Slot B need not be there yet. */
    assert_true(find(scene, "/data/a.img", "/data/b.img", SLOT_A));
    assert_int_equal(scene->slots->running, SLOT_A);
    assert_false(scene->slots->devices[SLOT_B].present);
    assert_true(slots_target_check(scene->slots, SLOT_B, &error));
    assert_false(slots_target_check(scene->slots, SLOT_A, &error));
    /* Whatever the selection says, the machine's own root is not written. */
    assert_true(find(scene, "/dev/sda3", "/dev/sda2", SLOT_A));
    assert_false(slots_target_check(scene->slots, SLOT_B, &error));
    assert_non_null(strstr(error.message, "root file system"));
    assert_true(find(scene, "/dev/sda3", "/dev/sda9", SLOT_A));
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

    put(scene, "/data/a.img", "a");
    put(scene, "/data/b.img", "b");
    assert_int_equal(system(files), 0);
    assert_true(find(scene, "/data/a.img", "/data/b.img", SLOT_A));
    assert_true(scene->slots->devices[SLOT_A].present && scene->slots->devices[SLOT_B].present);

    put_disk(scene);
    put_link(scene, "/dev/disk/by-partlabel/root-b", "../../sda3");
    if (mknod(node, S_IFBLK | 0600, makedev(8, 3)) < 0)
        skip(); /* only root may */
    assert_int_equal(system(nodes), 0);
    put_kernel(scene, "root=/dev/sda2", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    assert_running(scene, "/dev/sda2", "/dev/sda3", SLOT_A, "as the kernel's");
    assert_running(scene, "/dev/sda2", "PARTLABEL=root-b", SLOT_A, "as the kernel's");
}

static void test_opened_target(void **state)
{
    struct scene *scene = *state;
    struct error error;
    CLEANUP_FREE char *a = alloc_printf("%s/data/a.img", scene->root);
    CLEANUP_FREE char *b = alloc_printf("%s/data/b.img", scene->root);

    put(scene, "/data/a.img", "a");
    put(scene, "/data/b.img", "b");
    put(scene, "/data/c.img", "c");
    CLEANUP_FREE char *c = alloc_printf("%s/data/c.img", scene->root);
    assert_true(find(scene, "/data/a.img", "/data/b.img", SLOT_A));
    CLEANUP_FD int fd_a = open(a, O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int fd_b = open(b, O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int fd_c = open(c, O_RDONLY | O_CLOEXEC);
    assert_true(slots_target_check_opened(scene->slots, SLOT_B, fd_b, &error));
    /* The path was exchanged between looking and opening. */
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, fd_a, &error));
    assert_non_null(strstr(error.message, "turned out to be the running system"));
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, fd_c, &error));
    assert_non_null(strstr(error.message, "became another"));
}

/* --- names that cannot be relied on --- */

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
    put_device(scene, "pci/usb1/block/sdb", "8:16", NULL, NULL);
    put_device(scene, "pci/usb1/block/sdb/sdb3", "8:19", "3\n", uevent);
}

static void test_name_that_two_disks_share(void **state)
{
    struct scene *scene = *state;

    put_sd_card(scene);
    put_kernel(scene, "root=/dev/mmcblk0p2", "25 1 179:2 / / rw - ext4 /dev/mmcblk0p2 rw\n");
    put_link(scene, "/dev/disk/by-partlabel/root-b", "../../mmcblk0p3");
    assert_names_certain(scene, "PARTLABEL=root-a", "PARTLABEL=root-b");
    put_stick(scene, "PARTN=3\nPARTNAME=root-b\nPARTUUID=738A4D67-03\n");
    /* By whatever way the name is used. */
    put_link(scene, "/dev/system-b", "disk/by-partlabel/root-b");
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
    put(scene, "/sys/devices/pci/usb1/block/sdb/holders/dm-0", "");
    assert_names_certain(scene, "PARTLABEL=root-a", "PARTLABEL=root-b");
}

static void test_name_as_udev_knows_it(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_stick(scene, "PARTN=3\n");
    put_link(scene, "/dev/disk/by-partlabel/root\\x20b", "../../sda3");
    put(scene, "/run/udev/data/b8:3", "S:disk/by-partlabel/root\\x20b\nE:ID_PART_ENTRY_NAME=root\\x20b\n");
    put(scene, "/run/udev/data/b8:19", "E:ID_PART_ENTRY_SCHEME=gpt\n");
    assert_names_certain(scene, "/dev/sda2", "PARTLABEL=root b");
    put(scene, "/run/udev/data/b8:19", "E:ID_PART_ENTRY_SCHEME=gpt\nE:ID_PART_ENTRY_NAME=root\\x20b\n");
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
        strcpy(text, names[i][0]);
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
    put(scene, path, "");
    FILE *stream = fopen(full, "we");
    assert_non_null(stream);
    assert_int_equal(fwrite(sectors, sizeof(sectors), 1, stream), 1);
    fclose(stream);
}

static void test_name_in_the_partition_table(void **state)
{
    struct scene *scene = *state;

    put_disk(scene);
    put_stick(scene, NULL);
    put_link(scene, "/dev/disk/by-partlabel/root-b", "../../sda3");
    put_link(scene, "/dev/disk/by-partuuid/00112233-4455-6677-8899-AABBCCDDEEFF", "../../sda3");
    put_link(scene, "/dev/disk/by-partuuid/738a4d67-03", "../../sda3");
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

    put_disk(scene);
    put_link(scene, "/dev/disk/by-label/root-b", "../../sda3");
    put_link(scene, "/dev/disk/by-uuid/1234-ABCD", "../../sda3");
    put_link(scene, "/dev/system-b", "disk/by-uuid/1234-ABCD");
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

    put_device(scene, place, device, NULL, NULL);
    put(scene, file, backing);
    put(scene, where, offset);
    put(scene, limit, "1024\n");
}

static void test_stacks_that_end_in_the_same_storage(void **state)
{
    struct scene *scene = *state;
    struct error error;

    put_disk(scene);
    put(scene, "/sys/devices/pci/ata1/block/sda/sda3/start", "4\n");
    put(scene, "/sys/devices/pci/ata1/block/sda/sda3/size", "4\n");
    put(scene, "/data/disk.img", "x");
    put_kernel(scene, "root=/dev/sda2", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    put_loop(scene, 0, "/data/disk.img\n", "0\n");
    put_loop(scene, 1, "/data/disk.img\n", "512\n");
    put_loop(scene, 2, "/data/disk.img\n", "1024\n");
    put_loop(scene, 3, "/dev/sda\n", "3072\n");
    put_loop(scene, 4, "/dev/sda\n", "4096\n");
    put_device(scene, "virtual/block/dm-0", "254:0", NULL, NULL);
    put(scene, "/sys/devices/virtual/block/dm-0/dm/uuid", "CRYPT-VERITY-1234-root\n");
    put(scene, "/sys/devices/virtual/block/dm-0/slaves/loop1", "");
    put_device(scene, "virtual/block/dm-1", "254:1", NULL, NULL);
    put_device(scene, "virtual/block/dm-2", "254:2", NULL, NULL);
    for (int i = 1; i <= 2; i++) {
        CLEANUP_FREE char *uuid = alloc_printf("/sys/devices/virtual/block/dm-%d/dm/uuid", i);
        CLEANUP_FREE char *slave = alloc_printf("/sys/devices/virtual/block/dm-%d/slaves/sda4", i);
        put(scene, uuid, "LVM-abcd\n");
        put(scene, slave, "");
    }
    assert_false(find(scene, "/dev/loop0", "/dev/loop1", SLOT_NONE));
    assert_non_null(strstr(scene->error.message, "the same storage"));
    assert_false(find(scene, "/dev/loop0", "/dev/dm-0", SLOT_NONE));
    assert_false(find(scene, "/dev/loop3", "/dev/sda3", SLOT_NONE));
    assert_true(find(scene, "/dev/loop0", "/dev/loop2", SLOT_NONE));
    assert_true(find(scene, "/dev/loop4", "/dev/sda3", SLOT_NONE));
    assert_true(find(scene, "/dev/dm-1", "/dev/dm-2", SLOT_NONE));
    assert_true(find(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE));
    /* Nor is what the machine runs from written by another name. */
    put_kernel(scene, "quiet", "30 1 7:1 / / ro - squashfs /dev/loop1 ro\n");
    assert_true(find(scene, "/dev/sda2", "/dev/loop0", SLOT_A));
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

    put_device(scene, place, number, NULL, NULL);
    put(scene, slave_a, "");
    put(scene, slave_b, "");
    put(scene, version, metadata);
    put(scene, size, "400\n");
}

static void put_array_part(const struct scene *scene, const char *name, const char *number, const char *start)
{
    CLEANUP_FREE char *place = alloc_printf("virtual/block/md126/%s", name);
    CLEANUP_FREE char *where = alloc_printf("/sys/devices/%s/start", place);
    CLEANUP_FREE char *size = alloc_printf("/sys/devices/%s/size", place);

    put_device(scene, place, number, strchr(name, 'p') + 1, NULL);
    put(scene, where, start);
    put(scene, size, "100\n");
}

static void test_parts_of_an_array(void **state)
{
    struct scene *scene = *state;
    struct error error;

    put_disk(scene);
    put_device(scene, "pci/ata2/block/sdb", "8:16", NULL, NULL);
    put_array(scene, "md126", "9:126", "1.2\n");
    put_array_part(scene, "md126p2", "259:2", "100\n");
    put_array_part(scene, "md126p3", "259:3", "200\n");
    put_kernel(scene, "root=/dev/md126p2", "30 1 259:2 / / rw - ext4 /dev/md126p2 rw\n");
    assert_true(find(scene, "/dev/md126p2", "/dev/md126p3", SLOT_NONE));
    assert_true(slots_target_check(scene->slots, SLOT_B, &error));
    /* The whole array is its parts, and its members. */
    assert_false(find(scene, "/dev/md126p2", "/dev/md126", SLOT_NONE));
    assert_false(find(scene, "/dev/md126", "/dev/sdb", SLOT_NONE));
    /* Two arrays on parts of the same disks. */
    put(scene, "/sys/devices/virtual/block/md126/md/metadata_version", "external:/md127/0\n");
    put_array(scene, "md125", "9:125", "external:/md127/1\n");
    assert_true(find(scene, "/dev/md126", "/dev/md125", SLOT_NONE));
    assert_false(find(scene, "/dev/md126p3", "/dev/md126", SLOT_NONE));
    /* Two devices with one cache. */
    put_device(scene, "virtual/block/bcache0", "251:0", NULL, NULL);
    put_device(scene, "virtual/block/bcache1", "251:16", NULL, NULL);
    put(scene, "/sys/devices/virtual/block/bcache0/slaves/sdb", "");
    put(scene, "/sys/devices/virtual/block/bcache1/slaves/sdb", "");
    assert_true(find(scene, "/dev/bcache0", "/dev/bcache1", SLOT_NONE));
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
        cmocka_unit_test_setup_teardown(test_name_that_two_disks_share, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_name_as_udev_knows_it, scene_setup, scene_teardown),
        cmocka_unit_test(test_names_that_end_early),
        cmocka_unit_test_setup_teardown(test_name_in_the_partition_table, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_names_of_the_content, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_stacks_that_end_in_the_same_storage, scene_setup,
                                        scene_teardown),
        cmocka_unit_test_setup_teardown(test_parts_of_an_array, scene_setup, scene_teardown),
        cmocka_unit_test(test_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
