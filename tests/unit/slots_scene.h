/* SPDX-License-Identifier: MIT */
/* A machine as /proc, /sys and /dev show it, in a folder of its own. */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/host/slots.h"

struct scene {
    char root[64];       /* the folder */
    struct slots *slots; /* as found last */
    struct error error;
};

/* For cmocka: *state is a scene in which nothing is there yet. */
int scene_setup(void **state);
int scene_teardown(void **state);

/* A file with that text; `path` is as the machine sees it, and its folders are made. */
void scene_put(const struct scene *scene, const char *path, const char *text);

/* A symbolic link at `path`. */
void scene_put_link(const struct scene *scene, const char *path, const char *target);

/* A block device in sysfs: `place` is where it lies below /sys/devices. */
void scene_put_device(const struct scene *scene, const char *place, const char *number, const char *partition,
                      const char *uevent);

/* mmcblk0 with boot, root-a and root-b, as udev names them. */
void scene_put_sd_card(const struct scene *scene);

/* sda with four partitions that have no names. */
void scene_put_disk(const struct scene *scene);

/* Finds the slots A and B of these names; false leaves why in scene->error. */
bool scene_find(struct scene *scene, const char *a, const char *b, enum slot selected);

/* What the kernel was started with, and what is mounted. */
void scene_put_kernel(const struct scene *scene, const char *cmdline, const char *mountinfo);
