/* SPDX-License-Identifier: MIT */
#include "daemon/boot/uboot_env.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <libuboot.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "daemon/host/read_only.h"

/* Older C libraries have the member without its name. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    CONFIG_SIZE_MAX = 16 * 1024, /* bytes of fw_env.config, which are mostly comments */
    COPIES_MAX = 2,
    LOCK_TIMEOUT_MS = 5000, /* a store takes a second or two on flash that has to be erased first */
    ASK_TIMEOUT_MS = 2000,  /* whether it can be had at all */
    READ_TIMEOUT_MS = 300,  /* reading goes on without the lock, and is repeated if it met a store */
    LOCK_RETRY_MS = 20,
    READS_MAX = 8, /* without the lock, of what is just being written */
    READ_PAUSE_MS = 250,
};

/* libubootenv's and U-Boot's own tools'. */
static const char lock_path[] = "/var/lock/fw_printenv.lock";

struct environment {
    struct uboot_ctx *context;
    bool opened;
};

static void environment_close(struct environment *environment)
{
    if (environment->opened)
        libuboot_close(environment->context);
    if (environment->context)
        libuboot_exit(environment->context);
    *environment = (struct environment){0};
}

static int lock_open(void)
{
    return open(lock_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
}

bool uboot_env_can_lock(struct error *error)
{
    CLEANUP_FD int fd = lock_open();
    int code = errno;
    struct stat status;

    if (fd >= 0)
        return true;
    /* The kernel keeps root from what another user put into a folder that all may write to. */
    if (code == EACCES && file_status(lock_path, &status) == 0 && status.st_uid != geteuid())
        return error_set_errno(
            error, code,
            "cannot open %s, which belongs to user %u; remove it, and have systemd-tmpfiles "
            "make it root's at each start (moonsinter.conf of tmpfiles.d)",
            lock_path, (unsigned)status.st_uid);
    return error_set_errno(error, code,
                           "cannot open %s, which keeps fw_setenv from writing at the same time; let "
                           "moonsinterd.service write it by the drop-in for Backend=uboot (docs/boot.md)",
                           lock_path);
}

static void wait_ms(int milliseconds)
{
    const struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};

    nanosleep(&pause, NULL);
}

/* libubootenv takes the lock when it opens the environment, and waits for it without end; where it cannot be
 * opened, it goes on without, which does for reading. */
static bool await_lock(int timeout_ms, struct error *error)
{
    CLEANUP_FD int fd = lock_open();

    if (fd < 0)
        return true;
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited_ms += LOCK_RETRY_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(error, errno, "cannot take the lock %s", lock_path);
        if (waited_ms >= timeout_ms)
            return error_set(error, ERROR_SYSTEM,
                             "another program holds %s, so U-Boot's environment cannot be written; fuser -v "
                             "shows which one, end it",
                             lock_path);
        wait_ms(LOCK_RETRY_MS);
    }
    return true;
}

bool uboot_env_await_lock(struct error *error)
{
    return await_lock(ASK_TIMEOUT_MS, error);
}

/* --- reading without the lock --- */

/* Anybody who may open the lock file can hold the lock for ever; that must not keep this machine from knowing
 * what it boots. libubootenv goes on without the lock where flock() fails, so a signal to this very thread
 * ends the wait. */
struct interrupter {
    timer_t timer;
    bool armed;
    struct sigaction old_action;
    sigset_t old_mask;
};

enum { INTERRUPT_SIGNAL = SIGALRM };

static void on_interrupt(int number)
{
}

