/* SPDX-License-Identifier: MIT */
#include "daemon/host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/io/timer.h"
#include "common/io/watch.h"
#include "daemon/host/environment.h"

enum {
    READ_SIZE = 16 * 1024,
    /* A program that prints without end is read at some 3 MB/s; the full pipe slows it down, and the loop has
     * time left. */
    PAUSE_MS = 5,
    /* How many reads after its end: together more than a pipe holds by default. */
    REST_READS = 8,
    KIND_MS = 2000,
    EXIT_NOT_STARTED = 127, /* as in a shell */
};

extern char **environ;

struct process {
    struct processes *processes;
    struct process *next, *previous;
    pid_t pid;
    int fd; /* its stdout and stderr */
    struct watch *readable;
    struct timer *resume; /* reading goes on */
    struct timer *kill_timer;
    char kept[PROCESS_OUTPUT_SIZE]; /* the last bytes, zero-terminated */
    size_t kept_size;
    bool cut;             /* earlier output was dropped */
    process_done_fn done; /* NULL = abandoned */
    void *owner;
};

struct processes {
    struct event_base *base;
    struct watch *child_signal;
    struct process *first;
};

/* --- what it prints --- */

static void keep(struct process *process, const char *bytes, size_t size)
{
    size_t room = sizeof(process->kept) - 1;

    if (size >= room) {
        process->cut |= process->kept_size > 0 || size > room;
        memcpy(process->kept, bytes + size - room, room);
        process->kept_size = room;
    } else {
        size_t over = process->kept_size + size > room ? process->kept_size + size - room : 0;
        process->cut |= over > 0;
        memmove(process->kept, process->kept + over, process->kept_size - over);
        memcpy(process->kept + process->kept_size - over, bytes, size);
        process->kept_size += size - over;
    }
    process->kept[process->kept_size] = 0;
    for (size_t i = 0; i < process->kept_size; i++)
        if (!process->kept[i])
            process->kept[i] = '?';
}

/* One read; false where nothing is left for now. */
static bool read_once(struct process *process, ssize_t *ret_size)
{
    char bytes[READ_SIZE];

    *ret_size = read(process->fd, bytes, sizeof(bytes));
    if (*ret_size > 0)
        keep(process, bytes, (size_t)*ret_size);
    return *ret_size > 0;
}

static void on_readable(void *owner, int fd)
{
    struct process *process = owner;
    ssize_t size;

    watch_stop(process->readable);
    if (read_once(process, &size) || (size < 0 && (errno == EAGAIN || errno == EINTR)))
        timer_start(process->resume, PAUSE_MS);
}

static void on_resume(void *owner)
{
    struct process *process = owner;

    watch_start(process->readable);
}

const char *process_get_output(struct process *process)
{
    ssize_t size;

    for (int i = 0; i < REST_READS && read_once(process, &size); i++)
        continue;
    /* Drops the first, cut line, unless it is all there is. */
    char *line_end = process->cut ? strchr(process->kept, '\n') : NULL;
    return line_end && line_end[1] ? line_end + 1 : process->kept;
}

/* --- its end --- */

static void process_free(struct process *process)
{
    if (process->previous)
        process->previous->next = process->next;
    else
        process->processes->first = process->next;
    if (process->next)
        process->next->previous = process->previous;
    watch_free(process->readable);
    timer_free(process->resume);
    timer_free(process->kill_timer);
    close(process->fd);
    free(process);
}

static void on_kill_timer(void *owner)
{
    struct process *process = owner;

    kill(-process->pid, SIGKILL);
}

/* Whether the program ended. Before its number can be used again, kills its group: what it started and left
 * behind. */
static bool reap(struct process *process, int *ret_status)
{
    siginfo_t info = {0};

    if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
        return false;
    kill(-process->pid, SIGKILL);
    return waitpid(process->pid, ret_status, WNOHANG) == process->pid;
}

