/* SPDX-License-Identifier: MIT */
/*
 * Shows how far an update is on one line of a terminal, which is drawn again and again: the phase, a bar,
 * bytes, rate and the time left. Draws nothing if the descriptor is no terminal or the terminal takes no
 * more, and never sends escape codes. What is shown must be free of control characters. The main thread only;
 * never blocks.
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
    bool shown; /* `fd` is a terminal, and no --quiet was given */
    bool drawn; /* the line is not empty */
};

/* Will draw on `fd` if it is a terminal and `quiet` is false. */
void progress_init(struct progress *progress, int fd, bool quiet);

/* Draws the view over the previous one. */
void progress_draw(struct progress *progress, const struct progress_view *view);

/* Ends the line: what was drawn last stays, and a sentence may follow. */
void progress_finish(struct progress *progress);

/* Clears the line: nothing stays, and a sentence may follow. */
void progress_clear(struct progress *progress);

/* Formats the time left as "42s" or "3min 2s". Pure. Returns ret_text. */
char *progress_format_left(char *ret_text, size_t size, uint64_t eta_s);

/* Formats the line, at most `columns` wide, into `ret_text` of `size` bytes. Pure. Returns ret_text. */
char *progress_format(char *ret_text, size_t size, unsigned columns, const struct progress_view *view);
