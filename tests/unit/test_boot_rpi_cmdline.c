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
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/boot/boot.h"

#define LINE_A "console=tty1 root=PARTUUID=738a4d67-02 rootfstype=ext4 fsck.repair=yes rootwait quiet"
#define LINE_B "console=tty1 root=PARTUUID=738a4d67-03 rootfstype=ext4 fsck.repair=yes rootwait quiet"

struct scene {
    char root[64];
    char *path;
    struct config config;
    struct boot *boot;
    struct error error;
};

static int scene_setup(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    snprintf(scene->root, sizeof(scene->root), "/tmp/test_boot_rpi.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    scene->config.backend = CONFIG_BACKEND_RPI_CMDLINE;
    scene->config.cmdline_file = alloc_string("/cmdline.txt");
    scene->config.slot_names[0] = alloc_string("PARTUUID=738a4d67-02");
    scene->config.slot_names[1] = alloc_string("PARTUUID=738a4d67-03");
    scene->path = alloc_printf("%s/cmdline.txt", scene->root);
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf '%s'", scene->root);

    boot_free(scene->boot);
    assert_int_equal(system(command), 0);
    free(scene->config.cmdline_file);
    free(scene->config.slot_names[0]);
    free(scene->config.slot_names[1]);
    free(scene->path);
    free(scene);
    return 0;
}

static void put(const char *path, const void *data, size_t size)
{
    CLEANUP_FREE char *folder = alloc_string(path);

    *strrchr(folder, '/') = 0;
    assert_int_equal(file_make_folders(folder), 0);
    FILE *stream = fopen(path, "we");
    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, size, stream), size);
    fclose(stream);
}

static void put_line(struct scene *scene, const char *line)
{
    put(scene->path, line, strlen(line));
}

static void open_boot(struct scene *scene)
{
    scene->boot = boot_free(scene->boot);
    if (!boot_new(&scene->config, scene->root, &scene->boot, &scene->error))
        fail_msg("%s", scene->error.message);
}

static void assert_line(const struct scene *scene, const char *expected)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    assert_true(file_read(scene->path, 4096, &text, &size, NULL));
    assert_int_equal(size, strlen(expected));
    assert_string_equal(text, expected);
}

static enum slot next_slot(struct scene *scene)
{
    struct boot_state state;

    if (!boot_read(scene->boot, &state, &scene->error))
        fail_msg("%s", scene->error.message);
    assert_int_equal(state.running, SLOT_NONE);
    assert_int_equal(state.trial, SLOT_NONE);
    return state.next;
}

