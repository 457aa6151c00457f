/* SPDX-License-Identifier: MIT */
/*
 * A folder that stands for a machine's root, with files of settings in it, and what was read from them.
 */
#pragma once

#include <stdbool.h>

#include "daemon/config/config.h"

#define MINIMAL "[Update]\nUrl=http://host/rootfs.img\n[Slots]\nA=/dev/sda2\nB=/dev/sda3\n"
#define ETC     "/etc/moonsinter/moonsinterd.conf"
#define USR     "/usr/lib/moonsinter/moonsinterd.conf"

struct scene {
    char root[64]; /* the folder */
    struct config *config;
    struct config_problems problems;
};

/* Setup and teardown of a test: *state is a scene without files. */
int scene_set_up(void **state);
int scene_tear_down(void **state);

/* Writes a file that only its owner may read. */
void scene_put_file(const struct scene *scene, const char *path, const char *text);

/* Lets everybody read a file. */
void scene_open_file(const struct scene *scene, const char *path);

/* Reads the settings; false if they cannot be used. */
bool scene_load(struct scene *scene);

/* Whether the sentence of a problem contains `part`; if none does, prints all of them. */
bool scene_has_problem(const struct scene *scene, const char *part);
