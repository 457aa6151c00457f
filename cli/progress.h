/* SPDX-License-Identifier: MIT */
/*
 * How far an update is, on one line of a terminal that is drawn over itself: a bar, the phase, bytes, rate
 * and the time left. Where the descriptor is no terminal nothing is drawn, and no escape codes are ever sent;
 * a terminal that takes no more is left alone.
 * What it shows must be free of control characters. The main thread only; never blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress_view {
    const char *phase; /* "transferring"; NULL or "" for none */
    double percent;    /* 0 to 100 */
    uint64_t bytes_done;
    uint64_t bytes_total; /* 0: not known */
    uint64_t rate_bytes_s;
    uint64_t eta_s; /* 0: not known */
};

struct progress {
    int fd;
    bool shown; /* `fd` is a terminal and nobody asked for silence */
    bool drawn; /* something stands on the line */
};

/* Draws on `fd` if it is a terminal and `quiet` is false. */
void progress_init(struct progress *progress, int fd, bool quiet);

/* Draws the view over the one before. */
void progress_draw(struct progress *progress, const struct progress_view *view);

/* Ends the line, so that what was drawn last stays and a sentence may follow. */
void progress_finish(struct progress *progress);

/* Empties the line instead. */
void progress_clear(struct progress *progress);

/* The time left, as "42s" or "3min 2s"; pure. Returns ret_text. */
char *progress_format_left(char *ret_text, size_t size, uint64_t eta_s);

/* The line itself, at most `columns` wide, into `ret_text` of `size` bytes; pure. Returns ret_text. */
char *progress_format(char *ret_text, size_t size, unsigned columns, const struct progress_view *view);
