/* SPDX-License-Identifier: MIT */
#include "daemon/work/record_file.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

bool record_load(const char *path, struct record *record, char **ret_complaint, struct error *error)
{
    CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    struct error problem = {0};

    *ret_complaint = NULL;
    record_init(record);
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return true;
    if (!file_read(path, RECORD_SIZE_MAX, &text, &size, &problem)) {
        /* A medium that cannot be read is no reason to forget what stands on it. */
        if (problem.kind == ERROR_SYSTEM)
            return error_set(error, ERROR_SYSTEM, "the record cannot be read: %s", problem.message);
    } else if (record_parse(text, size, record, &problem)) {
        return true;
    }

    CLEANUP_FREE char *aside = alloc_printf("%s.bad", path);
    bool moved = rename(path, aside) == 0;
    *ret_complaint =
        alloc_printf("%s cannot be understood and counts as absent (%s); it is kept as %s, and the "
                     "serial floor and the failed releases it held are forgotten",
                     path, problem.message, moved ? aside : path);
    return true;
}
