/* SPDX-License-Identifier: MIT */
#include "cli/tell.h"

#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    /* How much can be written without waiting if poll() says so: to a pipe, and to a terminal, whose buffers
     * grow by 256 bytes and turn each line feed into two. */
    TELL_PIECE_SIZE = PIPE_BUF,
    TELL_TERMINAL_PIECE_SIZE = 128,
};

static bool is_patient = true;

static bool put(int fd, const char *text, size_t size, int timeout_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    size_t piece = TELL_PIECE_SIZE;

    if (size > TELL_TERMINAL_PIECE_SIZE && isatty(fd))
        piece = TELL_TERMINAL_PIECE_SIZE;
    while (size > 0) {
        if (poll(&ready, 1, timeout_ms) <= 0)
            return false;
        ssize_t written = write(fd, text, size < piece ? size : piece);
        if (written <= 0)
            return false;
        text += written;
        size -= (size_t)written;
    }
    return true;
}

bool tell_now(int fd, const char *text, size_t size)
{
    return put(fd, text, size, 0);
}

void tell_set_patient(bool patient)
{
    is_patient = patient;
}

void tell(const char *text)
{
    put(STDERR_FILENO, text, strlen(text), is_patient ? -1 : 0);
}
