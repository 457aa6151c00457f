/* SPDX-License-Identifier: MIT */
/*
 * What the service manager is told, and what it hands over: the protocol of sd_notify(3), and socket
 * activation. The only user of sd-daemon; built without libsystemd, or run without a service manager, every
 * function does nothing and says so. Nothing waits for the manager: where its queue is full, which is when it
 * is stuck itself, what it is to be told is kept, the newest of each kind, and notify_flush() tries again. A
 * manager that is not there is complained about once, to the log. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* READY=1: the API listens and the settings are good; also ends a reload. `status` may be NULL. */
void notify_ready(const char *status);

/* STATUS=: one sentence. The caller sees to the rate. */
void notify_status(const char *status);

/* RELOADING=1 with the clock's reading that Type=notify-reload wants; notify_ready() ends it. */
void notify_reloading(void);

/* STOPPING=1. */
void notify_stopping(const char *status);

/* How often the manager wants to hear notify_watchdog() at the latest; 0 = not at all. Call it at half of
 * that. */
uint64_t notify_watchdog_interval_ms(void);

/* WATCHDOG=1. */
void notify_watchdog(void);

typedef void notify_waiting_fn(void *owner);

/* Has `on_waiting` called whenever something could not be told at once: see to it that notify_flush() is
 * called after a while. NULL ends it. */
void notify_on_waiting(notify_waiting_fn *on_waiting, void *owner);

/* Tells what waits; false where some of it still has to. */
bool notify_flush(void);

/* The listening Unix stream socket that was handed over, close-on-exec and not blocking; -1 with true where
 * none was. An error where more than one, or something else, was. The caller owns it; later calls return -1.
 */
bool notify_take_listen_fd(int *ret_fd, struct error *error);
