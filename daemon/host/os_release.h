/* SPDX-License-Identifier: MIT */
/*
 * What the system that runs says of its own version, in os-release(5): IMAGE_VERSION=, else VERSION_ID=.
 * Serves until something is recorded of the running slot. Whoever made the image wrote it, so it is a text to
 * show and nothing to decide by. Reading blocks on the medium; the rest is pure.
 */
#pragma once

#include <stddef.h>

/* Finds it in the file's text: the shell's quotes are taken away, control characters are blanks, what is
 * longer than the room is none. "" where there is none. Returns ret_version. */
char *os_release_find_version(const char *text, char *ret_version, size_t size);

/* The same of the system below `root` ("" = the one that runs), by /etc/os-release or /usr/lib/os-release. */
char *os_release_read_version(const char *root, char *ret_version, size_t size);
