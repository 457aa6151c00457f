/* SPDX-License-Identifier: MIT */
#include "common/io/watch.h"

#include <stdlib.h>

#include <event2/event.h>

#include "common/base/alloc.h"

struct watch {
    struct event *event;
    watch_fn fn;
    void *owner;
};

static void on_ready(evutil_socket_t number, short what, void *data)
{
    struct watch *watch = data;

    watch->fn(watch->owner, (int)number);
}

struct watch *watch_new(struct event_base *base, enum watch_kind kind, int number, watch_fn fn, void *owner)
{
    static const short events[] = {
        [WATCH_READABLE] = EV_READ, [WATCH_WRITABLE] = EV_WRITE, [WATCH_SIGNAL] = EV_SIGNAL};
    struct watch *watch = alloc_zeroed(sizeof(*watch));

    watch->fn = fn;
    watch->owner = owner;
    watch->event = event_new(base, number, (short)(events[kind] | EV_PERSIST), on_ready, watch);
    if (!watch->event)
        abort();
    return watch;
}

struct watch *watch_free(struct watch *watch)
{
    if (!watch)
        return NULL;
    event_free(watch->event);
    free(watch);
    return NULL;
}

bool watch_start(struct watch *watch)
{
    return event_add(watch->event, NULL) == 0;
}

void watch_stop(struct watch *watch)
{
    event_del(watch->event);
}
