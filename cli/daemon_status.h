/* SPDX-License-Identifier: MIT */
/*
 * The daemon's status object told in sentences, for people at a terminal. Reads what is there and passes over
 * what is not, since the daemon may be of another version. Every text in it is made safe to show. May block
 * as its stream may.
 */
#pragma once

#include <stdio.h>

#include "common/base/json.h"

enum { DAEMON_STATUS_TEXT_SIZE = 512 };

/* The text of a member that may be absent, without what could steer a terminal; "" where it is no string. */
char *daemon_status_text(char ret_text[DAEMON_STATUS_TEXT_SIZE], struct json_object *object,
                         const char *name);

/* The whole status, a line for each matter. */
void daemon_status_print(FILE *stream, struct json_object *status);

/* What a transfer under way waits for, a line after `before`; nothing where it does not wait. */
void daemon_status_print_waiting(FILE *stream, struct json_object *status, const char *before);

/* Why nothing is being installed, or the last thing went wrong. */
void daemon_status_print_reasons(FILE *stream, struct json_object *status);

/* One entry of the history, or `last_update`. */
void daemon_status_print_entry(FILE *stream, struct json_object *entry);
