/* SPDX-License-Identifier: MIT */
/* Notices that a job on a medium does not return: the kernel can keep it for minutes, and nobody would know
 * why nothing goes on. The loop's thread only; never blocks. */
#pragma once

#include <stdint.h>

struct event_base;
struct job_watch;

/* Called on the loop when a job has not returned in time: job_watch_why() says so. */
typedef void (*job_watch_fn)(void *owner);

/* `silence_ms` is how long a job may take. Aborts if there is no memory. */
struct job_watch *job_watch_new(struct event_base *base, uint64_t silence_ms, job_watch_fn fn, void *owner);

/* Free it before the loop. NULL is fine. Returns NULL. */
struct job_watch *job_watch_free(struct job_watch *watch);

/* Call when a job began or ended: `what` is under way now, as the subject of a sentence, static; NULL =
 * nothing. The time counts from now. */
void job_watch_set(struct job_watch *watch, const char *what);

/* A sentence when a job does not return; NULL = all do. Valid until job_watch_set(). */
const char *job_watch_why(const struct job_watch *watch);
