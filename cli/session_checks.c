/* SPDX-License-Identifier: MIT */
#include "cli/session_checks.h"

#include <sys/resource.h>
#include <unistd.h>

#include "cli/output.h"
#include "common/io/device.h"
#include "common/io/http.h"

enum {
    /* Descriptors beside those for seeds and connections: standard streams, loop, output, name resolution,
     * and files that are read in passing. */
    OPEN_FILES = 16,
};

bool session_check_target(const char *target, struct error *error)
{
    bool is_output = output_is_file(STDOUT_FILENO, target);

    if (!is_output && !output_is_file(STDERR_FILENO, target))
        return true;
    return error_set(
        error, ERROR_REFUSED,
        "OUTPUT is %s, which is also where %s goes, so the two would be mixed; send that elsewhere", target,
        is_output ? "standard output" : "standard error");
}

/* Without this check seeds, connections or the last steps would fail later, each with a different error. */
bool session_check_open_files(char *const *seeds, unsigned connections, struct error *error)
{
    rlim_t needed = OPEN_FILES + (connections ? connections : HTTP_CONNECTIONS_DEFAULT);
    struct rlimit limit;

    for (char *const *seed = seeds; *seed; seed++)
        needed++;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= needed)
        return true;
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    if (limit.rlim_cur == needed && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return true;
    return error_set(
        error, ERROR_REFUSED,
        "so many seeds and connections take %u open files, and this process may open %u; raise that with "
        "ulimit -n, or name fewer of them",
        (unsigned)needed, (unsigned)limit.rlim_max);
}

bool session_check_outputs(const struct session_images *images, struct error *error)
{
    struct device *held[1 + MANIFEST_PARTS_MAX] = {0};
    bool ok = true;

    for (unsigned i = 0; ok && i < images->count; i++) {
        ok = device_try_target(images->list[i].target, &held[i], error);
        if (held[i] && !device_is_block(held[i]))
            held[i] = device_close(held[i]);
    }
    for (unsigned i = 0; i < images->count; i++)
        device_close(held[i]);
    return ok;
}
