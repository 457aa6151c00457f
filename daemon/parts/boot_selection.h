/* SPDX-License-Identifier: MIT */
/*
 * Looks at the slots and at what boots next, and does every write of boot state. One job at a time, on a
 * pool thread; each job looks again when it is done, so that what is shown is what the loader would read.
 * Only the functions that say so block, before the loop runs. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/pool.h"
#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"
#include "daemon/parts/boot_task.h"

struct event_base;
struct boot_selection;

/* What it uses; all of it outlives the boot selection. */
struct boot_selection_deps {
    struct event_base *base;
    struct pool *pool;
    const struct config *config; /* the settings of the start */
};

struct boot_selection_events {
    void (*began)(void *owner); /* a job was given to the pool and waits for the medium */
    void (*ended)(void *owner); /* the job returned */
    /* A look is about to begin: add to the empty list what it has to fingerprint. */
    void (*ask_prints)(void *owner, struct boot_prints *prints);
    void (*look_due)(void *owner); /* the look planned by boot_selection_plan_look() is due */
    /* The look begun by boot_selection_look() is over; `changed`: it failed for another reason than the last
     * one, or only one of the two failed. */
    void (*looked)(void *owner, bool changed);
};

/* A task is over; `error` is NULL if it was done. The view is new in either case, unless the look failed. */
typedef void (*boot_selection_done_fn)(void *owner, const struct error *error);

/* Opens the boot selection that the settings name, runs boot_start() and looks. Blocks. If boot_start()
 * fails, that is an error with boots in place (`file`); with a real loader it is logged and tried again with
 * a later look. */
bool boot_selection_new(const struct boot_selection_deps *deps, const struct boot_selection_events *events,
                        void *owner, struct boot_selection **ret_selection, struct error *error);

/* Free the pool first. NULL is fine. Returns NULL. */
struct boot_selection *boot_selection_free(struct boot_selection *selection);

/* What the last look saw; the same struct as long as the boot selection lives. Its contents change only when
 * a job ends. */
const struct boot_view *boot_selection_view(const struct boot_selection *selection);

const struct boot_abilities *boot_selection_abilities(const struct boot_selection *selection);

/* Submits a task, which waits if a look by boot_selection_look() is under way; no other task may be. Takes
 * `held` and closes it after the task, even if that fails. */
void boot_selection_submit(struct boot_selection *selection, enum boot_task_kind kind, enum slot slot,
                           struct targets *held, boot_selection_done_fn then);

/* Submits, like boot_selection_submit(), the task that makes `slot` boot next, if its places are still what
 * `held` has open, the verified images of a release. Only daemon_trust_arm() calls this
 * (tests/unit/test_includes.py). */
void boot_selection_arm(struct boot_selection *selection, enum slot slot, struct targets *held,
                        boot_selection_done_fn then);

/* The fingerprints of what was armed last. */
const struct boot_armed *boot_selection_armed(const struct boot_selection *selection);

/* The fingerprints that the last job read; valid until the next one begins. */
const struct boot_prints *boot_selection_prints(const struct boot_selection *selection);

/* Reads the fingerprints that `prints` asks for by its `bytes`. Blocks, so only before the loop runs. */
void boot_selection_take_prints(const struct boot_selection *selection, struct boot_prints *prints);

/* Looks, on a thread; ends in `looked`. A task submitted meanwhile waits. Nothing may be under way. */
void boot_selection_look(struct boot_selection *selection);

/* Whether a job is under way. */
bool boot_selection_is_busy(const struct boot_selection *selection);

/* Milliseconds since the last look. */
uint64_t boot_selection_look_age_ms(const struct boot_selection *selection);

/* Plans a `look_due`, unless one is planned already: in a minute, or, while something is late (`late`), after
 * a second, with the pause doubling up to 64 seconds. */
void boot_selection_plan_look(struct boot_selection *selection, bool late);
