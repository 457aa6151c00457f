/* SPDX-License-Identifier: MIT */
/*
 * Shows people how far a verb has got: a bar on stderr (see cli/progress.h), drawn at most some times a
 * second, with the rate and the time left, which are computed from earlier calls. Silent if stderr is no
 * terminal or --quiet was given. The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"

struct meter {
    struct progress progress;
    const char *label; /* what is being done: "generate" */
    const char *drawn_label;
    uint64_t last_ms, last_bytes; /* when it was last drawn, and the bytes done then */
    uint64_t begin_ms;            /* when work under this label began */
    double rate;                  /* bytes a second: the mean of the last seconds */
};

/* `label` must live as long as the meter; it may be set anew at any time. */
void meter_init(struct meter *meter, const char *label, bool quiet);

/* Whether anything is drawn at all. */
bool meter_is_shown(const struct meter *meter);

/* Shows that `done` of `total` bytes are done. */
void meter_show(struct meter *meter, uint64_t done, uint64_t total);

/* Like meter_show(), for work that is not only these bytes: `share` of it, 0 to 1, is done. */
void meter_show_share(struct meter *meter, double share, uint64_t done, uint64_t total);

/* What is shown at a moment of the monotonic clock, in ms; false where it is too early to draw again. Pure.
 */
bool meter_step(struct meter *meter, uint64_t now_ms, double share, uint64_t done, uint64_t total,
                struct progress_view *ret_view);

/* Clears the line, so that a sentence may follow. */
void meter_clear(struct meter *meter);
