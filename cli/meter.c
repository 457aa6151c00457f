#include "cli/meter.h"

#include <time.h>

enum {
    METER_INTERVAL_MS = 100,
    METER_RATE_AFTER_MS = 1000, /* earlier than that a rate is a guess */
};

void meter_init(struct meter *meter, const char *label, bool quiet)
{
    *meter = (struct meter){.label = label};
    progress_init(&meter->progress, stderr, quiet);
}

bool meter_is_shown(const struct meter *meter)
{
    return meter->progress.shown;
}

static uint64_t meter_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void meter_show(struct meter *meter, uint64_t done, uint64_t total)
{
    struct progress_view view = {.phase = meter->label, .bytes_done = done, .bytes_total = total};

    if (!meter->progress.shown)
        return;
    uint64_t now_ms = meter_now_ms();
    if (meter->drawn_label != meter->label) {
        meter->drawn_label = meter->label;
        meter->begin_ms = now_ms;
        meter->begin_bytes = done;
    } else if (now_ms - meter->last_ms < METER_INTERVAL_MS) {
        return;
    }
    uint64_t spent_ms = now_ms - meter->begin_ms;
    if (spent_ms >= METER_RATE_AFTER_MS && done > meter->begin_bytes)
        view.rate_bytes_s = (uint64_t)((double)(done - meter->begin_bytes) * 1000 / (double)spent_ms);
    if (view.rate_bytes_s && total > done)
        view.eta_s = (total - done) / view.rate_bytes_s;
    view.percent = total ? 100.0 * (double)done / (double)total : 100.0;
    progress_draw(&meter->progress, &view);
    meter->last_ms = now_ms;
}

void meter_clear(struct meter *meter)
{
    progress_clear(&meter->progress);
}
