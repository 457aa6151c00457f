#include "daemon/boot/uboot_env.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <libuboot.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

enum {
    CONFIG_SIZE_MAX = 16 * 1024, /* bytes of fw_env.config, which are mostly comments */
    COPIES_MAX = 2,
    LOCK_TIMEOUT_MS = 5000, /* a store takes a second or two on flash that has to be erased first */
    LOCK_RETRY_MS = 20,
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

    return fd >= 0 ||
           error_set_errno(error, errno,
                           "cannot open %s, which keeps fw_setenv from writing at the same time; let "
                           "moonsinterd.service write it by the drop-in for Backend=uboot (docs/boot.md)",
                           lock_path);
}

/* libubootenv takes the lock when it opens the environment, and waits for it without end; where it cannot be
 * opened, it goes on without, which does for reading. */
static bool await_lock(struct error *error)
{
    const struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000L};
    CLEANUP_FD int fd = lock_open();

    if (fd < 0)
        return true;
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited_ms += LOCK_RETRY_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set_errno(error, errno, "cannot take the lock %s", lock_path);
        if (waited_ms >= LOCK_TIMEOUT_MS)
            return error_set(error, ERROR_SYSTEM,
                             "another program holds %s, so U-Boot's environment cannot be read; fuser -v "
                             "shows which one, end it",
                             lock_path);
        nanosleep(&pause, NULL);
    }
    return true;
}

static bool environment_open(const char *config, struct environment *ret_environment, struct error *error)
{
    struct environment environment = {0};

    if (!await_lock(error))
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
    if (libuboot_open(environment.context) < 0) {
        environment_close(&environment);
        return error_set(error, ERROR_FORMAT,
                         "U-Boot's environment (%s) cannot be read: no copy has a valid checksum; saveenv in "
                         "U-Boot writes it anew, or fw_setenv -f with a file of the variables it begins with",
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

    if (!environment_open(config, &environment, error))
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

    /* Two programs that write at the same time leave an environment that is neither's. */
    if (!uboot_env_can_lock(error) || !environment_open(config, &environment, error))
        return false;
    bool done = compare(&environment, config, variables, count, &equal, error);
    if (done && (always || !equal)) {
        for (size_t i = 0; i < count && result == 0; i++)
            result = libuboot_set_env(environment.context, variables[i].name,
                                      *variables[i].value ? variables[i].value : NULL);
        if (result == 0)
            result = libuboot_env_store(environment.context);
        if (result < 0)
            done = error_set(error, ERROR_SYSTEM, "U-Boot's environment (%s) cannot be written", config);
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
    if (!each_device(config, settle_device, &copies, error) || !environment_open(config, &environment, error))
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
