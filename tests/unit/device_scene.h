/* SPDX-License-Identifier: MIT */
/* A temporary folder for a file, and a loop device for tests that attach one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/device.h"

struct fixture {
    char *folder, *file; /* the file is not created yet */
    /* A loop device over a file in the folder, which is detached when its last descriptor is closed. */
    char *backing, *loop;
    int loop_fd;
    bool mounted; /* the device, on FOLDER/mount */
};

/* Setup and teardown of a test: *state is a fixture. */
int device_scene_set_up(void **state);
int device_scene_tear_down(void **state);

/* Makes the loop device, over a file with this data, with LO_FLAGS_... beside; false where none is to be had.
 */
bool device_scene_attach(struct fixture *fixture, const void *data, size_t size, uint32_t flags);

/* Fails unless `ok` is false and the error is of that kind and contains both the path and the words. */
void device_scene_check_refused(bool ok, const struct error *error, enum error_kind kind, const char *path,
                                const char *words);

/* Reads all of a device back, in order. */
bool device_scene_read_back(const struct device *device, uint64_t size, uint8_t *ret_data,
                            struct error *error);
