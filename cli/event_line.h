/* SPDX-License-Identifier: MIT */
/*
 * What the command tells a parent process: one JSON object a line on stdout, written out as soon as it is
 * taken (see cli/output.h). And how a verb ends that fails: a sentence for people on stderr, and a last
 * event. The main thread only; blocks in event_line_finish(), and where a sentence may wait (see cli/tell.h).
 */
#pragma once

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"

/* A signal ends the command with this and its number, as shells count: 130 for SIGINT. */
enum { EVENT_LINE_BY_SIGNAL = 128 };

/* {"event": name}, to be filled with json_add_...() and given to event_line_write(). */
struct json_object *event_line_new(const char *name);

/* Prints the event and drops it. */
void event_line_write(struct json_object *event);

/* {"event": name, "value": value}, as many of the ancestor's events are. */
void event_line_write_value(const char *name, uint64_t value);

/* The same with a string. */
void event_line_write_text(const char *name, const char *value);

/* "moonsinter VERB: text" on stderr, without what could steer a terminal. */
void event_line_tell(const char *verb, const char *text);

/* The same with an error's message. Returns 1, the exit status of a
 * failure. */
int event_line_tell_failure(const char *verb, const struct error *error);

/* The same, and `failed {kind, message}`. */
int event_line_write_failure(const char *verb, const struct error *error);

/* Likewise for a command line that cannot be understood, with a hint at --help; `verb` is NULL where there is
 * none. Returns 2. */
int event_line_write_usage(const char *verb, const struct error *error);

/* What becomes of `exit_status` at the very end: a success of which stdout could not be told is none. Waits
 * until everything has been read, but not after a signal. */
int event_line_finish(int exit_status);
