/* SPDX-License-Identifier: MIT */
/*
 * Talks to the service manager: the protocol of sd_notify(3), and socket activation. The only user of
 * sd-daemon; built without libsystemd it tells as well, but has no watchdog and takes no socket. Without a
 * service manager every function does nothing and says so. Nothing waits for the manager: if its queue is
 * full, because it is stuck itself, the newest message of each kind is kept, and notify_flush() tries again.
 * A manager that cannot be reached is logged once. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* READY=1: the API listens and the settings are good; also ends a reload. `status` may be NULL. */
void notify_ready(const char *status);

/* STATUS=: one sentence. The caller limits the rate. */
void notify_status(const char *status);

/* RELOADING=1 with the clock's reading that Type=notify-reload wants; notify_ready() ends it. */
void notify_reloading(void);

/* STOPPING=1. */
void notify_stopping(const char *status);

/* Milliseconds within which the manager wants notify_watchdog(); 0 = not at all. Call it after half of
 * that. */
uint64_t notify_watchdog_interval_ms(void);

/* WATCHDOG=1. */
void notify_watchdog(void);

typedef void notify_waiting_fn(void *owner);

/* Has `on_waiting` called whenever a message could not be sent at once; then call notify_flush() after a
 * while. NULL ends this. */
void notify_on_waiting(notify_waiting_fn *on_waiting, void *owner);

/* Sends what waits; false if some of it still could not be sent. */
bool notify_flush(void);

/* The socket from socket activation, close-on-exec; -1 if there is none. Fails if more than one was passed;
 * what it is, api_socket_adopt() checks. The caller owns it; later calls return -1. */
bool notify_take_listen_fd(int *ret_fd, struct error *error);
