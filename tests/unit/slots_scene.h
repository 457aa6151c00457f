/* SPDX-License-Identifier: MIT */
/* A temporary folder with a machine's /proc, /sys and /dev as far as slots are found by them. */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"

struct scene {
    char root[64];                                /* the folder */
    struct config_part parts[MANIFEST_PARTS_MAX]; /* the settings' */
    unsigned part_count;
    bool judge_names, names_by_content; /* as of struct slots_request */
    struct slots *slots;                /* found by the last scene_find() */
    struct error error;
};

/* Setup and teardown of a test: *state is a scene without files. */
int scene_setup(void **state);
int scene_teardown(void **state);

/* Writes a file and makes its folders; `path` begins at the machine's root. */
void scene_put(const struct scene *scene, const char *path, const char *text);

/* Makes a symbolic link. */
void scene_put_link(const struct scene *scene, const char *path, const char *target);

/* Makes a block device in sysfs; `place` is its path below /sys/devices. */
void scene_put_device(const struct scene *scene, const char *place, const char *number, const char *partition,
                      const char *uevent);

/* Makes mmcblk0 with partitions that udev knows as boot, root-a and root-b. */
void scene_put_sd_card(const struct scene *scene);

/* Makes sda with four partitions that have no names. */
void scene_put_disk(const struct scene *scene);

/* Adds a part to the settings; to begin anew, set part_count to 0. */
void scene_add_part(struct scene *scene, const char *name, const char *a, const char *b);

/* Finds the slots with these names and those of the parts; false with scene->error set if it cannot. */
bool scene_find(struct scene *scene, const char *a, const char *b, enum slot selected);

/* Sets the kernel's command line and what is mounted. */
void scene_put_kernel(const struct scene *scene, const char *cmdline, const char *mountinfo);
