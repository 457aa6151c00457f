/* SPDX-License-Identifier: MIT */
/*
 * One task of the boot selection, as a thread does it: a write, or only a check, and then a look at what is
 * true now. A piece of boot_selection, and its only user. All functions block on the medium: a pool thread,
 * or before the loop runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/rollout.h"
#include "common/io/device.h"
#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/host/slot_print.h"
#include "daemon/host/slots.h"

enum { BOOT_VIEW_WHY_SIZE = 384 }; /* as much as the record keeps */

/* What the slots, the boot selection and the state folder look like. */
struct boot_view {
    struct slots *slots;
    struct boot_state boot;
    enum slot running;   /* SLOT_NONE = not known */
    uint64_t slot_bytes; /* of the target where it is a partition; 0 = not known or not limited */
    char *loader_why;    /* why the target could not be armed; NULL = it could, as far as is known */
    char *storage_why;   /* why the state folder does not outlive a change of slot; NULL = it does */
    char machine_id[ROLLOUT_MACHINE_ID_SIZE + 1]; /* "" = none, and machine_id_why says why */
    char machine_id_why[256];
    char look_why[BOOT_VIEW_WHY_SIZE]; /* why the last look showed nothing, so that the above is older;
                                               "" = it did */
};

enum boot_task_kind {
    BOOT_TASK_LOOK,          /* only look */
    BOOT_TASK_CHECK_RUNNING, /* look, and check that it is known which slot runs, so which one does not
                              */
    BOOT_TASK_CHECK_SLOT,    /* ... and that the target may be written */
    BOOT_TASK_INVALIDATE,
    BOOT_TASK_ARM, /* by boot_selection_arm() only */
    BOOT_TASK_GOOD,
    BOOT_TASK_REJECT,
    BOOT_TASK_START, /* boot in place */
};

/* What was read of the slots, to be held against what is recorded of them. */
struct boot_prints {
    uint64_t bytes[SLOT_COUNT]; /* how long the image is; 0 = nothing is to be read */
    bool is_taken[SLOT_COUNT];
    struct slot_print seen[SLOT_COUNT];
};

struct boot_task {
    enum boot_task_kind kind;
    enum slot slot;
    struct boot *boot;
    const struct config *config;
    struct device
        *held;  /* closed when the task is done, so that what was verified stays so until it is armed */
    bool start; /* what is due at a start could not be done then, and is done with a look */
    /* BOOT_TASK_ARM: of the image, and its fingerprint; 0 bytes where there is none */
    uint64_t print_bytes;
    struct slot_print print;
    struct boot_prints prints;
    /* What came of it: */
    bool failed;
    struct error error;
    struct boot_view view;
    struct error look_error; /* where view.slots is NULL */
};

/* Does it, and looks; also where it failed: what is true now is worth knowing most then. */
void boot_task_run(struct boot_task *task);

/* Only looks. *ret_view is untouched on failure; to be finished. */
bool boot_view_look(struct boot_view *ret_view, struct boot *boot, const struct config *config,
                    struct error *error);

void boot_view_finish(struct boot_view *view);

/* Reads what is to be read of the slots that are there. */
void boot_prints_take(const struct slots *slots, struct boot_prints *prints);
