/* SPDX-License-Identifier: MIT */
/*
 * A call that is put off until the loop has returned from the callback that asks for it: for what may not be
 * done in the middle of that, such as to free the caller, or to tell an owner of an end before the call that
 * began the work has returned. It comes before the loop waits again, after what is ready to be called
 * already. Never blocks; the loop's thread only.
 */
#pragma once

struct event_base;
struct later;

/* Called on the loop. It may ask anew, free the call, and free whatever owns it. */
typedef void (*later_fn)(void *owner);

/* A call that nobody asks for yet; free it before the loop. Aborts where there is no memory for it. */
struct later *later_new(struct event_base *base, later_fn fn, void *owner);

/* Frees it; it is not called any more. NULL is fine. Returns NULL. */
struct later *later_free(struct later *later);

/* Has it called once, also if it is asked for several times until then. */
void later_call(struct later *later);

/* It is not called, unless it is asked for again. */
void later_cancel(struct later *later);
