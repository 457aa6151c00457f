/* SPDX-License-Identifier: MIT */
/* A folder with images to publish and to compare. */
#pragma once

#include <stddef.h>

struct fixture {
    char folder[32];
    char *image; /* its path; nothing is there yet */
    char *chunks, *json;
};

/* For cmocka: *state is a fixture. */
int publish_scene_set_up(void **state);
int publish_scene_tear_down(void **state);

/* Writes a file anew. */
void publish_scene_write(const char *path, const void *data, size_t size);
