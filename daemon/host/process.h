/* SPDX-License-Identifier: MIT */
/*
 * Programs run beside the loop: started, watched, bounded in time by whoever owns them, with the last lines
 * of what they print kept. Nothing here waits: a program that cannot even be killed, because the kernel holds
 * it, is left to itself and forgotten when it ends. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

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
    int signal;         /* which */
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
 * own and without what the service manager told us in the environment. That it cannot be executed is told by
 * its end. Fails, *ret_process untouched, where not even a process can be had. The arguments are copied. */
bool process_start(struct processes *processes, const char *const *argv, process_done_fn done, void *owner,
                   struct process **ret_process, struct error *error);

/* What it has printed last until now, as in struct process_end; valid until the loop turns on. */
const char *process_get_output(struct process *process);

/* Ends it and all of its group, first kindly and two seconds later not; there is no callback any more. NULL
 * is fine. Returns NULL. */
struct process *process_abandon(struct process *process);
