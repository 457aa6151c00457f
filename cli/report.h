/* SPDX-License-Identifier: MIT */
/*
 * What `clone` and `plan` report: the ancestor's events on stdout for a parent process, and for people a line
 * of progress and a few sentences on stderr, which are dropped when stderr takes no more. The main thread
 * only; only report_failure() blocks, if tell() may wait (see cli/tell.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/meter.h"
#include "common/sinter/clone_set.h"

struct report {
    bool events; /* write events to stdout */
    bool people; /* write sentences to stderr */
    struct meter meter;
    bool is_set; /* there are several images */
    const struct clone_set_image
        *image; /* that is planned or made, of the clone under way; and its own clone */
    struct clone *clone;
    enum clone_phase phase;
    uint64_t chunks_fetched;
    uint64_t earlier_written, earlier_retries; /* the sums of the clones of this run that are over */
    uint64_t image_bytes, planned_bytes;       /* of all images: their size, and what they were to cost */
};

/* `quiet` and `json` are the options. */
void report_init(struct report *report, bool quiet, bool json, bool is_set);

/* The manifest's download begins. */
void report_manifest_start(struct report *report);
/* A manifest is requested again in wait_ms: after a failure, or because it does not fit other files. */
void report_manifest_retry(struct report *report, const struct error *error, uint64_t wait_ms);
/* A manifest cannot be had. */
void report_manifest_failed(struct report *report, const struct error *error);
/* The manifest is there. */
void report_manifest_end(struct report *report, const struct release *release);

/* The clone's events; `owner` is the report. `done` is not among them. */
extern const struct clone_set_events report_clone_events;

/* Draws the progress of the clone under way. */
void report_progress(struct report *report);

/* What was read back was wrong, so a clone of the same release is started at once. */
void report_clone_again(struct report *report, const struct error *error);

/* `clone` is over and will be freed: adds its costs to the sums that are reported at the end. */
void report_clone_end(struct report *report, struct clone_set *clone);

/* The last event of a run that succeeded; all traffic of `http` counts as its cost. */
void report_done(struct report *report, const struct http *http, bool plan_only);

/* The last event of a failure; returns the exit status. */
int report_failure(struct report *report, const char *verb, const struct error *error);
