/* SPDX-License-Identifier: MIT */
#include "daemon/parts/health_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file_status.h"
#include "common/base/folder.h"

const char *health_program_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

void health_list_finish(struct health_list *list)
{
    while (list->count)
        free(list->paths[--list->count]);
    free(list->not_executable);
    list->not_executable = NULL;
}

static bool add(const char *folder, const char *name, struct health_list *list, struct error *error)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, name);
    struct stat info;

    if (file_status(path, &info) < 0)
        return error_set_errno(error, errno, "%s cannot be looked at", path);
    if (!S_ISREG(info.st_mode))
        return true;
    if (!(info.st_mode & S_IXUSR)) {
        free(list->not_executable);
        list->not_executable = path;
        path = NULL;
        return true;
    }
    if (!file_status_check_owner(path, &info, error))
        return false;
    if (list->count == HEALTH_PROGRAMS_MAX)
        return error_set(error, ERROR_REFUSED, "%s holds more than %d programs", folder, HEALTH_PROGRAMS_MAX);
    list->paths[list->count++] = path;
    path = NULL;
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool health_list_read(const char *folder, bool optional, struct health_list *ret_list, struct error *error)
{
    struct health_list list = {.count = 0};
    struct stat info;
    bool done = true;

    if (optional && access(folder, F_OK) < 0 && errno == ENOENT) {
        *ret_list = list;
        return true;
    }
    CLEANUP_FOLDER DIR *stream = opendir(folder);
    if (!stream || file_status_fd(dirfd(stream), &info) < 0)
        done = error_set_errno(error, errno, "the folder of health checks %s cannot be read", folder);
    done = done && file_status_check_owner(folder, &info, error);
    while (done) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry && errno)
            done = error_set_errno(error, errno, "the folder of health checks %s cannot be read", folder);
        if (!entry)
            break;
        done = *entry->d_name == '.' || add(folder, entry->d_name, &list, error);
    }
    if (!done) {
        health_list_finish(&list);
        return false;
    }
    qsort(list.paths, list.count, sizeof(list.paths[0]), compare);
    *ret_list = list;
    return true;
}
