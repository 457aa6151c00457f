/* SPDX-License-Identifier: MIT */
#include "daemon/face/api_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"

/* Connections that wait for accept(). Many more than the clients that are served: with a full queue a client
 * gets EAGAIN or hangs in connect(), while from the queue the server can choose whom it serves. */
enum { BACKLOG = 512 };

static bool make_address(const char *path, struct sockaddr_un *ret_address, struct error *error)
{
    size_t length = strlen(path);

    if (length == 0)
        return error_set(error, ERROR_REFUSED, "the API's socket has no path: set [Api] Socket=");
    if (length >= sizeof(ret_address->sun_path))
        return error_set(
            error, ERROR_REFUSED,
            "the path of the API's socket is %zu bytes long and the kernel takes at most %zu: choose a "
            "shorter one in [Api] Socket= than %s",
            length, sizeof(ret_address->sun_path) - 1, path);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, path, length);
    return true;
}

/* Removes a socket that nobody listens on any more; refuses everything else that stands at `path`. */
static bool clear_path(const char *path, const struct sockaddr_un *address, struct error *error)
{
    struct stat status;

    if (file_status_link(path, &status) < 0) {
        if (errno == ENOENT)
            return true;
        return error_set_errno(error, errno, "cannot look at %s, where the API's socket is to be", path);
    }
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_REFUSED,
                         "%s exists and is not a socket: move it away or choose another [Api] Socket=", path);

    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot create a Unix socket");
    /* EAGAIN means a live listener with a full queue. */
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        return error_set(error, ERROR_REFUSED,
                         "another moonsinterd listens at %s: stop it or choose another [Api] Socket=", path);
    if (errno == ENOENT)
        return true;
    if (errno != ECONNREFUSED)
        return error_set_errno(error, errno, "cannot tell whether the socket %s is in use", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "cannot remove the stale socket %s", path);
    return true;
}

/* From bind() on the file is there, but until listen() connecting is refused, so nobody slips in early. */
static bool bind_file(int fd, const char *path, const struct sockaddr_un *address,
                      const struct api_peer_group *group, int *ret_file_fd, struct error *error)
{
    struct stat status;

    /* On Linux the file gets the mode of the socket's own inode less the umask: it never has more than 0660.
     */
    if (fchmod(fd, 0660) < 0)
        return error_set_errno(error, errno, "cannot set the mode of the API's socket");
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        return error_set_errno(error, errno, "cannot create the API's socket %s", path);
    CLEANUP_FD int file_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file_fd < 0 || file_status_fd(file_fd, &status) < 0) {
        error_set_errno(error, errno, "cannot look at the API's socket %s", path);
    } else if (group->is_set && status.st_gid != group->gid && lchown(path, (uid_t)-1, group->gid) < 0) {
        error_set_errno(error, errno, "cannot give the API's socket %s to the group of [Api] Group=", path);
    } else if (chmod(path, 0660) < 0) {
        error_set_errno(error, errno, "cannot set the mode of the API's socket %s", path);
    } else if (listen(fd, BACKLOG) < 0) {
        error_set_errno(error, errno, "cannot listen at the API's socket %s", path);
    } else {
        *ret_file_fd = file_take_fd(&file_fd);
        return true;
    }
    unlink(path);
    return false;
}

bool api_socket_open(struct api_socket *ret_socket, const char *path, const struct api_peer_group *group,
                     struct error *error)
{
    struct sockaddr_un address;
    int file_fd = -1;

    if (!make_address(path, &address, error) || !file_make_parent(path, error) ||
        !clear_path(path, &address, error))
        return false;
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot create a Unix socket");
    if (!bind_file(fd, path, &address, group, &file_fd, error))
        return false;
    *ret_socket =
        (struct api_socket){.fd = file_take_fd(&fd), .file_fd = file_fd, .path = alloc_string(path)};
    return true;
}

static bool has_option(int fd, int option, int expected)
{
    int value;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == expected;
}

bool api_socket_adopt(struct api_socket *ret_socket, int fd, struct error *error)
{
    if (!has_option(fd, SO_DOMAIN, AF_UNIX) || !has_option(fd, SO_TYPE, SOCK_STREAM) ||
        !has_option(fd, SO_ACCEPTCONN, 1))
        return error_set(
            error, ERROR_REFUSED,
            "descriptor %d from socket activation is no listening Unix stream socket: moonsinterd.socket "
            "needs ListenStream= with a path",
            fd);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot use descriptor %d from socket activation", fd);
    *ret_socket = (struct api_socket){.fd = fd, .file_fd = -1};
    return true;
}

void api_socket_close(struct api_socket *socket)
{
    struct stat ours, found;

    if (socket->path && file_status_fd(socket->file_fd, &ours) == 0 &&
        file_status_link(socket->path, &found) == 0 && file_status_is_same(&ours, &found))
        unlink(socket->path);
    file_close_pointer(&socket->file_fd);
    file_close_pointer(&socket->fd);
    free(socket->path);
    *socket = (struct api_socket){.fd = -1, .file_fd = -1};
}
