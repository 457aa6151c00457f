/* SPDX-License-Identifier: MIT */
/* The places of the parts of a set, and what may be written of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/host/slots.h"
#include "tests/unit/slots_scene.h"

/* sda2 and sda3 are the slots, and A runs. */
static void put_machine(struct scene *scene)
{
    scene_put_disk(scene);
    scene_put_device(scene, "pci/ata1/block/sda/sda5", "8:5", "5\n", NULL);
    scene_put_device(scene, "pci/ata1/block/sda/sda6", "8:6", "6\n", NULL);
    scene_put_kernel(scene, "root=/dev/sda2", "30 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
}

static bool find(struct scene *scene)
{
    return scene_find(scene, "/dev/sda2", "/dev/sda3", SLOT_NONE);
}

static void assert_refused(struct scene *scene, const char *part)
{
    assert_false(slots_target_check(scene->slots, SLOT_B, &scene->error));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    if (!strstr(scene->error.message, part))
        fail_msg("%s", scene->error.message);
}

static void test_places_are_found(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene_add_part(scene, "boot", "/dev/sda5", "/dev/sda6");
    scene_add_part(scene, "app", "/data/app-a", "/data/app-b");
    scene->names_by_content = true;
    scene_put(scene, "/data/app-a", "a");
    assert_true(find(scene));
    const struct slots *slots = scene->slots;
    assert_int_equal(slots->part_count, 2);
    assert_string_equal(slots_find_place(slots, "boot", SLOT_B)->path, "/dev/sda6");
    assert_string_equal(slots_find_place(slots, "app", SLOT_A)->path, "/data/app-a");
    assert_false(slots_find_place(slots, "app", SLOT_B)->present);
    assert_string_equal(slots_find_place(slots, MANIFEST_MAIN_NAME, SLOT_A)->path, "/dev/sda2");
    assert_null(slots_find_place(slots, "kernel", SLOT_A));
    assert_true(slots_target_check(slots, SLOT_B, &scene->error));
    assert_false(slots_target_check(slots, SLOT_A, &scene->error));
}

/* The running slot's parts are never to be written, whatever is asked for. */
static void test_running_parts_are_in_use(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene_put(scene, "/data/app-a", "a");
    scene_put(scene, "/data/app-b", "b");
    scene_add_part(scene, "boot", "/dev/sda5", "/dev/sda6");
    scene_add_part(scene, "app", "/data/app-a", "/data/app-b");
    assert_true(find(scene));
    assert_true(storage_set_has(&scene->slots->in_use, slots_find_place(scene->slots, "boot", SLOT_A)));
    assert_true(storage_set_has(&scene->slots->in_use, slots_find_place(scene->slots, "app", SLOT_A)));
    assert_false(storage_set_has(&scene->slots->in_use, slots_find_place(scene->slots, "boot", SLOT_B)));
    assert_false(storage_set_has(&scene->slots->in_use, slots_find_place(scene->slots, "app", SLOT_B)));
}

static void test_two_places_that_are_one(void **state)
{
    static const struct {
        const char *a, *b, *why;
    } cases[] = {
        {"/dev/sda5", "/dev/sda5", "A=/dev/sda5 in [Part boot] and B=/dev/sda5 in [Part boot]"},
        {"/dev/sda2", "/dev/sda6", "A=/dev/sda2 in [Slots] and A=/dev/sda2 in [Part boot]"},
        {"/dev/sda5", "/dev/sda3", "B=/dev/sda3 in [Slots] and B=/dev/sda3 in [Part boot]"},
        {"/dev/sda5", "/dev/sda", "in [Slots] and B=/dev/sda in [Part boot]"},
        {"/dev/sda5", "/dev/disk/by-partlabel/boot-a", "and B=/dev/disk/by-partlabel/boot-a in [Part boot]"},
        {"/data/x", "/data/link", "the same storage (/data/x)"},
        {"/data/x", "/data/hard", "the same storage"},
        {"/data/loop-file", "/dev/loop0", "the same storage"},
        {"/data/new", "/data/new", "the same storage"},
        {"/data/new.efi", "/data/NEW.EFI", "the same storage"},
        {"/dev/sda4", "/dev/sda6", "in [Part boot] and B=/dev/sda4 in [Part app] are the same storage"},
    };
    struct scene *scene = *state;

    put_machine(scene);
    scene_put_link(scene, "/dev/disk/by-partlabel/boot-a", "../../sda5");
    scene_put(scene, "/data/x", "x");
    scene_put(scene, "/data/loop-file", "x");
    scene_put_link(scene, "/data/link", "x");
    CLEANUP_FREE char *first = alloc_printf("%s/data/x", scene->root);
    CLEANUP_FREE char *hard = alloc_printf("%s/data/hard", scene->root);
    assert_int_equal(link(first, hard), 0);
    scene_put_device(scene, "virtual/block/loop0", "7:0", NULL, NULL);
    scene_put(scene, "/sys/devices/virtual/block/loop0/loop/backing_file", "/data/loop-file\n");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        scene->part_count = 0;
        scene_add_part(scene, "boot", cases[i].a, cases[i].b);
        scene_add_part(scene, "app", "/data/app", "/dev/sda4");
        if (find(scene))
            fail_msg("accepted: %s, %s", cases[i].a, cases[i].b);
        assert_int_equal(scene->error.kind, ERROR_REFUSED);
        if (!strstr(scene->error.message, cases[i].why))
            fail_msg("%s, %s: %s", cases[i].a, cases[i].b, scene->error.message);
    }
}