static void interrupter_start(struct interrupter *interrupter)
{
    const struct itimerspec times = {.it_value = {.tv_nsec = 20000000},
                                     .it_interval = {.tv_nsec = 200000000}};
    struct sigaction action = {.sa_handler = on_interrupt};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = INTERRUPT_SIGNAL};
    sigset_t mask;

    event.sigev_notify_thread_id = gettid();
    sigemptyset(&action.sa_mask);
    sigemptyset(&mask);
    sigaddset(&mask, INTERRUPT_SIGNAL);
    interrupter->armed = timer_create(CLOCK_MONOTONIC, &event, &interrupter->timer) == 0;
    if (!interrupter->armed)
        return;
    sigaction(INTERRUPT_SIGNAL, &action, &interrupter->old_action);
    pthread_sigmask(SIG_UNBLOCK, &mask, &interrupter->old_mask);
    timer_settime(interrupter->timer, 0, &times, NULL);
}

/* The timer goes before the handler: a signal still on its way would otherwise meet the default action, which
 * ends the process. */
static void interrupter_stop(struct interrupter *interrupter)
{
    if (!interrupter->armed)
        return;
    timer_delete(interrupter->timer);
    pthread_sigmask(SIG_SETMASK, &interrupter->old_mask, NULL);
    if (interrupter->old_action.sa_handler != SIG_DFL)
        sigaction(INTERRUPT_SIGNAL, &interrupter->old_action, NULL);
}

static int open_without_lock(struct environment *environment)
{
    struct interrupter interrupter;
    int result = -EINTR;

    interrupter_start(&interrupter);
    if (!interrupter.armed)
        return -EAGAIN;
    for (int i = 0; i < READS_MAX && result < 0; i++) {
        if (i)
            wait_ms(READ_PAUSE_MS);
        if (i)
            libuboot_close(environment->context);
        result = libuboot_open(environment->context);
    }
    interrupter_stop(&interrupter);
    return result;
}

/* --- */

/* `write`: the lock is required. */
static bool environment_open(const char *config, bool write, struct environment *ret_environment,
                             struct error *error)
{
    struct environment environment = {0};
    bool free_to_lock = await_lock(write ? LOCK_TIMEOUT_MS : READ_TIMEOUT_MS, error);

    if (!free_to_lock && write)
        return false;
    int result = libuboot_initialize(&environment.context, NULL);
    if (result == 0)
        result = libuboot_read_config(environment.context, config);
    if (result < 0) {
        environment_close(&environment);
        return error_set(error, ERROR_SYSTEM,
                         "%s does not lead to an environment of U-Boot's; is the device there, and may "
                         "moonsinterd open it?",
                         config);
    }
    environment.opened = true;
    result = free_to_lock ? libuboot_open(environment.context) : open_without_lock(&environment);
    if (result < 0) {
        environment_close(&environment);
        return error_set(
            error, ERROR_FORMAT,
            "U-Boot's environment (%s) cannot be read: no copy has a valid checksum. Compare the offsets, the "
            "sizes and the number of lines in that file with U-Boot's CONFIG_ENV_OFFSET, CONFIG_ENV_SIZE and "
            "CONFIG_SYS_REDUNDAND_ENVIRONMENT; until they fit, nothing may be written, for that destroys an "
            "environment that is whole (docs/boot.md)",
            config);
    }
    *ret_environment = environment;
    return true;
}

static bool get_variables(const struct environment *environment, const char *config,
                          struct uboot_env_variable *variables, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP_FREE char *value = libuboot_get_env(environment->context, variables[i].name);
        size_t length = value ? strlen(value) : 0;
        if (length >= sizeof(variables[i].value))
            return error_set(error, ERROR_FORMAT, "U-Boot's environment (%s) has %zu bytes in %s; correct it",
                             config, length, variables[i].name);
        memset(variables[i].value, 0, sizeof(variables[i].value));
        if (value)
            memcpy(variables[i].value, value, length);
    }
    return true;
}

bool uboot_env_read(const char *config, struct uboot_env_variable *variables, size_t count,
                    struct error *error)
{
    struct environment environment;

    if (!environment_open(config, false, &environment, error))
        return false;
    bool read = get_variables(&environment, config, variables, count, error);
    environment_close(&environment);
    return read;
}

