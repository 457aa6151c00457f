/* SPDX-License-Identifier: MIT */
/* A folder with a file, and a loop device where one is attached. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/device.h"

struct fixture {
    char *folder, *file; /* the file is not there yet */
    /* a loop device on a file of the folder; goes away with its last descriptor */
    char *backing, *loop;
    int loop_fd;
    bool mounted; /* on FOLDER/mount */
};

/* For cmocka: *state is a fixture. */
int device_scene_set_up(void **state);
int device_scene_tear_down(void **state);

/* Fails unless `ok` is false and the error is of that kind and says both the path and the words. */
void device_scene_check_refused(bool ok, const struct error *error, enum error_kind kind, const char *path,
                                const char *words);

/* Reads a device back whole, in order; false with the error set where that fails. */
bool device_scene_read_back(const struct device *device, uint64_t size, uint8_t *ret_data,
                            struct error *error);
