/* SPDX-License-Identifier: MIT */
/*
 * How far a verb has got, for people: a bar on stderr (see cli/progress.h), some times a second at most, with
 * the rate and the time left worked out from what it was told before. Silent where stderr is no terminal or
 * --quiet was given. The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"

struct meter {
    struct progress progress;
    const char *label; /* what is being done: "generate" */
    const char *drawn_label;
    uint64_t last_ms, last_bytes; /* when it was drawn last, and what was done then */
    uint64_t begin_ms;            /* of this label */
    double rate;                  /* bytes a second: the mean of the last seconds */
};

/* `label` must live as long as the meter; it may be set anew at any time. */
void meter_init(struct meter *meter, const char *label, bool quiet);

/* Whether anything is drawn at all. */
bool meter_is_shown(const struct meter *meter);

/* Bytes done and in all. */
void meter_show(struct meter *meter, uint64_t done, uint64_t total);

/* The same where the bytes are not all of the work: `share` of it is done, 0 to 1. */
void meter_show_share(struct meter *meter, double share, uint64_t done, uint64_t total);

/* What is shown at a moment of the monotonic clock, in ms; false where it is too early to draw again. Pure.
 */
bool meter_step(struct meter *meter, uint64_t now_ms, double share, uint64_t done, uint64_t total,
                struct progress_view *ret_view);

/* Leaves the line empty, so that a sentence may follow. */
void meter_clear(struct meter *meter);
