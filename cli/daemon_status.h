/* SPDX-License-Identifier: MIT */
/*
 * Tells the daemon's status object in sentences, for people at a terminal. Ignores members that are missing,
 * as the daemon may be of another version. Every text is made safe to show. May block on the stream.
 */
#pragma once

#include <stdio.h>

#include "common/base/json.h"

enum { DAEMON_STATUS_TEXT_SIZE = 512 };

/* The text of a member, without characters that could steer a terminal; "" if it is absent or no string. */
char *daemon_status_text(char ret_text[DAEMON_STATUS_TEXT_SIZE], struct json_object *object,
                         const char *name);

/* The whole status, a line for each matter. */
void daemon_status_print(FILE *stream, struct json_object *status);

/* What the transfer under way waits for, as a line after `before`; nothing if it does not wait. */
void daemon_status_print_waiting(FILE *stream, struct json_object *status, const char *before);

/* Why nothing is being installed, or why the last update failed. */
void daemon_status_print_reasons(FILE *stream, struct json_object *status);

/* One entry of the history, or `last_update`. */
void daemon_status_print_entry(FILE *stream, struct json_object *entry);
