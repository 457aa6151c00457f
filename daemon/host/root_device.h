/* SPDX-License-Identifier: MIT */
/*
 * The device that holds the running system's root file system, found in two independent ways: by root= on
 * the kernel's command line, and by what /proc/self/mountinfo says of "/". Knows no slots. Reads /proc,
 * /sys and /dev; see daemon/host/storage.h for whether that blocks.
 */
#pragma once

#include <stdbool.h>

#include "daemon/host/slots.h"
#include "daemon/host/storage.h"

struct root_device {
    bool found;
    char what[200]; /* half a sentence: the device and how it was found, or why it was not */
    struct storage_set
        below; /* everything below the device, itself included: members, a loop device's file, the disk */
    struct storage_set on; /* the device alone; several under an overlay */
};

/* Finds it by root=, of which the last one counts. */
void root_device_by_cmdline(const char *root, struct root_device *ret_device);

/* Finds it by what is mounted on "/", also through an overlay's lower layers. */
void root_device_by_mounts(const char *root, struct root_device *ret_device);

/* moonsinter.slot= or rauc.slot= with "a" or "b" on the kernel's command line; SLOT_NONE if there is none, or
 * if they disagree. */
enum slot root_device_slot_hint(const char *root);

/* Frees what it holds. */
void root_device_finish(struct root_device *device);
