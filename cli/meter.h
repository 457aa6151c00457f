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
    uint64_t last_ms;               /* when it was drawn last */
    uint64_t begin_ms, begin_bytes; /* what the rate of this label is counted from */
};

/* `label` must live as long as the meter; it may be set anew at any time. */
void meter_init(struct meter *meter, const char *label, bool quiet);

/* Whether anything is drawn at all. */
bool meter_is_shown(const struct meter *meter);

/* Bytes done and in all. */
void meter_show(struct meter *meter, uint64_t done, uint64_t total);

/* Leaves the line empty, so that a sentence may follow. */
void meter_clear(struct meter *meter);
