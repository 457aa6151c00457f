/* SPDX-License-Identifier: MIT */
#include "cli/output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file_status.h"
#include "common/io/watch.h"

/* The process has one standard output, and only this file writes to it. */
struct output {
    char *data; /* the bytes from `begin` to `end` are not yet written */
    size_t begin, end, room;
    bool failed;         /* writing failed: nothing more is written */
    bool dropped;        /* something was left out */
    struct watch *watch; /* NULL: no loop watches */
};

static struct output standard_output;

/* If poll() says that a pipe or a terminal is writable, so much can be written without waiting. */
enum { OUTPUT_PIECE_SIZE = PIPE_BUF };

static void append(struct output *output, const char *data, size_t size)
{
    if (output->failed)
        return;
    if (output->begin > 0 && output->end + size > output->room) {
        memmove(output->data, output->data + output->begin, output->end - output->begin);
        output->end -= output->begin;
        output->begin = 0;
    }
    if (output->end + size > output->room) {
        size_t room = output->room ? output->room : 16384;
        while (room < output->end + size)
            room *= 2;
        char *larger = realloc(output->data, room);
        if (!larger) {
            output->dropped = true;
            return;
        }
        output->data = larger;
        output->room = room;
    }
    memcpy(output->data + output->end, data, size);
    output->end += size;
}

/* Writes one piece. False if no more can be written now: there is no room, or a signal came, which must be
 * handled. */
static bool write_piece(struct output *output, int timeout_ms)
{
    struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
    size_t size = output->end - output->begin;

    if (poll(&ready, 1, timeout_ms) <= 0)
        return false;
    ssize_t put = write(STDOUT_FILENO, output->data + output->begin,
                        size < OUTPUT_PIECE_SIZE ? size : OUTPUT_PIECE_SIZE);
    if (put < 0) {
        output->failed = errno != EAGAIN && errno != EINTR;
        return false;
    }
    output->begin += (size_t)put;
    return true;
}

static bool has_waiting(const struct output *output)
{
    return !output->failed && output->begin < output->end;
}

void output_flush(void)
{
    struct output *output = &standard_output;

    while (has_waiting(output) && write_piece(output, 0))
        ;
    if (!output->watch)
        return;
    if (has_waiting(output))
        watch_start(output->watch);
    else
        watch_stop(output->watch);
}

bool output_is_written(void)
{
    output_flush();
    return !has_waiting(&standard_output);
}

void output_write(const char *data, size_t size)
{
    append(&standard_output, data, size);
    output_flush();
}

void output_add_line(const char *data, size_t size)
{
    struct output *output = &standard_output;

    if (output->end - output->begin + size > OUTPUT_WAITING_MAX)
        output->dropped = true;
    else
        append(output, data, size);
}

static void on_writable(void *owner, int fd)
{
    output_flush();
}

void output_watch(struct event_base *base)
{
    struct output *output = &standard_output;

    watch_free(output->watch);
    output->watch = base ? watch_new(base, WATCH_WRITABLE, STDOUT_FILENO, on_writable, NULL) : NULL;
    output_flush();
}

bool output_finish(bool wait)
{
    struct output *output = &standard_output;

    output_flush();
    while (wait && has_waiting(output))
        write_piece(output, -1);
    bool is_whole = !output->failed && !output->dropped && output->begin == output->end;
    free(output->data);
    *output = (struct output){.failed = output->failed, .dropped = output->dropped};
    return is_whole;
}

bool output_is_file(int fd, const char *path)
{
    struct stat stream, file;

    return file_status_fd(fd, &stream) == 0 && file_status(path, &file) == 0 &&
           file_status_is_same(&stream, &file);
}
