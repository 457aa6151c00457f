/* SPDX-License-Identifier: MIT */
/*
 * Runs a long piece of work that blocks, such as generate's, on a thread, while the loop draws the meter,
 * writes events and waits for signals. A signal ends the command at once, whatever the work waits for, and
 * nothing is left behind. The command's own thread only, except work_progress().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/meter.h"
#include "common/base/error.h"

struct work;

struct work_settings {
    const char *verb;
    const char *what; /* such as "the report": what the sentence says was cancelled */
    struct meter *meter;
    /* Called on this thread before the work begins, with signals held back: creates whatever `stop` removes.
     * Must not take long. May be NULL. */
    bool (*prepare)(void *owner, struct error *error);
    /* The work, on the thread. */
    bool (*run)(void *owner, struct work *work, struct error *error);
    /* Called at a signal during `run`: removes what `run` would leave behind. Afterwards the process ends,
     * unless this returns false: then the work will end by itself very soon. May be NULL. */
    bool (*stop)(void *owner);
    void *owner;
};

/* Runs the work to its end. Does not return after a signal: reports the failure, and ends the process with
 * status 128 plus the signal's number. */
bool work_run(const struct work_settings *settings, struct error *error);

/* Reports how far the work is; `stage` must be a constant string. May be called on any thread. */
void work_progress(struct work *work, const char *stage, uint64_t done, uint64_t total);
