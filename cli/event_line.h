/* SPDX-License-Identifier: MIT */
/*
 * What the command tells a parent process: one JSON object a line on stdout, without blocking (see
 * cli/output.h). Also how a verb that fails ends: with a sentence for people on stderr and a last event. The
 * main thread only. Only event_line_finish() blocks, and the functions that write a sentence, if tell() may
 * wait (see cli/tell.h).
 */
#pragma once

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"

/* The exit status after a signal is this plus its number, as in shells: 130 for SIGINT. */
enum { EVENT_LINE_BY_SIGNAL = 128 };

/* Makes {"event": name}, to be filled with json_add_...() and given to event_line_write(). */
struct json_object *event_line_new(const char *name);

/* Prints the event and frees it. */
void event_line_write(struct json_object *event);

/* Writes {"event": name, "value": value}, the form of many of the ancestor's events. */
void event_line_write_value(const char *name, uint64_t value);

/* Writes {"event": name, "value": value} with a string. */
void event_line_write_text(const char *name, const char *value);

/* Writes "moonsinter VERB: text" to stderr, without characters that could steer a terminal. */
void event_line_tell(const char *verb, const char *text);

/* Writes "moonsinter VERB: message" to stderr. Returns 1, the exit status of a failure. */
int event_line_tell_failure(const char *verb, const struct error *error);

/* Like event_line_tell_failure(), and writes the event `failed {kind, message}`. */
int event_line_write_failure(const char *verb, const struct error *error);

/* Like event_line_write_failure(), for a wrong command line, with a hint at --help; `verb` is NULL if there
 * is none. Returns 2, the exit status of a usage error. */
int event_line_write_usage(const char *verb, const struct error *error);

/* To be called at the very end; returns the final exit status. A success that could not be written to stdout
 * becomes a failure. Waits until everything has been read, but not after a signal. */
int event_line_finish(int exit_status);
