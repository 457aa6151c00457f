/* SPDX-License-Identifier: MIT */
/*
 * What the service manager is told, and when: the status at most once a second, the watchdog's sign of life
 * while the loop runs, and a message again that the manager did not take. What is told is notify.h's
 * business. One at a time may exist. The loop's thread only; never blocks.
 */
#pragma once

#include <stdbool.h>

struct event_base;
struct service_manager;

/* Called on the loop when the state is to be told: call service_manager_tell_status(). */
typedef void (*service_manager_status_fn)(void *owner);

/* Aborts if there is no memory. */
struct service_manager *service_manager_new(struct event_base *base, service_manager_status_fn status_due,
                                            void *owner);

/* Free it before the loop. NULL is fine. Returns NULL. */
struct service_manager *service_manager_free(struct service_manager *manager);

/* Says that the service is ready, and from now on that it is alive, if the manager wants to know. */
void service_manager_ready(struct service_manager *manager);

/* Call when the state changed: `status_due` comes within the call, or, unless it is to come at once, within a
 * second of the last sentence. */
void service_manager_note_change(struct service_manager *manager, bool at_once);

/* Tells the state in one sentence. */
void service_manager_tell_status(struct service_manager *manager, const char *sentence);
