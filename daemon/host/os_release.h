/* SPDX-License-Identifier: MIT */
/*
 * The version that the running system states in os-release(5): IMAGE_VERSION=, else VERSION_ID=. Shown as
 * long as nothing is recorded of the running slot. The maker of the image wrote it, so nothing is decided
 * by it. Reading blocks on the medium; the rest is pure.
 */
#pragma once

#include <stddef.h>

/* Finds the version in the file's text: removes the shell's quotes, makes control characters blanks. "" if
 * there is none or it does not fit. Returns ret_version. */
char *os_release_find_version(const char *text, char *ret_version, size_t size);

/* Reads the version of the system below `root` ("" = the running one) from /etc/os-release or
 * /usr/lib/os-release. */
char *os_release_read_version(const char *root, char *ret_version, size_t size);
