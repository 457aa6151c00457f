/* SPDX-License-Identifier: MIT */
/*
 * What `clone` and `plan` tell: the ancestor's events on stdout for a parent process, a line of progress and
 * a few sentences on stderr for people, dropped where it takes no more. The main thread only; never blocks
 * but in report_failure(), as cli/tell.h has it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/meter.h"
#include "common/sinter/clone.h"

struct report {
    bool events; /* to stdout */
    bool people; /* sentences to stderr */
    struct meter meter;
    const struct release *release; /* of the clone under way */
    const struct clone *clone;
    bool has_seeds;
    const char *target;
    enum clone_phase phase;
    uint64_t chunks_fetched;
    /* by clones of this run that were begun anew */
    uint64_t earlier_written, earlier_retries;
};

/* `quiet` and `json` are the options. */
void report_init(struct report *report, bool quiet, bool json);

/* The events of the manifest's download; `error` NULL: it is there. */
void report_manifest_start(struct report *report);
/* It is asked for again in wait_ms, or, as it does not fit the image, read anew. */
void report_manifest_retry(struct report *report, const struct error *error, uint64_t wait_ms);

void report_manifest_end(struct report *report, const struct release *release, const struct error *error);

/* The clone's events; `owner` is the report. `done` is not among them. */
extern const struct clone_events report_clone_events;

/* Draws how far the clone is. */
void report_progress(struct report *report, const struct clone_progress *progress);

/* What was read back was not right, so the clone of the same release is begun anew at once. */
void report_clone_again(struct report *report, const struct error *error);

/* `clone` is going to be begun anew: what it cost counts towards the sums at the end. */
void report_restart(struct report *report, struct clone *clone);

/* The last event of a clone or a plan that succeeded; what it cost is all that `http` did. */
void report_done(struct report *report, struct clone *clone, const struct http *http, bool plan_only);

/* The last event of a failure; returns the exit status. */
int report_failure(struct report *report, const char *verb, const struct error *error);

/* A sentence for people, on stderr; dropped where that takes no more. */
void report_note(struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
