/* SPDX-License-Identifier: MIT */
/*
 * A machine's folders with files of settings in them, and what is read from there.
 */
#pragma once

#include <stdbool.h>

#include "daemon/config/config.h"

#define MINIMAL "[Update]\nUrl=http://host/rootfs.img\n[Slots]\nA=/dev/sda2\nB=/dev/sda3\n"
#define ETC     "/etc/moonsinter/moonsinterd.conf"
#define USR     "/usr/lib/moonsinter/moonsinterd.conf"

/* A machine's folders, and what was read from them. */
struct scene {
    char root[64];
    struct config *config;
    struct config_problems problems;
};

/* An empty machine, for one test: *state is the scene. */
int scene_set_up(void **state);
int scene_tear_down(void **state);

/* Writes a file, for its owner alone. */
void scene_put_file(const struct scene *scene, const char *path, const char *text);

/* Lets everybody read it. */
void scene_open_file(const struct scene *scene, const char *path);

/* Reads the settings; false where they cannot be used. */
bool scene_load(struct scene *scene);

/* Whether a problem's sentence has this in it; shows all of them where none has. */
bool scene_has_problem(const struct scene *scene, const char *part);
