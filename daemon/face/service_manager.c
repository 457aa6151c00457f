/* SPDX-License-Identifier: MIT */
#include "daemon/face/service_manager.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/wall_clock.h"
#include "common/io/timer.h"
#include "daemon/face/notify.h"

enum {
    STATUS_INTERVAL_MS = 1000,
    NOTIFY_AGAIN_MS = 500, /* pause before a service manager that does not read is tried again */
};

struct service_manager {
    service_manager_status_fn status_due;
    void *owner;
    struct timer *status_timer, *watchdog_timer, *notify_timer;
    uint64_t status_ms; /* when the status was told last, by the clock since boot; 0 = never */
};

static void on_watchdog_timer(void *owner)
{
    struct service_manager *manager = owner;

    notify_watchdog();
    timer_start(manager->watchdog_timer, notify_watchdog_interval_ms() / 2);
}

static void on_notify_timer(void *owner)
{
    struct service_manager *manager = owner;

    if (!notify_flush())
        timer_start(manager->notify_timer, NOTIFY_AGAIN_MS);
}

/* A timer that is set already is left alone: if it were put off again and again, it would never fire. */
static void on_notify_waiting(void *owner)
{
    struct service_manager *manager = owner;

    if (!timer_is_running(manager->notify_timer))
        timer_start(manager->notify_timer, NOTIFY_AGAIN_MS);
}

struct service_manager *service_manager_new(struct event_base *base, service_manager_status_fn status_due,
                                            void *owner)
{
    struct service_manager *manager = alloc_zeroed(sizeof(*manager));

    manager->status_due = status_due;
    manager->owner = owner;
    manager->status_timer = timer_new(base, status_due, owner);
    manager->watchdog_timer = timer_new(base, on_watchdog_timer, manager);
    manager->notify_timer = timer_new(base, on_notify_timer, manager);
    notify_on_waiting(on_notify_waiting, manager);
    return manager;
}

struct service_manager *service_manager_free(struct service_manager *manager)
{
    if (!manager)
        return NULL;
    notify_on_waiting(NULL, NULL);
    timer_free(manager->status_timer);
    timer_free(manager->watchdog_timer);
    timer_free(manager->notify_timer);
    free(manager);
    return NULL;
}

void service_manager_ready(struct service_manager *manager)
{
    notify_ready(NULL);
    if (notify_watchdog_interval_ms())
        on_watchdog_timer(manager);
}

void service_manager_note_change(struct service_manager *manager, bool at_once)
{
    uint64_t elapsed_ms = wall_clock_boot_ms() - manager->status_ms;

    if (at_once || elapsed_ms >= STATUS_INTERVAL_MS)
        manager->status_due(manager->owner);
    else if (!timer_is_running(manager->status_timer))
        timer_start(manager->status_timer, STATUS_INTERVAL_MS - elapsed_ms);
}

void service_manager_tell_status(struct service_manager *manager, const char *sentence)
{
    notify_status(sentence);
    manager->status_ms = wall_clock_boot_ms();
    timer_stop(manager->status_timer);
}
