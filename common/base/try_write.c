/* SPDX-License-Identifier: MIT */
#include "common/base/try_write.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* O_NONBLOCK would apply to everybody who shares the open file, a shell for example. So poll() is asked
 * before each piece: if it says that a pipe is ready, there is room for PIPE_BUF bytes. For a socket it does
 * not say how much room there is, but MSG_DONTWAIT keeps send() from waiting. */
size_t try_write(int fd, const void *data, size_t size)
{
    const char *bytes = data;
    size_t done = 0;

    while (done < size) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        size_t piece = size - done < PIPE_BUF ? size - done : PIPE_BUF;
        if (poll(&ready, 1, 0) != 1 || ready.revents != POLLOUT)
            break;
        ssize_t written = send(fd, bytes + done, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0 && errno == ENOTSOCK)
            written = write(fd, bytes + done, piece);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        done += (size_t)written;
    }
    return done;
}
