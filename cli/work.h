/* SPDX-License-Identifier: MIT */
/*
 * A long piece of work that blocks, such as generate's, on a thread, while the loop draws the meter, writes
 * events and waits for signals: a signal ends the command at once, whatever the work is waiting for, and
 * leaves nothing behind. The command's own thread only, but for work_progress().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/meter.h"
#include "common/base/error.h"

struct work;

struct work_settings {
    const char *verb;
    const char *what; /* "the report": the sentence says that it was cancelled */
    struct meter *meter;
    /* Here, before the thread is at it, with signals held back already: makes whatever `stop` removes; must
     * not take long. May be NULL. */
    bool (*prepare)(void *owner, struct error *error);
    /* The work, on the thread. */
    bool (*run)(void *owner, struct work *work, struct error *error);
    /* At a signal, while `run` is at work: removes what it would leave. The process ends afterwards, unless
     * this returns false: then the work ends by itself within moments. May be NULL. */
    bool (*stop)(void *owner);
    void *owner;
};

/* Runs it to its end. Does not return after a signal: the failure is told, and the process ends with 128 and
 * the signal's number. */
bool work_run(const struct work_settings *settings, struct error *error);

/* How far the thread is; `stage` lives for ever. From any thread. */
void work_progress(struct work *work, const char *stage, uint64_t done, uint64_t total);
