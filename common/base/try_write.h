/* SPDX-License-Identifier: MIT */
/*
 * Writes to a pipe, a terminal or the journal's socket without waiting for a reader. Any thread.
 */
#pragma once

#include <stddef.h>

/* Writes as much of `data` as is taken now. Returns how many bytes that was: 0 if nobody reads, the other end
 * is closed, or an error occurred. To a pipe, up to PIPE_BUF bytes are written as a whole or not at all. A
 * regular file takes everything, and then this may block on the medium. */
size_t try_write(int fd, const void *data, size_t size);