static void on_child(void *owner, int signal_number)
{
    struct processes *processes = owner;
    struct process *next;

    for (struct process *process = processes->first; process; process = next) {
        int status;
        next = process->next;
        if (!reap(process, &status))
            continue;
        struct process_end end = {
            .status = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
            .output = process_get_output(process),
        };
        /* The callback may start programs, which are put in front, and abandon some, which stay in the list;
         * so the loop stays valid. */
        if (process->done)
            process->done(process->owner, &end);
        process_free(process);
    }
}

struct process *process_abandon(struct process *process)
{
    if (!process)
        return NULL;
    process->done = NULL;
    kill(-process->pid, SIGTERM);
    timer_start(process->kill_timer, KIND_MS);
    return NULL;
}

/* --- its beginning --- */

/* In the child of a program with threads: nothing here allocates or locks. All other open descriptors are
 * closed by exec. */
__attribute__((noreturn)) static void become(char *const *argv, char *const *environment, int fd)
{
    static const char why[] = "cannot be executed: ";
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &normal, NULL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(fd, STDOUT_FILENO) >= 0 &&
        dup2(fd, STDERR_FILENO) >= 0)
        execvpe(argv[0], argv, environment);
    const char *cause = strerrordesc_np(errno);
    if (write(fd, why, sizeof(why) - 1) < 0 || !cause || write(fd, cause, strlen(cause)) < 0)
        _exit(EXIT_NOT_STARTED);
    _exit(EXIT_NOT_STARTED);
}

/* fork() and not posix_spawn(), which would wait until the program is loaded, perhaps from a medium that
 * hangs. */
static bool fork_program(struct process *process, const char *const *argv, struct error *error)
{
    int fds[2];
    size_t count = 0;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "%s cannot be started: no pipe", argv[0]);
    while (argv[count])
        count++;
    CLEANUP_FREE char **arguments = alloc_zeroed((count + 1) * sizeof(*arguments));
    CLEANUP_FREE char **environment = environment_for_programs();
    /* execve() wants them without const and does not change them. */
    memcpy(arguments, argv, count * sizeof(*arguments));
    /* No signal handler may run in the child: it would report the child's signal to the daemon's loop. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    int result = errno;
    if (pid == 0) {
        setpgid(0, 0);
        become(arguments, environment, fds[1]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return error_set_errno(error, result, "%s cannot be started", argv[0]);
    }
    /* Parent and child both set the group, so that it is set whichever runs first. */
    setpgid(pid, pid);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    process->pid = pid;
    process->fd = fds[0];
    return true;
}

bool process_start(struct processes *processes, const char *const *argv, process_done_fn done, void *owner,
                   struct process **ret_process, struct error *error)
{
    struct process *process = alloc_zeroed(sizeof(*process));

    if (!fork_program(process, argv, error)) {
        free(process);
        return false;
    }
    process->processes = processes;
    process->done = done;
    process->owner = owner;
    process->readable = watch_new(processes->base, WATCH_READABLE, process->fd, on_readable, process);
    process->resume = timer_new(processes->base, on_resume, process);
    process->kill_timer = timer_new(processes->base, on_kill_timer, process);
    watch_start(process->readable);
    process->next = processes->first;
    if (process->next)
        process->next->previous = process;
    processes->first = process;
    *ret_process = process;
    return true;
}

struct processes *processes_new(struct event_base *base, struct error *error)
{
    struct processes *processes = alloc_zeroed(sizeof(*processes));

    processes->base = base;
    processes->child_signal = watch_new(base, WATCH_SIGNAL, SIGCHLD, on_child, processes);
    if (!watch_start(processes->child_signal)) {
        processes_free(processes);
        error_set(error, ERROR_SYSTEM, "the end of programs cannot be watched");
        return NULL;
    }
    return processes;
}

struct processes *processes_free(struct processes *processes)
{
    if (!processes)
        return NULL;
    for (struct process *process = processes->first, *next; process; process = next) {
        next = process->next;
        kill(-process->pid, SIGKILL);
        process_free(process);
    }
    watch_free(processes->child_signal);
    free(processes);
    return NULL;
}