static void test_a_place_that_cannot_be_one(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene_put(scene, "/data/x", "x");
    scene_add_part(scene, "boot", "/data", "/dev/sda6");
    assert_false(find(scene));
    assert_non_null(strstr(scene->error.message, "part boot of slot a: /data is a folder"));
}

static void test_a_partition_that_is_not_there(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene_add_part(scene, "boot", "/dev/sda5", "/dev/sda7");
    assert_true(find(scene));
    assert_refused(scene, "part boot of slot b (/dev/sda7) is not there");
    /* The running slot's does not matter to an update of the other one. */
    scene->part_count = 0;
    scene_add_part(scene, "boot", "/dev/sda7", "/dev/sda5");
    assert_true(find(scene));
    assert_true(slots_target_check(scene->slots, SLOT_B, &scene->error));
}

/* As a machine that was started from another partition, for repair, by settings of its own. */
static void test_a_part_with_the_root_file_system(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene_put_kernel(scene, "root=/dev/sda6", "30 1 8:6 / / rw - ext4 /dev/sda6 rw\n");
    scene_add_part(scene, "boot", "/dev/sda5", "/dev/sda6");
    assert_true(scene_find(scene, "/dev/sda2", "/dev/sda3", SLOT_A));
    assert_refused(scene, "part boot of slot b (/dev/sda6) holds this machine's root file system");
    assert_true(scene->slots->parts[0].is_root[SLOT_B]);
}

static void test_names_of_parts_are_judged(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    scene_add_part(scene, "boot", "/dev/sda5", "LABEL=BOOT-B");
    scene_put_link(scene, "/dev/disk/by-label/BOOT-B", "../../sda6");
    scene->judge_names = true;
    assert_true(find(scene));
    assert_refused(scene, "part boot of slot b: LABEL=BOOT-B is part of what an update overwrites");
    scene->names_by_content = true;
    assert_true(find(scene));
    assert_true(slots_target_check(scene->slots, SLOT_B, &scene->error));
}

static void test_what_the_loader_started(void **state)
{
    struct scene *scene = *state;

    put_machine(scene);
    assert_true(find(scene));
    slots_note_started(scene->slots, SLOT_B);
    assert_null(scene->slots->parts_why); /* there are no parts */
    scene_add_part(scene, "boot", "/dev/sda5", "/dev/sda6");
    assert_true(find(scene));
    slots_note_started(scene->slots, SLOT_NONE);
    slots_note_started(scene->slots, SLOT_A);
    assert_null(scene->slots->parts_why);
    assert_true(slots_target_check(scene->slots, SLOT_B, &scene->error));
    slots_note_started(scene->slots, SLOT_B);
    assert_non_null(scene->slots->parts_why);
    assert_refused(scene, "the boot loader started the parts of slot b");
}

static void test_opened_parts(void **state)
{
    struct scene *scene = *state;
    const struct {
        const char *path, *why;
    } cases[] = {
        {"/data/app-b", NULL},
        {"/data/app-a", "turned out to be the running system"},
        {"/data/root-a", "turned out to be the running system"},
        {"/data/root-b", "became another device or file"},
        {"/data/other", "became another device or file"},
    };

    scene_add_part(scene, "app", "/data/app-a", "/data/app-b");
    scene->names_by_content = true;
    scene_put(scene, "/data/root-a", "a");
    scene_put(scene, "/data/root-b", "b");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        scene_put(scene, cases[i].path, "x");
    assert_true(scene_find(scene, "/data/root-a", "/data/root-b", SLOT_A));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP_FREE char *path = alloc_printf("%s%s", scene->root, cases[i].path);
        CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
        bool fits = slots_target_check_opened(scene->slots, SLOT_B, "app", fd, &scene->error);
        assert_int_equal(fits, cases[i].why == NULL);
        if (!fits && !strstr(scene->error.message, cases[i].why))
            fail_msg("%s: %s", cases[i].path, scene->error.message);
    }
    CLEANUP_FREE char *root_b = alloc_printf("%s/data/root-b", scene->root);
    CLEANUP_FD int fd = open(root_b, O_RDONLY | O_CLOEXEC);
    assert_true(slots_target_check_opened(scene->slots, SLOT_B, MANIFEST_MAIN_NAME, fd, &scene->error));
    assert_false(slots_target_check_opened(scene->slots, SLOT_A, MANIFEST_MAIN_NAME, fd, &scene->error));
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, "kernel", fd, &scene->error));
    assert_non_null(strstr(scene->error.message, "no [Part kernel]"));
}

/* A place that was not there yet may be anything when it is opened, but for what belongs to others. */
static void test_a_new_file_that_is_another_place(void **state)
{
    struct scene *scene = *state;

    scene_add_part(scene, "app", "/data/app-a", "/data/app-b");
    scene->names_by_content = true;
    scene_put(scene, "/data/root-a", "a");
    scene_put(scene, "/data/root-b", "b");
    assert_true(scene_find(scene, "/data/root-a", "/data/root-b", SLOT_A));
    scene_put_link(scene, "/data/app-b", "root-b");
    CLEANUP_FREE char *path = alloc_printf("%s/data/app-b", scene->root);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_false(slots_target_check_opened(scene->slots, SLOT_B, "app", fd, &scene->error));
    assert_non_null(strstr(scene->error.message, "the same storage as /data/root-b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_places_are_found, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_running_parts_are_in_use, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_two_places_that_are_one, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_place_that_cannot_be_one, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_partition_that_is_not_there, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_part_with_the_root_file_system, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_names_of_parts_are_judged, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_the_loader_started, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_opened_parts, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_new_file_that_is_another_place, scene_setup, scene_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