/* Whether the environment holds just these values. */
static bool compare(const struct environment *environment, const char *config,
                    const struct uboot_env_variable *variables, size_t count, bool *ret_equal,
                    struct error *error)
{
    struct uboot_env_variable found[UBOOT_ENV_VARIABLES_MAX];

    assert(count <= UBOOT_ENV_VARIABLES_MAX);
    memcpy(found, variables, count * sizeof(*variables));
    if (!get_variables(environment, config, found, count, error))
        return false;
    *ret_equal = true;
    for (size_t i = 0; i < count; i++)
        *ret_equal &= strcmp(found[i].value, variables[i].value) == 0;
    return true;
}

static bool store(const char *config, const struct uboot_env_variable *variables, size_t count, bool always,
                  bool *ret_stored, struct error *error)
{
    struct environment environment;
    bool equal = false;
    int result = 0;

    /* Two programs that write at the same time would leave a mixed environment. */
    if (!uboot_env_can_lock(error) || !environment_open(config, true, &environment, error))
        return false;
    bool done = compare(&environment, config, variables, count, &equal, error);
    if (done && (always || !equal)) {
        for (size_t i = 0; i < count && result == 0; i++)
            result = libuboot_set_env(environment.context, variables[i].name,
                                      *variables[i].value ? variables[i].value : NULL);
        if (result == 0)
            result = libuboot_env_store(environment.context);
        if (result < 0)
            done = uboot_env_can_write(config, error) &&
                   error_set_errno(error, result, "U-Boot's environment (%s) cannot be written", config);
        *ret_stored = true;
    }
    environment_close(&environment);
    return done;
}

typedef bool (*device_fn)(const char *path, struct error *error);

/* Calls `device` for each line of fw_env.config that names one. */
static bool each_device(const char *config, device_fn device, unsigned *ret_count, struct error *error)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;
    char *line_rest = NULL;

    *ret_count = 0;
    if (!file_read(config, CONFIG_SIZE_MAX, &text, &size, error))
        return false;
    for (char *line = strtok_r(text, "\n", &line_rest); line; line = strtok_r(NULL, "\n", &line_rest)) {
        char *word_rest = NULL;
        char *path = strtok_r(line, " \t", &word_rest);
        if (!path || *path == '#')
            continue;
        if (++*ret_count <= COPIES_MAX && device && !device(path, error))
            return false;
    }
    if (*ret_count == 0 || *ret_count > COPIES_MAX)
        return error_set(error, ERROR_FORMAT,
                         "%s names %u copies of the environment; one or two lines are wanted", config,
                         *ret_count);
    return true;
}

bool uboot_env_can_write(const char *config, struct error *error)
{
    unsigned copies;

    return each_device(config, read_only_check, &copies, error);
}

/* libubootenv does not look at what its fsync() says, and would read back from the page cache. */
static bool settle_device(const char *path, struct error *error)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    if (fsync(fd) < 0 && errno != EINVAL) /* flash without a cache */
        return error_set_errno(error, errno, "cannot write %s", path);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return true;
}

bool uboot_env_write(const char *config, const struct uboot_env_variable *variables, size_t count,
                     bool always, struct error *error)
{
    struct environment environment;
    bool stored = false, equal = false;
    unsigned copies;

    if (!store(config, variables, count, always, &stored, error))
        return false;
    if (!stored)
        return true;
    if (!each_device(config, settle_device, &copies, error) ||
        !environment_open(config, false, &environment, error))
        return false;
    bool read = compare(&environment, config, variables, count, &equal, error);
    environment_close(&environment);
    if (read && !equal)
        return error_set(error, ERROR_SYSTEM,
                         "U-Boot's environment (%s) does not hold what was just stored in it", config);
    return read;
}

bool uboot_env_copies(const char *config, unsigned *ret_copies, struct error *error)
{
    return each_device(config, NULL, ret_copies, error);
}