/* Names without change, in place: same inode, same length. */
static void test_flip_and_back(void **state)
{
    struct scene *scene = *state;
    struct stat before, after;

    put_line(scene, LINE_A "\n");
    assert_int_equal(stat(scene->path, &before), 0);
    open_boot(scene);
    assert_false(boot_get_abilities(scene->boot)->trial);
    assert_int_equal(next_slot(scene), SLOT_A);
    assert_true(boot_invalidate(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, LINE_A "\n");
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, LINE_B "\n");
    assert_int_equal(next_slot(scene), SLOT_B);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_true(boot_good(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, LINE_B "\n");
    assert_true(boot_reject(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, LINE_A "\n");
    assert_int_equal(stat(scene->path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
}

static void test_invalidate_sets_back(void **state)
{
    struct scene *scene = *state;

    put_line(scene, LINE_B "\n");
    open_boot(scene);
    assert_true(boot_invalidate(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, LINE_A "\n");
}

static void test_no_line_feed(void **state)
{
    struct scene *scene = *state;

    put_line(scene, "root=PARTUUID=738a4d67-02");
    open_boot(scene);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, "root=PARTUUID=738a4d67-03");
}

/* The file grows at most once, whatever the lengths of the names. */
static void test_names_of_two_lengths(void **state)
{
    struct scene *scene = *state;

    free(scene->config.slot_names[1]);
    scene->config.slot_names[1] = alloc_string("/dev/mmcblk0p3");
    put_line(scene, LINE_A "\n");
    open_boot(scene);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_line(scene,
                "console=tty1 root=/dev/mmcblk0p3 rootfstype=ext4 fsck.repair=yes rootwait quiet      \n");
    assert_true(boot_arm(scene->boot, SLOT_A, &scene->error));
    assert_line(scene, LINE_A "\n");

    put_line(scene, "root=/dev/mmcblk0p3 quiet\n");
    open_boot(scene);
    assert_true(boot_arm(scene->boot, SLOT_A, &scene->error));
    assert_line(scene, "root=PARTUUID=738a4d67-02 quiet\n");
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, "root=/dev/mmcblk0p3 quiet      \n");
    assert_true(boot_arm(scene->boot, SLOT_A, &scene->error));
    assert_line(scene, "root=PARTUUID=738a4d67-02 quiet\n");
}

/* The name is a token, not a pattern: nothing else on the line that looks like it changes. */
static void test_exact_token(void **state)
{
    struct scene *scene = *state;
    static const char line[] =
        "nfsroot=PARTUUID=738a4d67-02 x=\"y root=PARTUUID=738a4d67-02 z\" root=PARTUUID=738a4d67-02 "
        "rootflags=a PARTUUID=738a4d67-02 -- root=z\n";
    static const char want[] =
        "nfsroot=PARTUUID=738a4d67-02 x=\"y root=PARTUUID=738a4d67-02 z\" root=PARTUUID=738a4d67-03 "
        "rootflags=a PARTUUID=738a4d67-02 -- root=z\n";

    put_line(scene, line);
    open_boot(scene);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, want);
}

/* The line may name the slot in another way than the settings do, if it is the same partition. */
static void test_other_name_of_the_same_partition(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *folder = alloc_printf("%s/dev/disk/by-partuuid", scene->root);
    CLEANUP_FREE char *number = alloc_printf("%s/sys/class/block/mmcblk0p2/dev", scene->root);
    CLEANUP_FREE char *link = alloc_printf("%s/738a4d67-02", folder);

    assert_int_equal(file_make_folders(folder), 0);
    assert_int_equal(symlink("../../mmcblk0p2", link), 0);
    put(number, "179:2\n", 6);
    put_line(scene, "root=/dev/mmcblk0p2 quiet\n");
    open_boot(scene);
    assert_int_equal(next_slot(scene), SLOT_A);
    assert_true(boot_good(scene->boot, SLOT_A, &scene->error));
    assert_line(scene, "root=/dev/mmcblk0p2 quiet\n");
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, "root=PARTUUID=738a4d67-03 quiet\n");
}

static void assert_refused(struct scene *scene, const char *line, const char *part)
{
    put_line(scene, line);
    scene->boot = boot_free(scene->boot);
    if (boot_new(&scene->config, scene->root, &scene->boot, &scene->error))
        fail_msg("accepted: %s", line);
    if (!strstr(scene->error.message, part))
        fail_msg("%s: %s", line, scene->error.message);
    assert_line(scene, line);
}

static void test_refused_files(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *long_line = alloc_printf("%s %0*d\n", LINE_A, 500, 0);

    assert_false(boot_new(&scene->config, scene->root, &scene->boot, &scene->error));
    assert_non_null(strstr(scene->error.message, "is the boot partition mounted?"));
    assert_refused(scene, "", "no root=");
    assert_refused(scene, "quiet\n", "no root=");
    assert_refused(scene, "quiet root=\n", "an empty root=");
    assert_refused(scene, "-- root=PARTUUID=738a4d67-02\n", "no root=");
    assert_refused(scene, LINE_A " root=PARTUUID=738a4d67-03\n", "more than one root=");
    assert_refused(scene, LINE_A "\nquiet\n", "more than one line");
    assert_refused(scene, long_line, "over 512");
    put(scene->path, "root=a\0b\n", 9);
    assert_false(boot_new(&scene->config, scene->root, &scene->boot, &scene->error));
    assert_non_null(strstr(scene->error.message, "zero byte"));
    unlink(scene->path);
    assert_int_equal(mkdir(scene->path, 0755), 0);
    assert_false(boot_new(&scene->config, scene->root, &scene->boot, &scene->error));
    assert_non_null(strstr(scene->error.message, "not a regular file"));
}

static void test_names_neither(void **state)
{
    struct scene *scene = *state;

    put_line(scene, "root=/dev/sda1\n");
    open_boot(scene);
    assert_int_equal(next_slot(scene), SLOT_NONE);
    assert_false(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_non_null(strstr(scene->error.message, "root=/dev/sda1, which is neither slot a"));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    assert_line(scene, "root=/dev/sda1\n");
}

static void refuse_name(struct scene *scene, const char *name, const char *part)
{
    free(scene->config.slot_names[1]);
    scene->config.slot_names[1] = alloc_string(name);
    assert_refused(scene, LINE_A "\n", part);
}

static void test_refused_names(void **state)
{
    struct scene *scene = *state;

    refuse_name(scene, "/var/slot-b.img", "is a file");
    refuse_name(scene, "LABEL=b", "without help from an initramfs");
    refuse_name(scene, "/dev/disk/by-label/b", "without help from an initramfs");
    refuse_name(scene, "PARTLABEL=slot b", "cannot stand on a kernel command line");
    free(scene->config.slot_names[0]);
    scene->config.slot_names[0] = alloc_string("LABEL=a");
    free(scene->config.slot_names[1]);
    scene->config.slot_names[1] = alloc_string("LABEL=b");
    put_line(scene, "root=LABEL=a\n");
    open_boot(scene);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_line(scene, "root=LABEL=b\n");
}

static void test_too_long_after_the_change(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *line = alloc_printf("root=/dev/sda3 %0*d", 497, 0);

    free(scene->config.slot_names[1]);
    scene->config.slot_names[1] = alloc_string("/dev/sda3");
    assert_int_equal(strlen(line), 512);
    put_line(scene, line);
    open_boot(scene);
    assert_int_equal(next_slot(scene), SLOT_B);
    assert_false(boot_arm(scene->boot, SLOT_A, &scene->error));
    assert_non_null(strstr(scene->error.message, "over 512; shorten it"));
    assert_line(scene, line);
}

static void test_read_only(void **state)
{
    struct scene *scene = *state;

    put_line(scene, LINE_A "\n");
    open_boot(scene);
    chmod(scene->path, 0444);
    chmod(scene->root, 0755);
    /* Root may write anything, so be somebody else for a moment. */
    bool root = geteuid() == 0;
    assert_true(!root || seteuid(65534) == 0);
    bool armed = boot_arm(scene->boot, SLOT_B, &scene->error);
    assert_true(!root || seteuid(0) == 0);
    assert_false(armed);
    assert_non_null(strstr(scene->error.message, "let moonsinterd.service write it"));
    assert_line(scene, LINE_A "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flip_and_back, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_invalidate_sets_back, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_no_line_feed, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_names_of_two_lengths, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_exact_token, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_other_name_of_the_same_partition, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_refused_files, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_names_neither, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_refused_names, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_too_long_after_the_change, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_read_only, scene_setup, scene_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
