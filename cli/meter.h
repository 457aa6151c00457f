/*
 * How far a verb has got, for people: one line on stderr that is drawn over itself, some times a second at
 * most. Silent where stderr is no terminal or --quiet was given. The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct meter {
    const char *label; /* what is being done: "generate" */
    bool shown;        /* to be drawn at all */
    bool drawn;        /* something stands on the line */
    uint64_t last_ms;
};

/* `label` must live as long as the meter. */
void meter_init(struct meter *meter, const char *label, bool quiet);

/* Bytes done and in all. */
void meter_show(struct meter *meter, uint64_t done, uint64_t total);

/* Leaves the line empty, so that a sentence may follow. */
void meter_clear(struct meter *meter);
