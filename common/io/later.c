/* SPDX-License-Identifier: MIT */
#include "common/io/later.h"

#include <stdlib.h>

#include <event2/event.h>

#include "common/base/alloc.h"

struct later {
    struct event *event; /* of no descriptor and never added; it is only ever made active by hand */
    later_fn fn;
    void *owner;
};

static void on_turn(evutil_socket_t fd, short what, void *data)
{
    struct later *later = data;

    later->fn(later->owner);
}

struct later *later_new(struct event_base *base, later_fn fn, void *owner)
{
    struct later *later = alloc_zeroed(sizeof(*later));

    later->fn = fn;
    later->owner = owner;
    later->event = event_new(base, -1, 0, on_turn, later);
    if (!later->event)
        abort();
    return later;
}

struct later *later_free(struct later *later)
{
    if (!later)
        return NULL;
    event_free(later->event);
    free(later);
    return NULL;
}

void later_call(struct later *later)
{
    event_active(later->event, EV_TIMEOUT, 0);
}
