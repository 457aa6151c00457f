/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/tell.h"
#include "common/base/text.h"

enum {
    BAR_MIN = 10, /* a shorter bar says nothing and is left out */
    BAR_MAX = 40,
    COLUMNS_DEFAULT = 80,
};

void progress_init(struct progress *progress, int fd, bool quiet)
{
    *progress = (struct progress){.fd = fd, .shown = !quiet && isatty(fd)};
}

char *progress_format_left(char *ret_text, size_t size, uint64_t eta_s)
{
    if (eta_s < 60)
        snprintf(ret_text, size, "%us", (unsigned)eta_s);
    else
        text_format_duration(ret_text, size, eta_s < UINT64_MAX / 1000 ? eta_s * 1000 : 0);
    return ret_text;
}

/* Formats the line without its bar. */
static void format_figures(char *ret_text, size_t size, const struct progress_view *view)
{
    char done[16], total[16], rate[16], left[32];
    size_t used = (size_t)snprintf(ret_text, size, "%5.1f %%  %s", view->percent,
                                   text_format_bytes(done, sizeof(done), view->bytes_done));

    if (view->bytes_total && used < size)
        used += (size_t)snprintf(ret_text + used, size - used, " of %s",
                                 text_format_bytes(total, sizeof(total), view->bytes_total));
    if (view->rate_bytes_s && used < size)
        used += (size_t)snprintf(ret_text + used, size - used, "  %s/s",
                                 text_format_bytes(rate, sizeof(rate), view->rate_bytes_s));
    if (view->eta_s && used < size)
        snprintf(ret_text + used, size - used, "  %s left",
                 progress_format_left(left, sizeof(left), view->eta_s));
}

char *progress_format(char *ret_text, size_t size, unsigned columns, const struct progress_view *view)
{
    struct progress_view clamped = *view;
    char figures[128], bar[BAR_MAX + 1] = "";
    const char *phase = view->phase ? view->phase : "";

    clamped.percent = view->percent > 0 ? (view->percent < 100 ? view->percent : 100) : 0;
    format_figures(figures, sizeof(figures), &clamped);
    /* "phase [bar] figures", with the last column left free: some terminals wrap when it is filled. */
    size_t taken = strlen(phase) + strlen(figures) + 5;
    size_t room = columns > taken ? columns - taken : 0;
    if (room >= BAR_MIN) {
        size_t width = room < BAR_MAX ? room : BAR_MAX;
        size_t filled = (size_t)(clamped.percent / 100 * (double)width);
        memset(bar, '#', filled);
        memset(bar + filled, '-', width - filled);
    }
    snprintf(ret_text, size, "%s%s%s%s%s%s", phase, *phase ? " " : "", *bar ? "[" : "", bar, *bar ? "] " : "",
             figures);
    if (columns > 0 && columns - 1 < strlen(ret_text) && columns - 1 < size)
        ret_text[columns - 1] = '\0';
    return ret_text;
}

void progress_draw(struct progress *progress, const struct progress_view *view)
{
    struct winsize window;
    char text[256], line[sizeof(text) + 8];

    if (!progress->shown)
        return;
    unsigned columns = COLUMNS_DEFAULT;
    if (ioctl(progress->fd, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        columns = window.ws_col < sizeof(text) ? window.ws_col : sizeof(text);
    int length =
        snprintf(line, sizeof(line), "\r%s\033[K", progress_format(text, sizeof(text), columns, view));
    progress->drawn = tell_now(progress->fd, line, (size_t)length) || progress->drawn;
}

void progress_finish(struct progress *progress)
{
    if (progress->drawn)
        tell_now(progress->fd, "\n", 1);
    progress->drawn = false;
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn)
        tell_now(progress->fd, "\r\033[K", 4);
    progress->drawn = false;
}
