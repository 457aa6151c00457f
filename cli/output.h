/* SPDX-License-Identifier: MIT */
/*
 * Standard output of the verbs that have work to do. Output waits in memory until the reader takes it, so a
 * reader that does not read delays neither the work nor a signal. Lines of which there may be many are
 * dropped when OUTPUT_WAITING_MAX bytes wait, so memory is bounded. The main thread only; only
 * output_finish() blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct event_base;

/* When so many bytes wait, output_add_line() drops lines. */
enum { OUTPUT_WAITING_MAX = 64 * 1024 * 1024 };

/* Appends, and writes what can be written without waiting. */
void output_write(const char *data, size_t size);

/* Appends one of many lines; drops it if too much waits already. After the last one call output_flush(). */
void output_add_line(const char *data, size_t size);

/* Writes what can be written without waiting, and returns whether nothing is left. */
bool output_is_written(void);

/* Writes what can be written without waiting. */
void output_flush(void);

/* Makes the loop write more whenever there is room. Call it with NULL before the loop is freed. */
void output_watch(struct event_base *base);

/* To be called at the end: writes what is left, and with `wait` waits for the reader. Returns whether
 * everything was written and nothing dropped. */
bool output_finish(bool wait);

/* Whether `path` is the same file as descriptor `fd`, a standard stream. */
bool output_is_file(int fd, const char *path);
