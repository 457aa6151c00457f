/*
 * What the service manager is told, and what it hands over: sd_notify and socket activation. The only user of
 * sd-daemon; built without libsystemd, or run without a service manager, every function does nothing and says
 * so. Sends one datagram at a time and does not wait. The loop's thread only.
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

/* EXTEND_TIMEOUT_USEC=: a start or stop that is still going on needs that much longer. */
void notify_extend_timeout(uint64_t ms);

/* The listening Unix stream socket that was handed over, close-on-exec and not blocking; -1 with true where
 * none was. An error where more than one, or something else, was. The caller owns it; later calls return -1.
 */
bool notify_take_listen_fd(int *ret_fd, struct error *error);
