/* SPDX-License-Identifier: MIT */
/* Files on mounted partitions as places of parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/host/file_place.h"
#include "daemon/host/slots.h"
#include "tests/unit/slots_scene.h"

#define ROOT  "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n"
#define ESP   "31 30 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n"
#define OTHER "32 30 8:3 / /mnt/b rw - ext4 /dev/sda3 rw\n"
#define SUBVOLUME                                                                                            \
    "30 1 0:23 /@ / rw - btrfs /dev/sda2 rw\n31 30 0:23 /@boot /boot/efi rw - btrfs /dev/sda2 rw\n"

/* sda2 and sda3 are the slots, A runs, and the kernel's file is in a folder of the EFI system partition. */
static bool find(struct scene *scene, const char *b, const char *mounts)
{
    scene_put_kernel(scene, "root=/dev/sda2", mounts);
    scene->judge_names = true;
    scene->part_count = 0;
    scene_add_part(scene, "kernel", "/boot/efi/linux/a.efi", b);
    return scene_find(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE);
}

static void put_machine(struct scene *scene)
{
    scene_put_disk(scene);
    scene_put(scene, "/boot/efi/linux/a.efi", "a");
    scene_put(scene, "/mnt/b/b.efi", "b");
}

static void assert_judged(struct scene *scene, const char *b, const char *mounts, const char *why)
{
    if (!find(scene, b, mounts))
        fail_msg("%s", scene->error.message);
    bool fits = slots_target_check(scene->slots, SLOT_B, &scene->error);
    if (fits != !why)
        fail_msg("%s: %s", b, fits ? "accepted" : scene->error.message);
    if (fits)
        return;
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    if (!strstr(scene->error.message, why) || !strstr(scene->error.message, "part kernel of slot b"))
        fail_msg("%s: %s", b, scene->error.message);
}

static void test_where_it_lies(void **state)
{
    static const struct {
        const char *b, *mounts, *why;
    } cases[] = {
        {"/boot/efi/linux/b.efi", ROOT ESP, NULL},
        {"/boot/efi/linux/b.efi", ROOT, "nothing else is mounted on /boot/efi/linux"},
        {"/boot/efi/linux/b.efi", "", "nothing else is mounted on"},
        {"/boot/efi/linux/b.efi", ROOT "31 30 8:2 /data /boot/efi rw - ext4 /dev/sda2 rw\n", "nothing else"},
        {"/boot/efi/linux/b.efi", ROOT "31 30 0:40 / /boot/efi rw - autofs systemd-1 rw\n", "nothing else"},
        {"/boot/efi/linux/b.efi", SUBVOLUME, "nothing else is mounted"},
        {"/boot/efi/new/b.efi", ROOT ESP, "the folder /boot/efi/new cannot be looked at"},
        {"/boot/efi/new/b.efi", ROOT, "nothing else is mounted on /boot/efi/new"},
        {"/mnt/b/b.efi", ROOT ESP OTHER, "lies on /dev/sda3, which is B=/dev/sda3 in [Slots]"},
        {"/mnt/b/b.efi", ROOT ESP "32 30 0:41 / /mnt/b rw - btrfs /dev/sda3 rw\n", "which is B=/dev/sda3"},
    };

    put_machine(*state);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_judged(*state, cases[i].b, cases[i].mounts, cases[i].why);
}

/* With the `file` backend no loader reads it, so any folder will do. */
static void test_any_folder(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene->names_by_content = true;
    assert_judged(scene, "/boot/efi/linux/b.efi", ROOT, NULL);
    assert_judged(scene, "/boot/efi/linux/b.efi", "", NULL);
    assert_judged(scene, "/mnt/b/b.efi", ROOT OTHER, "lies on /dev/sda3");
    assert_judged(scene, "/boot/efi/new/b.efi", ROOT, "the folder /boot/efi/new");
}

static void test_what_it_is(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *hard = alloc_printf("%s/boot/efi/linux/hard.efi", scene->root);
    CLEANUP_FREE char *from = alloc_printf("%s/boot/efi/linux/c.efi", scene->root);

    put_machine(scene);
    scene_put(scene, "/boot/efi/linux/c.efi", "c");
    scene_put_link(scene, "/boot/efi/linux/link.efi", "c.efi");
    scene_put_link(scene, "/boot/efi/linux/dangling.efi", "d.efi");
    assert_judged(scene, "/boot/efi/linux/c.efi", ROOT ESP, NULL);
    assert_judged(scene, "/boot/efi/linux/link.efi", ROOT ESP, "is a symbolic link");
    assert_judged(scene, "/boot/efi/linux/dangling.efi", ROOT ESP, "is a symbolic link");
    assert_int_equal(link(from, hard), 0);
    assert_judged(scene, "/boot/efi/linux/c.efi", ROOT ESP, "has another name, a hard link");
    assert_false(find(scene, "/boot/efi/linux", ROOT ESP));
    assert_non_null(strstr(scene->error.message, "is a folder"));
}

