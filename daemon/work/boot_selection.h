/* SPDX-License-Identifier: MIT */
/*
 * Looking at the slots and at what boots next, and the one job that does every write of boot state. One job
 * at a time, and each looks again when it is done, so that what is shown is what the loader would read. Jobs
 * run on pool threads; only making the part blocks, before the loop runs. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/device.h"
#include "common/io/pool.h"
#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"
#include "daemon/work/boot_task.h"

struct event_base;
struct boot_selection;

/* What it stands on; all outlive it. */
struct boot_selection_deps {
    struct event_base *base;
    struct pool *pool;
    const struct config *config; /* that of the start */
};

struct boot_selection_events {
    void (*began)(void *owner); /* a job is the pool's, and waits for the medium */
    void (*ended)(void *owner); /* it returned */
    /* A job is about to begin: what it is to read of the slots. */
    void (*ask_prints)(void *owner, uint64_t ret_bytes[SLOT_COUNT]);
    void (*look_due)(void *owner); /* the moment that boot_selection_plan_look() set came */
    /* A look by itself is over; `changed`: why it showed nothing is another reason, or none, than before. */
    void (*looked)(void *owner, bool changed);
};

/* A task is over: `error` is NULL where it was done. The view is new in either case where it could be looked
 * at. */
typedef void (*boot_selection_done_fn)(void *owner, const struct error *error);

/* Opens the boot selection that the settings name, does what it wants of a start, and looks. Blocks. What a
 * loader of the machine's own wants of a start and cannot be done now is logged and done with a later look.
 */
bool boot_selection_new(const struct boot_selection_deps *deps, const struct boot_selection_events *events,
                        void *owner, struct boot_selection **ret_selection, struct error *error);

/* The pool has to be freed before. NULL is fine. Returns NULL. */
struct boot_selection *boot_selection_free(struct boot_selection *selection);

/* As of the last look; the same struct throughout the part's life. Not replaced while no job is under way. */
const struct boot_view *boot_selection_view(const struct boot_selection *selection);

const struct boot_abilities *boot_selection_abilities(const struct boot_selection *selection);

/* Submits a task, or has it wait until a look by itself is over; nothing else may be under way. `held` is
 * closed after it, also where it fails. */
void boot_selection_submit(struct boot_selection *selection, enum boot_task_kind kind, enum slot slot,
                           struct device *held, boot_selection_done_fn then);

/* Likewise, and has `slot` boot next, where it still is what `held` has open: a device that holds an image of
 * `image_bytes`, read back and verified. Only the gate calls this (tests/unit/test_includes.py). */
void boot_selection_arm(struct boot_selection *selection, enum slot slot, struct device *held,
                        uint64_t image_bytes, boot_selection_done_fn then);

/* The fingerprint of what was armed last. */
const struct slot_print *boot_selection_armed_print(const struct boot_selection *selection);

/* What the job that ended last read of the slots; until the next one begins. */
const struct boot_prints *boot_selection_prints(const struct boot_selection *selection);

/* Reads what is to be read. Blocks: before the loop runs. */
void boot_selection_take_prints(const struct boot_selection *selection, struct boot_prints *prints);

/* Looks by itself, on a thread; what is submitted meanwhile waits. Nothing may be under way. */
void boot_selection_look(struct boot_selection *selection);

/* Whether a job is under way. */
bool boot_selection_is_busy(const struct boot_selection *selection);

/* Milliseconds since the last look. */
uint64_t boot_selection_look_age_ms(const struct boot_selection *selection);

/* `look_due` comes, unless that is planned already: soon where something is late (`late`), and less often the
 * longer it is; else in a minute. */
void boot_selection_plan_look(struct boot_selection *selection, bool late);
