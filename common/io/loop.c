/* SPDX-License-Identifier: MIT */
#include "common/io/loop.h"

#include <assert.h>

#include <event2/event.h>

bool loop_new(struct event_base **ret_base, struct error *error)
{
    struct event_base *base = event_base_new();

    if (!base)
        return error_set(error, ERROR_SYSTEM, "cannot set up an event loop");
    *ret_base = base;
    return true;
}

struct event_base *loop_free(struct event_base *base)
{
    if (base)
        event_base_free(base);
    return NULL;
}

static void loop_turn(struct event_base *base, int flags)
{
    int result = event_base_loop(base, flags);

    assert(result >= 0);
}

void loop_run(struct event_base *base)
{
    loop_turn(base, 0);
}

void loop_run_once(struct event_base *base)
{
    loop_turn(base, EVLOOP_ONCE);
}

void loop_run_ready(struct event_base *base)
{
    loop_turn(base, EVLOOP_NONBLOCK);
}

void loop_end(struct event_base *base)
{
    event_base_loopbreak(base);
}
