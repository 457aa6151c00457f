/* SPDX-License-Identifier: MIT */
/*
 * The listening Unix socket as a file: made if the path is free or holds a dead daemon's socket, given its
 * owner and mode before anybody can connect, and removed at the end only if it is still the same file.
 * Touches the file system of the socket's folder (a tmpfs on real systems); at start and at exit only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/face/api_peer.h"

struct api_socket {
    int fd;      /* listening, non-blocking, close-on-exec */
    char *path;  /* to unlink at the end; NULL = do not */
    int file_fd; /* the socket's file (O_PATH), so that its inode number is not given to another one; or -1 */
};

/* Listens at `path` with mode 0660 and the group given; makes the folder if missing. */
bool api_socket_open(struct api_socket *ret_socket, const char *path, const struct api_peer_group *group,
                     struct error *error);

/* Takes over a listening socket from socket activation, after checking what it is. */
bool api_socket_adopt(struct api_socket *ret_socket, int fd, struct error *error);

/* Closes the socket, and unlinks the file if it was made by api_socket_open() and nobody replaced it. */
void api_socket_close(struct api_socket *socket);