static void test_when_it_was_opened(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *path = alloc_printf("%s/boot/efi/linux/b.efi", scene->root);
    CLEANUP_FREE char *hard = alloc_printf("%s/boot/efi/linux/hard.efi", scene->root);

    put_machine(scene);
    scene_put(scene, "/boot/efi/linux/c.efi", "c");
    assert_judged(scene, "/boot/efi/linux/b.efi", ROOT ESP, NULL);
    struct slots_part *part = &scene->slots->parts[0];
    /* It was made since. */
    CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(slots_target_check_opened(scene->slots, SLOT_B, "kernel", fd, &scene->error));
    /* The partition went away, and what was below its folder came to light. */
    part->files[SLOT_B].file_system++;
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, "kernel", fd, &scene->error));
    assert_non_null(strstr(scene->error.message, "is on another file system"));
    part->files[SLOT_B].file_system--;
    assert_int_equal(link(path, hard), 0);
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, "kernel", fd, &scene->error));
    assert_non_null(strstr(scene->error.message, "a hard link"));
    unlink(path);
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, "kernel", fd, &scene->error));
    assert_non_null(strstr(scene->error.message, "cannot be looked at any more"));
    scene_put_link(scene, "/boot/efi/linux/b.efi", "hard.efi");
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, "kernel", fd, &scene->error));
    assert_non_null(strstr(scene->error.message, "is a symbolic link"));
    unlink(path);
    scene_put(scene, "/boot/efi/linux/b.efi", "another");
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, "kernel", fd, &scene->error));
    assert_non_null(strstr(scene->error.message, "became another file"));
}

static bool has_room(struct scene *scene, uint64_t kernel, uint64_t tree)
{
    const struct slots_need needs[] = {{"kernel", kernel}, {MANIFEST_MAIN_NAME, UINT64_MAX}, {"tree", tree}};

    return slots_target_check_room(scene->slots, SLOT_B, needs, 3, &scene->error);
}

static void test_room(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene_put_kernel(scene, "root=/dev/sda2", ROOT ESP);
    scene_put(scene, "/sys/devices/pci/ata1/block/sda/sda4/size", "8\n");
    scene->judge_names = true;
    scene_add_part(scene, "kernel", "/boot/efi/linux/a.efi", "/boot/efi/linux/b.efi");
    scene_add_part(scene, "tree", "/dev/sda1", "/dev/sda4");
    assert_true(scene_find(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE));
    struct file_place *file = &scene->slots->parts[0].files[SLOT_B];
    assert_true(file->free_bytes > 0 && file->unit_bytes > 0 && file->file_system);
    file->free_bytes = 10000;
    file->unit_bytes = 1000;
    file->own_bytes = 3000;
    assert_true(has_room(scene, 13000, 4096));
    assert_false(has_room(scene, 13001, 4096)); /* a whole unit more */
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    assert_non_null(strstr(scene->error.message, "part kernel of slot b"));
    assert_false(has_room(scene, UINT64_MAX, 4096));
    assert_false(has_room(scene, 1, 4097));
    assert_non_null(strstr(scene->error.message, "part tree of slot b (/dev/sda4), which has room for 4096"));
    file->max_bytes = 5000;
    assert_false(has_room(scene, 5001, 1));
    assert_true(has_room(scene, 5000, 1));

    /* Two files of one file system share what is left. */
    struct slots_part *tree = &scene->slots->parts[1];
    tree->bytes[SLOT_B] = 0;
    tree->files[SLOT_B] = (struct file_place){.path = alloc_string("/x"),
                                              .file_system = file->file_system,
                                              .free_bytes = 10000,
                                              .max_bytes = UINT64_MAX,
                                              .unit_bytes = 1000};
    assert_true(has_room(scene, 5000, 8000));
    assert_false(has_room(scene, 5000, 8001));
    tree->files[SLOT_B].file_system++;
    assert_true(has_room(scene, 5000, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_where_it_lies, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_any_folder, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_it_is, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_when_it_was_opened, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_room, scene_setup, scene_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
