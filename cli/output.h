/* SPDX-License-Identifier: MIT */
/*
 * Standard output of the verbs that have work to do: what is written waits in memory until whoever reads
 * takes it, so nobody who does not read keeps the work or a signal waiting. Memory is bounded by what the
 * work has to tell, and by OUTPUT_WAITING_MAX for what comes chunk by chunk. The main thread only; never
 * blocks but in output_finish().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct event_base;

/* Bytes that may wait of what can be done without. */
enum { OUTPUT_WAITING_MAX = 64 * 1024 * 1024 };

/* Appends, and writes what goes without waiting. */
void output_write(const char *data, size_t size);

/* Appends one of many lines, to be followed by output_flush(); drops it where too much waits already. */
void output_add_line(const char *data, size_t size);

/* Whether all that was to be written is: writes what is taken now, and does not wait. */
bool output_is_written(void);

/* Writes what goes without waiting. */
void output_flush(void);

/* Has the loop write on whenever there is room; NULL takes it off again, before the loop is freed. */
void output_watch(struct event_base *base);

/* At the end: writes what is left, waiting for whoever reads if `wait`. Returns whether everything that was
 * to be said has been taken. */
bool output_finish(bool wait);

/* Whether `path` leads to what descriptor `fd`, a standard stream, is open on. */
bool output_is_file(int fd, const char *path);
