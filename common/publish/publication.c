/* SPDX-License-Identifier: MIT */
#include "common/publish/publication.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file_status.h"

/* The thread that commits and the one that abandons both leave PUBLICATION_OPEN; only the first can. */
enum publication_state {
    PUBLICATION_OPEN,
    PUBLICATION_COMMITTING,
    PUBLICATION_ABANDONED,
};

struct publication {
    struct file_writer *writers[PUBLICATION_FILES]; /* NULL = not to be written */
    atomic_int state;                               /* enum publication_state */
};

static const char *const suffixes[PUBLICATION_FILES] = {
    [PUBLICATION_PACK] = ".pack",
    [PUBLICATION_TABLE] = ".chunks",
    [PUBLICATION_SIGNATURE] = ".json.minisig",
    [PUBLICATION_MANIFEST] = ".json",
};

/* Refuses if `path`, which is to be written, is one of the files that are read. */
static bool check_inputs(const struct publication_settings *settings, const char *path, struct error *error)
{
    struct stat output, input;

    if (file_status(path, &output) < 0)
        return true;
    for (uint32_t i = 0; i < settings->input_count; i++)
        if (file_status(settings->inputs[i], &input) == 0 && file_status_is_same(&input, &output))
            return error_set(
                error, ERROR_REFUSED,
                "%s would be overwritten by %s, which is written here; give one of them another name",
                settings->inputs[i], path);
    return true;
}

/* Refuses if the rename to `path` would fail, which would show only after other files have been renamed: for
 * a folder, an attribute, a mount point, or another user's file in a folder with the sticky bit. */
static bool check_place(const char *path, struct error *error)
{
    CLEANUP_FREE char *folder = file_folder(path);
    struct stat place, above;
    uid_t user = geteuid();

    if (file_status_link(path, &place) < 0)
        return errno == ENOENT || error_set_errno(error, errno, "cannot look at %s", path);
    if (S_ISDIR(place.st_mode))
        return error_set(error, ERROR_REFUSED, "%s is a folder, and a file is to be written there; remove it",
                         path);
    if (file_status_is_fixed(path))
        return error_set(error, ERROR_REFUSED,
                         "%s may not be replaced; take its attributes away with chattr -ia", path);
    if (file_status_is_mounted(path))
        return error_set(error, ERROR_REFUSED,
                         "%s is a mount point and cannot be replaced; unmount it, or publish elsewhere",
                         path);
    if (user == 0 || file_status(folder, &above) < 0 || !(above.st_mode & S_ISVTX))
        return true;
    return place.st_uid == user || above.st_uid == user ||
           error_set(
               error, ERROR_REFUSED,
               "%s belongs to another user, and its folder lets nobody else replace it; publish elsewhere",
               path);
}

static bool open_file(struct publication *publication, const struct publication_settings *settings,
                      enum publication_file file, struct error *error)
{
    CLEANUP_FREE char *path = alloc_printf("%s%s", settings->image_path, suffixes[file]);
    CLEANUP_FREE char *temporary = alloc_printf("%s.new", path);
    struct error why;

    if (!check_place(path, error) || !check_place(temporary, error) || !check_inputs(settings, path, error) ||
        !check_inputs(settings, temporary, error))
        return false;
    if (file_writer_new(path, 0644, &publication->writers[file], &why))
        return true;
    if (why.code == EBUSY)
        error_set(&why, ERROR_REFUSED, "another generate is at work on %s; wait until it has ended",
                  settings->image_path);
    if (error)
        *error = why;
    return false;
}

bool publication_new(const struct publication_settings *settings, struct publication **ret_publication,
                     struct error *error)
{
    struct publication *publication = alloc_zeroed(sizeof(*publication));
    bool wanted[PUBLICATION_FILES] = {
        [PUBLICATION_PACK] = settings->with_pack,
        [PUBLICATION_TABLE] = true,
        [PUBLICATION_SIGNATURE] = settings->with_signature,
        [PUBLICATION_MANIFEST] = true,
    };

    /* The manifest is opened first: every publication has one, so its lock keeps others from all files. */
    for (int file = PUBLICATION_FILES - 1; file >= 0; file--)
        if (wanted[file] && !open_file(publication, settings, (enum publication_file)file, error)) {
            publication_free(publication);
            return false;
        }
    *ret_publication = publication;
    return true;
}

struct file_writer *publication_writer(struct publication *publication, enum publication_file file)
{
    return publication->writers[file];
}

bool publication_commit(struct publication *publication, struct error *error)
{
    int open = PUBLICATION_OPEN;

    for (int file = 0; file < PUBLICATION_FILES; file++)
        if (publication->writers[file] && !file_writer_sync(publication->writers[file], error))
            return false;
    if (!atomic_compare_exchange_strong(&publication->state, &open, PUBLICATION_COMMITTING))
        return error_set(error, ERROR_CANCELLED, "the publication was cancelled");
    for (int file = 0; file < PUBLICATION_FILES; file++)
        if (publication->writers[file] && !file_writer_commit(publication->writers[file], error))
            return false;
    return true;
}

bool publication_abandon(struct publication *publication)
{
    int open = PUBLICATION_OPEN;

    if (!atomic_compare_exchange_strong(&publication->state, &open, PUBLICATION_ABANDONED))
        return open == PUBLICATION_ABANDONED;
    for (int file = 0; file < PUBLICATION_FILES; file++)
        if (publication->writers[file])
            file_writer_remove(publication->writers[file]);
    return true;
}

struct publication *publication_free(struct publication *publication)
{
    if (!publication)
        return NULL;
    /* The manifest is closed last, as its lock keeps others from all files. */
    for (int file = 0; file < PUBLICATION_FILES; file++)
        file_writer_free(publication->writers[file]);
    free(publication);
    return NULL;
}
