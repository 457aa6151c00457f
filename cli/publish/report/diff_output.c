/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/diff_output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"

enum { LINKS_MAX = 40 }; /* the kernel's limit */

static bool check_images(const char *path, const struct diff_images *images, struct error *error)
{
    struct stat file, image;

    if (file_status(path, &file) < 0)
        return true;
    for (unsigned i = 0; i < 2 * images->count; i++) {
        const char *name = i % 2 ? images->list[i / 2].old_path : images->list[i / 2].new_path;
        if (file_status(name, &image) == 0 && file_status_is_same(&file, &image))
            return error_set(
                error, ERROR_REFUSED,
                "the report would overwrite %s, which is to be compared; give --report another name", name);
    }
    return true;
}

/* The name that `path` leads to through all links, which need not exist; owned by the caller. NULL if there
 * are too many links. A link that another user put into a shared folder was refused by the kernel before. */
static char *follow_links(const char *path, struct error *error)
{
    char *name = alloc_string(path), target[PATH_MAX];

    for (int i = 0; i < LINKS_MAX; i++) {
        ssize_t size = readlink(name, target, sizeof(target) - 1);
        if (size < 0)
            return name; /* it is not a link */
        target[size] = 0;
        char *slash = target[0] == '/' ? NULL : strrchr(name, '/');
        char *next = alloc_printf("%.*s%s", slash ? (int)(slash + 1 - name) : 0, name, target);
        free(name);
        name = next;
    }
    free(name);
    error_set_errno(error, ELOOP, "cannot follow %s", path);
    return NULL;
}

static bool take_stream(struct diff_output *output, const char *path, struct error *error)
{
    output->kind = DIFF_OUTPUT_STREAM;
    /* For a named pipe this waits for its reader, as in a shell. */
    output->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (output->fd < 0)
        return error_set_errno(error, errno, "cannot open %s for the report", path);
    output->path = alloc_string(path);
    return true;
}

static bool take_file(struct diff_output *output, const char *path, const struct diff_images *images,
                      struct error *error)
{
    output->kind = DIFF_OUTPUT_FILE;
    output->path = follow_links(path, error);
    if (!output->path)
        return false;
    /* The file is first written under another name, which must not be an image's either. */
    CLEANUP_FREE char *temporary = alloc_printf("%s.new", output->path);
    return check_images(output->path, images, error) && check_images(temporary, images, error);
}

bool diff_output_init(struct diff_output *output, const char *path, const struct diff_images *images,
                      struct error *error)
{
    struct stat file;

    *output = (struct diff_output){.kind = DIFF_OUTPUT_STDOUT, .fd = -1};
    if (!*path)
        return error_set(error, ERROR_REFUSED, "--report needs the name of a file, and got an empty one");
    if (!check_images(path, images, error))
        return false;
    if (strcmp(path, "-") == 0 || output_is_file(STDOUT_FILENO, path))
        return true;
    if (file_status(path, &file) < 0)
        return errno == ENOENT ? take_file(output, path, images, error)
                               : error_set_errno(error, errno, "cannot write the report to %s", path);
    if (S_ISREG(file.st_mode))
        return take_file(output, path, images, error);
    if (S_ISDIR(file.st_mode) || S_ISBLK(file.st_mode))
        return error_set(error, ERROR_REFUSED, "%s is a %s; name a file for the report", path,
                         S_ISDIR(file.st_mode) ? "folder" : "block device");
    return take_stream(output, path, error);
}

bool diff_output_begin(struct diff_output *output, struct error *error)
{
    return output->kind != DIFF_OUTPUT_FILE || file_writer_new(output->path, 0644, &output->writer, error);
}

static bool write_stream(const struct diff_output *output, const char *data, size_t size, struct error *error)
{
    while (size > 0) {
        ssize_t put = write(output->fd, data, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return error_set_errno(error, put < 0 ? errno : ENOSPC, "cannot write the report to %s",
                                   output->path);
        data += put;
        size -= (size_t)put;
    }
    return true;
}

bool diff_output_write(struct diff_output *output, const char *data, size_t size, struct error *error)
{
    switch (output->kind) {
    case DIFF_OUTPUT_FILE:
        return file_writer_add(output->writer, data, size, error) &&
               file_writer_commit(output->writer, error);
    case DIFF_OUTPUT_STREAM:
        return write_stream(output, data, size, error);
    case DIFF_OUTPUT_STDOUT:
        output_write(data, size);
        return true;
    }
    return false;
}

void diff_output_remove(struct diff_output *output)
{
    if (output->writer)
        file_writer_remove(output->writer);
}

void diff_output_finish(struct diff_output *output)
{
    file_writer_free(output->writer);
    file_close_pointer(&output->fd);
    free(output->path);
}
