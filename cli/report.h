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
#include "common/sinter/clone.h"

struct report {
    bool events; /* write events to stdout */
    bool people; /* write sentences to stderr */
    struct meter meter;
    const struct release *release; /* of the clone under way */
    const struct clone *clone;
    bool has_seeds;
    const char *target;
    enum clone_phase phase;
    uint64_t chunks_fetched;
    /* the sums of earlier clones of this run, which were started over or made other images of the set */
    uint64_t earlier_written, earlier_retries;
    uint64_t image_bytes,
        planned_bytes; /* of the images that are made: their size, and what they were to cost */
};

/* `quiet` and `json` are the options. */
void report_init(struct report *report, bool quiet, bool json);

/* The events of the manifest's download; for its end `error` is NULL if the manifest is there. */
void report_manifest_start(struct report *report);
/* The manifest is requested again in wait_ms: after a failure, or because it does not fit the image. */
void report_manifest_retry(struct report *report, const struct error *error, uint64_t wait_ms);

void report_manifest_end(struct report *report, const struct release *release, const struct error *error);

/* The images of a release are begun, the first time or as it was replaced: what is summed up for all of them
 * starts with none. */
void report_release_start(struct report *report);

/* An image is begun. `part` is its name in a set, NULL = the release has one image only. */
void report_image_start(struct report *report, const char *part, const char *target, bool has_seeds);

/* The clone's events; `owner` is the report. `done` is not among them. */
extern const struct clone_events report_clone_events;

/* Draws the clone's progress. */
void report_progress(struct report *report, const struct clone_progress *progress);

/* What was read back was wrong, so a clone of the same release is started at once. */
void report_clone_again(struct report *report, const struct error *error);

/* `clone` ended and another will be started: adds its costs to the sums that are reported at the end. */
void report_restart(struct report *report, struct clone *clone);

/* `clone` made its image, or the plan for it: adds its costs to the sums that are reported at the end. */
void report_image_end(struct report *report, struct clone *clone);

/* The last event of a run that succeeded; all traffic of `http` counts as its cost. */
void report_done(struct report *report, const struct http *http, bool plan_only);

/* The last event of a failure; returns the exit status. */
int report_failure(struct report *report, const char *verb, const struct error *error);
