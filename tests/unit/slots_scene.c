/* SPDX-License-Identifier: MIT */
#include "tests/unit/slots_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

int scene_setup(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    snprintf(scene->root, sizeof(scene->root), "/tmp/test_slots.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    *state = scene;
    return 0;
}

int scene_teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf '%s'", scene->root);

    for (size_t i = 0; i < MANIFEST_PARTS_MAX; i++) {
        free(scene->parts[i].slot_names[SLOT_A]);
        free(scene->parts[i].slot_names[SLOT_B]);
    }
    slots_free(scene->slots);
    assert_int_equal(system(command), 0);
    free(scene);
    return 0;
}

void scene_put(const struct scene *scene, const char *path, const char *text)
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

void scene_put_link(const struct scene *scene, const char *path, const char *target)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);
    CLEANUP_FREE char *folder = alloc_string(full);

    *strrchr(folder, '/') = 0;
    assert_int_equal(file_make_folders(folder), 0);
    assert_int_equal(symlink(target, full), 0);
}

void scene_put_device(const struct scene *scene, const char *place, const char *number, const char *partition,
                      const char *uevent)
{
    const char *slash = strrchr(place, '/'), *name = slash ? slash + 1 : place;
    CLEANUP_FREE char *folder = alloc_printf("/sys/devices/%s", place);
    CLEANUP_FREE char *dev = alloc_printf("%s/dev", folder);
    CLEANUP_FREE char *number_text = alloc_printf("%s\n", number);
    CLEANUP_FREE char *by_name = alloc_printf("/sys/class/block/%s", name);
    CLEANUP_FREE char *by_number = alloc_printf("/sys/dev/block/%s", number);
    CLEANUP_FREE char *target = alloc_printf("../../devices/%s", place);

    scene_put(scene, dev, number_text);
    scene_put_link(scene, by_name, target);
    scene_put_link(scene, by_number, target);
    if (partition) {
        CLEANUP_FREE char *file = alloc_printf("%s/partition", folder);
        scene_put(scene, file, partition);
    }
    if (uevent) {
        CLEANUP_FREE char *file = alloc_printf("%s/uevent", folder);
        scene_put(scene, file, uevent);
    }
}

void scene_put_sd_card(const struct scene *scene)
{
    scene_put_device(scene, "platform/mmc0/block/mmcblk0", "179:0", NULL, NULL);
    scene_put_device(scene, "platform/mmc0/block/mmcblk0/mmcblk0p1", "179:1", "1\n",
                     "PARTN=1\nPARTNAME=boot\n");
    scene_put_device(scene, "platform/mmc0/block/mmcblk0/mmcblk0p2", "179:2", "2\n",
                     "MAJOR=179\nPARTN=2\nPARTNAME=root-a\nPARTUUID=738a4d67-02\n");
    scene_put_device(scene, "platform/mmc0/block/mmcblk0/mmcblk0p3", "179:3", "3\n",
                     "MAJOR=179\nPARTN=3\nPARTNAME=root-b\nPARTUUID=738a4d67-03");
    scene_put_link(scene, "/dev/disk/by-partuuid/738a4d67-01", "../../mmcblk0p1");
    scene_put_link(scene, "/dev/disk/by-partuuid/738a4d67-02", "../../mmcblk0p2");
    scene_put_link(scene, "/dev/disk/by-partuuid/738a4d67-03", "../../mmcblk0p3");
}

void scene_put_disk(const struct scene *scene)
{
    scene_put_device(scene, "pci/ata1/block/sda", "8:0", NULL, NULL);
    scene_put_device(scene, "pci/ata1/block/sda/sda1", "8:1", "1\n", NULL);
    scene_put_device(scene, "pci/ata1/block/sda/sda2", "8:2", "2\n", NULL);
    scene_put_device(scene, "pci/ata1/block/sda/sda3", "8:3", "3\n", NULL);
    scene_put_device(scene, "pci/ata1/block/sda/sda4", "8:4", "4\n", NULL);
}

void scene_add_part(struct scene *scene, const char *name, const char *a, const char *b)
{
    struct config_part *part = &scene->parts[scene->part_count++];

    assert_true(scene->part_count <= MANIFEST_PARTS_MAX);
    snprintf(part->name, sizeof(part->name), "%s", name);
    free(part->slot_names[SLOT_A]);
    free(part->slot_names[SLOT_B]);
    part->slot_names[SLOT_A] = alloc_string(a);
    part->slot_names[SLOT_B] = alloc_string(b);
}

bool scene_find(struct scene *scene, const char *a, const char *b, enum slot selected)
{
    struct slots_request request = {
        .root = scene->root,
        .names = {a, b},
        .parts = scene->parts,
        .part_count = scene->part_count,
        .selected = selected,
        .judge_names = scene->judge_names,
        .names_by_content = scene->names_by_content,
    };

    scene->slots = slots_free(scene->slots);
    return slots_find(&request, &scene->slots, &scene->error);
}

void scene_put_kernel(const struct scene *scene, const char *cmdline, const char *mountinfo)
{
    scene_put(scene, "/proc/cmdline", cmdline);
    scene_put(scene, "/proc/self/mountinfo", mountinfo);
}
