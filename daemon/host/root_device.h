/* SPDX-License-Identifier: MIT */
/*
 * What the running system's root file system stands on, found in two ways that know nothing of each other:
 * root= on the kernel's command line, and what /proc/self/mountinfo says of "/". Knows no slots. Reads /proc,
 * /sys and /dev; see daemon/host/storage.h for whether that blocks.
 */
#pragma once

#include <stdbool.h>

#include "daemon/host/slots.h"
#include "daemon/host/storage.h"

struct root_device {
    bool found;
    char what[200]; /* the device and how it was found; or why it was not: a half sentence either way */
    struct storage_set
        below; /* all that it stands on, itself included: members, a loop device's file, the disk */
    struct storage_set on; /* itself alone; several under an overlay */
};

/* By root= (the last one counts). */
void root_device_by_cmdline(const char *root, struct root_device *ret_device);

/* By what is mounted on "/", through an overlay's lower layers. */
void root_device_by_mounts(const char *root, struct root_device *ret_device);

/* moonsinter.slot= or rauc.slot= with "a" or "b" on the kernel's command line; SLOT_NONE where there is none,
 * or where they disagree. */
enum slot root_device_slot_hint(const char *root);

/* Frees what it holds. */
void root_device_finish(struct root_device *device);
