/* SPDX-License-Identifier: MIT */
/* A temporary folder for images that are published and compared. */
#pragma once

#include <stddef.h>

struct fixture {
    char folder[32];
    char *image;         /* the path of an image, which is not created yet */
    char *chunks, *json; /* the paths of IMAGE.chunks and IMAGE.json */
};

/* Setup and teardown of a test: *state is a fixture. */
int publish_scene_set_up(void **state);
int publish_scene_tear_down(void **state);

/* Creates a file or replaces its contents. */
void publish_scene_write(const char *path, const void *data, size_t size);
