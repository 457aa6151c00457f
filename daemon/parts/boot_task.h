/* SPDX-License-Identifier: MIT */
/*
 * One task of the boot selection, as a thread runs it: a write or only a check, and then a look at the
 * result. A part of boot_selection.c, which is the only user. All functions block on the medium: pool
 * threads, or before the loop runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/rollout.h"
#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/host/slot_print.h"
#include "daemon/host/slots.h"
#include "daemon/host/targets.h"

enum { BOOT_VIEW_WHY_SIZE = 384 }; /* as much as the record keeps */

/* What a look sees of slots, boot selection and state folder. */
struct boot_view {
    struct slots *slots;
    struct boot_state boot;
    enum slot running;   /* SLOT_NONE = not known */
    uint64_t slot_bytes; /* of the target where it is a partition; 0 = not known or not limited */
    char *loader_why;    /* why the target cannot be armed; NULL = nothing is known against it */
    char *storage_why;   /* why the state folder does not outlive a change of slot; NULL = it does */
    char machine_id[ROLLOUT_MACHINE_ID_SIZE + 1]; /* "" = none, and machine_id_why says why */
    char machine_id_why[256];
    char look_why[BOOT_VIEW_WHY_SIZE]; /* why the last look failed, so that the rest is older; "" = it did not
                                        */
};

enum boot_task_kind {
    BOOT_TASK_LOOK,          /* only look */
    BOOT_TASK_CHECK_RUNNING, /* look, and check that it is known which slot runs */
    BOOT_TASK_CHECK_SLOT,    /* CHECK_RUNNING, and that the target may be written */
    BOOT_TASK_INVALIDATE,
    BOOT_TASK_ARM, /* by boot_selection_arm() only */
    BOOT_TASK_GOOD,
    BOOT_TASK_REJECT,
    BOOT_TASK_START, /* boot in place */
};

/* The fingerprint of one image. */
struct boot_print {
    char name[MANIFEST_PART_NAME_MAX + 1]; /* of the part, or MANIFEST_MAIN_NAME */
    uint64_t bytes;                        /* length of the image to read; 0 = read nothing */
    bool is_taken;
    struct slot_print seen; /* has 0 bytes if it could not be taken */
};

enum { BOOT_PRINTS_MAX = 1 + MANIFEST_PARTS_MAX };

/* Fingerprints of all images in the slots, to be compared with what is recorded. */
struct boot_prints {
    struct boot_print list[SLOT_COUNT][BOOT_PRINTS_MAX];
    unsigned count[SLOT_COUNT];
};

/* The fingerprints of what was armed. */
struct boot_armed {
    struct boot_print list[BOOT_PRINTS_MAX];
    unsigned count;
};

struct boot_task {
    enum boot_task_kind kind;
    enum slot slot;
    struct boot *boot;
    const struct config *config;
    struct targets *held; /* open until the task is done, so that nobody changes what was verified before it
                             is armed */
    bool start;           /* boot_start() failed at the start and is tried again with a look */
    struct boot_armed armed; /* BOOT_TASK_ARM */
    struct boot_prints prints;
    /* The result: */
    bool failed;
    struct error error;
    struct boot_view view;
    struct error look_error; /* why the look failed, if view.slots is NULL */
};

/* Does the task, then looks, even if the task failed. */
void boot_task_run(struct boot_task *task);

/* Only looks. *ret_view is untouched on failure; else freed by boot_view_finish(). */
bool boot_view_look(struct boot_view *ret_view, struct boot *boot, const struct config *config,
                    struct error *error);

/* Frees what the view holds and empties it. */
void boot_view_finish(struct boot_view *view);

/* Reads the fingerprints that the `bytes` ask for, of the places that are present. */
void boot_prints_take(const struct slots *slots, struct boot_prints *prints);
