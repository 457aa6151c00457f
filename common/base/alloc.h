/* SPDX-License-Identifier: MIT */
/*
 * Allocates what is small and whose size the program itself decides. Nobody could handle a lack of memory for
 * that, so the program aborts. What is sized by the network or a file must be checked against a limit first
 * and come from malloc(), so that a lack of memory is an error with a sentence. What grows with the table of
 * chunks may come from here: common/sinter/table_room.h has made sure that there is memory for all of it.
 * Never blocks; any thread.
 */
#pragma once

#include <stddef.h>

/* Put before a pointer variable: frees what it points to when the variable goes out of scope. */
#define CLEANUP_FREE __attribute__((cleanup(alloc_free_pointer)))

/* Zeroed memory for one object of `size` bytes, owned by the caller; aborts instead of returning NULL. */
void *alloc_zeroed(size_t size) __attribute__((returns_nonnull));

/* Zeroed memory for `count` objects of `size` bytes, owned by the caller; aborts if there is none, or if the
 * product overflows. */
void *alloc_array(size_t count, size_t size) __attribute__((returns_nonnull));

/* Makes room for `count` objects of `size` bytes in a list that has room for *room: more than that, so that a
 * list which grows by one each time is seldom moved. Returns where the list is now; aborts like the others.
 */
void *alloc_grow(void *items, size_t size, size_t count, size_t *room) __attribute__((returns_nonnull));

/* A copy of `text`, owned by the caller; NULL if `text` is NULL. */
char *alloc_string(const char *text);

/* Prints into a new string, owned by the caller. */
char *alloc_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

/* For CLEANUP_FREE only: frees *(void **)pointer. */
void alloc_free_pointer(void *pointer);
