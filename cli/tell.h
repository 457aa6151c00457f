/* SPDX-License-Identifier: MIT */
/*
 * Standard error, for whatever is said to people: each sentence is one buffer, and a terminal that was
 * stopped with Ctrl-S, or a pipe that is full, keeps neither the work nor a signal waiting. The process has
 * one standard error, and this is its owner. The main thread only, but for tell_now(), which a signal handler
 * may call, too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Writes what descriptor `fd` takes without waiting, and drops the rest. Returns whether all was taken; errno
 * is lost. */
bool tell_now(int fd, const char *text, size_t size);

/* Whether tell() may wait. It may from the start; not while a loop turns, and not after a signal. */
void tell_set_patient(bool patient);

/* Writes a text to standard error. Waits for whoever reads where it may, until a signal comes that somebody
 * handles; drops the rest otherwise. */
void tell(const char *text);
