/* SPDX-License-Identifier: MIT */
/*
 * A call that is put off until the loop has returned from the present callback. It is for what must not
 * happen inside it, such as to free the caller, or to report the end of some work before the call that began
 * it has returned. The call comes before the loop waits again, after callbacks that are ready already. Never
 * blocks; the loop's thread only.
 */
#pragma once

struct event_base;
struct later;

/* Called on the loop. It may ask for the call again, free it, and free whatever owns it. */
typedef void (*later_fn)(void *owner);

/* Makes a call that is not asked for yet; free it before the loop. Aborts if there is no memory. */
struct later *later_new(struct event_base *base, later_fn fn, void *owner);

/* Frees it; it is not called any more. NULL is fine. Returns NULL. */
struct later *later_free(struct later *later);

/* Asks for the call; several requests before it comes give one call. */
void later_call(struct later *later);
