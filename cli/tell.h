/* SPDX-License-Identifier: MIT */
/*
 * Standard error, for sentences to people. Each sentence is one buffer, and a terminal stopped with Ctrl-S,
 * or a full pipe, delays neither the work nor a signal. Only this file writes to standard error. The main
 * thread only, except tell_now(), which a signal handler may call, too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Writes what descriptor `fd` takes without waiting, and drops the rest. Returns whether all was written.
 * Changes errno. */
bool tell_now(int fd, const char *text, size_t size);

/* Sets whether tell() may wait. It may from the start; switch it off while a loop runs and after a signal. */
void tell_set_patient(bool patient);

/* Writes a text to standard error. If it may wait, waits for the reader, until a handled signal comes; else
 * drops what cannot be written at once. */
void tell(const char *text);
