/* SPDX-License-Identifier: MIT */
/*
 * The daemon: owns the event loop and everything that lives on it, sends events to the state machine
 * (daemon/decide/update.h) and carries out its orders. Everything that may block runs on the pool, except
 * what daemon_new() does before the loop turns. The loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/config/config.h"

struct daemon;

/* Reads the record, the boot selection and the slots, and opens the API. Takes `config`, even on failure.
 * `request` says how it was read, so that SIGHUP can read it again, and outlives the daemon. May block. */
bool daemon_new(const struct config_request *request, struct config *config, struct daemon **ret_daemon,
                struct error *error);

/* Runs the loop until SIGTERM or SIGINT. */
void daemon_run(struct daemon *daemon);

/* NULL and a daemon that is only half built are fine. Returns NULL. */
struct daemon *daemon_free(struct daemon *daemon);
