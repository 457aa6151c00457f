/* SPDX-License-Identifier: MIT */
#include "cli/meter.h"

#include <unistd.h>

#include "common/base/wall_clock.h"

enum {
    METER_INTERVAL_MS = 100,
    METER_RATE_AFTER_MS = 1000, /* earlier than that a rate is a guess */
    METER_WINDOW_MS = 5000,     /* the rate is the mean over so long */
};

void meter_init(struct meter *meter, const char *label, bool quiet)
{
    *meter = (struct meter){.label = label};
    progress_init(&meter->progress, STDERR_FILENO, quiet);
}

bool meter_is_shown(const struct meter *meter)
{
    return meter->progress.shown;
}

/* Computes the rate: the mean since the beginning, and later of the last seconds. */
static void meter_count(struct meter *meter, uint64_t now_ms, uint64_t done)
{
    uint64_t spent_ms = now_ms - meter->last_ms, since_ms = now_ms - meter->begin_ms;
    double bytes = done > meter->last_bytes ? (double)(done - meter->last_bytes) : 0;
    double window_ms = (double)(since_ms < METER_WINDOW_MS ? since_ms : METER_WINDOW_MS);

    if (spent_ms > 0)
        meter->rate += (bytes * 1000 / (double)spent_ms - meter->rate) *
                       (window_ms > (double)spent_ms ? (double)spent_ms / window_ms : 1);
}

bool meter_step(struct meter *meter, uint64_t now_ms, double share, uint64_t done, uint64_t total,
                struct progress_view *ret_view)
{
    struct progress_view view = {
        .phase = meter->label, .percent = 100 * share, .bytes_done = done, .bytes_total = total};

    if (meter->drawn_label != meter->label) {
        meter->drawn_label = meter->label;
        meter->begin_ms = now_ms;
        meter->rate = 0;
    } else if (now_ms - meter->last_ms < METER_INTERVAL_MS) {
        return false;
    } else {
        meter_count(meter, now_ms, done);
    }
    meter->last_ms = now_ms;
    meter->last_bytes = done;
    if (now_ms - meter->begin_ms >= METER_RATE_AFTER_MS)
        view.rate_bytes_s = (uint64_t)meter->rate;
    if (view.rate_bytes_s && total > done)
        view.eta_s = (total - done) / view.rate_bytes_s;
    *ret_view = view;
    return true;
}

void meter_show_share(struct meter *meter, double share, uint64_t done, uint64_t total)
{
    struct progress_view view;

    if (meter->progress.shown && meter_step(meter, wall_clock_steady_ms(), share, done, total, &view))
        progress_draw(&meter->progress, &view);
}

void meter_show(struct meter *meter, uint64_t done, uint64_t total)
{
    meter_show_share(meter, total ? (double)done / (double)total : 1, done, total);
}

void meter_clear(struct meter *meter)
{
    progress_clear(&meter->progress);
}
