/* SPDX-License-Identifier: MIT */
#include "cli/session_checks.h"

#include <sys/resource.h>
#include <unistd.h>

#include "cli/output.h"
#include "common/io/http.h"

enum {
    /* Descriptors beside those for images, seeds and connections: standard streams, loop, name resolution,
     * and files that are read in passing. */
    OPEN_FILES = 15,
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
bool session_check_open_files(const struct session_images *images, unsigned connections, struct error *error)
{
    rlim_t needed = OPEN_FILES + (connections ? connections : HTTP_CONNECTIONS_DEFAULT);
    struct rlimit limit;

    for (unsigned i = 0; i < images->count; i++) {
        needed++;
        for (char *const *seed = images->list[i].seeds; *seed; seed++)
            needed++;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= needed)
        return true;
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    if (limit.rlim_cur == needed && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return true;
    return error_set(
        error, ERROR_REFUSED,
        "so many images, seeds and connections take %u open files, and this process may open %u; raise that with "
        "ulimit -n, or name fewer of them",
        (unsigned)needed, (unsigned)limit.rlim_max);
}
