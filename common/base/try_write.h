/* SPDX-License-Identifier: MIT */
/*
 * Writing to somebody who may not read: a pipe, a terminal, the journal's socket. Never waits. Any thread.
 */
#pragma once

#include <stddef.h>

/* Writes as much of `data` as is taken now, and returns how much that was: 0 where nobody reads, the other
 * end is gone, or an error occurred. To a pipe, what has at most PIPE_BUF bytes is written whole or not at
 * all. A regular file takes everything, and that may wait for its medium. */
size_t try_write(int fd, const void *data, size_t size);
