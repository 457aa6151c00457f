#include "cli/meter.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/text.h"

enum {
    METER_INTERVAL_MS = 100,
};

void meter_init(struct meter *meter, const char *label, bool quiet)
{
    *meter = (struct meter){.label = label, .shown = !quiet && isatty(STDERR_FILENO)};
}

void meter_show(struct meter *meter, uint64_t done, uint64_t total)
{
    struct timespec now;
    char done_text[16], total_text[16];

    if (!meter->shown)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (meter->drawn && now_ms - meter->last_ms < METER_INTERVAL_MS)
        return;
    fprintf(stderr, "\r%s: %3.0f %%  %s of %s\033[K", meter->label,
            total ? 100.0 * (double)done / (double)total : 100.0,
            text_format_bytes(done_text, sizeof(done_text), done),
            text_format_bytes(total_text, sizeof(total_text), total));
    meter->drawn = true;
    meter->last_ms = now_ms;
}

void meter_clear(struct meter *meter)
{
    if (meter->drawn)
        fputs("\r\033[K", stderr);
    meter->drawn = false;
}
