/* SPDX-License-Identifier: MIT */
#include "daemon/boot/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/wall_clock.h"
#include "daemon/host/environment.h"

extern char **environ;

enum { ARGUMENTS_MAX = 8 };

/* One of its output streams. */
struct stream {
    int fd; /* -1 = at its end */
    char *text;
    size_t length;
    bool too_long;
};

static int spawn(const char *const *arguments, int output, int complaint, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    /* posix_spawn() wants the arguments without const and does not change them. */
    char *copies[ARGUMENTS_MAX + 1] = {0};

    assert(arguments[0]);
    for (size_t i = 0; i < ARGUMENTS_MAX && arguments[i]; i++)
        memcpy(&copies[i], &arguments[i], sizeof(copies[i]));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, complaint, STDERR_FILENO);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    CLEANUP_FREE char **environment = environment_for_programs();
    int result = posix_spawn(ret_pid, arguments[0], &actions, &attributes, copies, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -result;
}

/* Reads what is there, without waiting. */
static void drain(struct stream *stream)
{
    char rest[256];

    while (stream->fd >= 0) {
        size_t room = CHILD_OUTPUT_SIZE - 1 - stream->length;
        ssize_t got =
            read(stream->fd, room ? stream->text + stream->length : rest, room ? room : sizeof(rest));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            stream->fd = -1;
        } else if (room) {
            stream->length += (size_t)got;
        } else {
            stream->too_long = true;
            return;
        }
    }
}

/* Collects output until the program has ended; false if that takes too long. */
static bool wait_for_end(int pidfd, struct stream *output, struct stream *complaint, unsigned timeout_ms)
{
    uint64_t end_ms = wall_clock_steady_ms() + timeout_ms;

    for (;;) {
        struct pollfd polled[] = {{.fd = pidfd, .events = POLLIN},
                                  {.fd = output->fd, .events = POLLIN},
                                  {.fd = complaint->fd, .events = POLLIN}};
        uint64_t time_ms = wall_clock_steady_ms();
        if (time_ms >= end_ms || output->too_long)
            return output->too_long;
        if (poll(polled, 3, (int)(end_ms - time_ms)) < 0 && errno != EINTR)
            return false;
        /* In this order: what it wrote before it ended is there when its end is seen. */
        drain(output);
        drain(complaint);
        if (polled[0].revents)
            return true;
    }
}

bool child_run(const char *const *arguments, unsigned timeout_ms, struct child_result *ret_result,
               struct error *error)
{
    int output[2] = {-1, -1}, complaint[2] = {-1, -1}, status = 0;
    pid_t pid;

    if (pipe2(output, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot run %s", arguments[0]);
    CLEANUP_FD int output_fd = output[0];
    CLEANUP_FD int output_end = output[1];
    if (pipe2(complaint, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot run %s", arguments[0]);
    CLEANUP_FD int complaint_fd = complaint[0];
    CLEANUP_FD int complaint_end = complaint[1];
    fcntl(output_fd, F_SETFL, O_NONBLOCK);
    fcntl(complaint_fd, F_SETFL, O_NONBLOCK);

    memset(ret_result, 0, sizeof(*ret_result));
    struct stream out = {.fd = output_fd, .text = ret_result->output};
    struct stream complaints = {.fd = complaint_fd, .text = ret_result->complaint};
    int result = spawn(arguments, output_end, complaint_end, &pid);
    if (result < 0)
        return error_set_errno(error, result, "cannot run %s", arguments[0]);
    CLEANUP_FD int pidfd = pidfd_open(pid, 0);
    bool ended = pidfd >= 0 && wait_for_end(pidfd, &out, &complaints, timeout_ms);
    /* Also ends what the program started and left behind. */
    kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    drain(&out);
    if (!ended)
        return error_set(error, ERROR_SYSTEM, "%s %s did not end within %u s", arguments[0],
                         arguments[1] ? arguments[1] : "", timeout_ms / 1000);
    if (out.too_long)
        return error_set(error, ERROR_FORMAT, "%s %s writes more than %d bytes", arguments[0],
                         arguments[1] ? arguments[1] : "", CHILD_OUTPUT_SIZE - 1);
    ret_result->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}
