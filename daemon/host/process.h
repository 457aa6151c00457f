/* SPDX-License-Identifier: MIT */
/*
 * Programs run beside the loop: started and watched, with the last lines of their output kept; their owner
 * limits their time. Nothing blocks: a program that cannot even be killed, because the kernel holds it, is
 * left alone and forgotten when it ends. The loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

struct event_base;
struct processes;
struct process;

enum {
    PROCESS_OUTPUT_SIZE = 1024, /* of what is kept, with its terminating zero: some ten lines */
};

/* How a program ended. */
struct process_end {
    int status;         /* its exit status, 127 where it could not be started; -1 = a signal ended it */
    int signal;         /* the signal's number */
    const char *output; /* what it printed last, stdout and stderr alike, of whole lines where there are any;
                           valid during the call */
};

/* Called once, when the program ended. The process is freed after that. */
typedef void (*process_done_fn)(void *owner, const struct process_end *end);

/* All programs of one loop. */
struct processes *processes_new(struct event_base *base, struct error *error);

/* Kills those that run, without waiting for them and without their callback. NULL is fine. Returns NULL. */
struct processes *processes_free(struct processes *processes);

/* Starts argv[0], looked up in $PATH where it has no slash, with nothing to read, in a process group of its
 * own, with environment_for_programs(). If it cannot be executed, it ends with status 127. Fails, with
 * *ret_process untouched, only if no process can be made. The arguments are copied. */
bool process_start(struct processes *processes, const char *const *argv, process_done_fn done, void *owner,
                   struct process **ret_process, struct error *error);

/* What it has printed last so far, as in struct process_end; valid until the next turn of the loop. */
const char *process_get_output(struct process *process);

/* Ends the program and its group, with SIGTERM and two seconds later with SIGKILL; there is no callback any
 * more. NULL is fine. Returns NULL. */
struct process *process_abandon(struct process *process);
