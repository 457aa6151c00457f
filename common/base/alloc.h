/* SPDX-License-Identifier: MIT */
/*
 * Allocation of small things of our own. Running out of memory for these is not an error anybody can
 * handle, so the program aborts. Whatever is sized by network or file input is bounded by its caller first
 * and uses plain malloc(), so that refusing it is a sentence and not an abort. What grows with a table of
 * chunks was asked for as a whole before, see common/sinter/table_room.h. Never blocks; any thread.
 */
#pragma once

#include <stddef.h>

/* Frees the pointer it stands on when the variable goes out of scope. */
#define CLEANUP_FREE __attribute__((cleanup(alloc_free_pointer)))

/* Zeroed memory for one object of `size` bytes, owned by the caller; aborts instead of returning NULL. */
void *alloc_zeroed(size_t size);

/* Zeroed memory for `count` objects of `size` bytes; aborts on overflow or exhaustion. */
void *alloc_array(size_t count, size_t size);

/* A copy of `text`, owned by the caller; NULL gives NULL. */
char *alloc_string(const char *text);

/* printf into a new string, owned by the caller. */
char *alloc_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For CLEANUP_FREE only: frees *(void **)pointer. */
void alloc_free_pointer(void *pointer);
