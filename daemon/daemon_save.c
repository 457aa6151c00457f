/* The record on its way to the medium: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/file.h"
#include "common/base/log.h"

/* On a thread. The manifest first: a record that names a manifest which is not there only costs one more
 * request, but it would be asked for conditionally and never come. */
static void save_run(struct pool_job *job)
{
    struct daemon_save *save = container_of(job, struct daemon_save, job);

    save->failed =
        (save->manifest_text &&
         !file_replace(save->manifest_path, save->manifest_text, save->manifest_size, 0644, &save->error)) ||
        !file_replace(save->record_path, save->record_text, strlen(save->record_text), 0600, &save->error);
}

static void save_submit(struct daemon *daemon)
{
    struct daemon_save *save = &daemon->save;

    save->busy = true;
    save->dirty = false;
    save->then_covered = save->then != NULL;
    save->record_text = record_format(daemon->record);
    if (save->manifest_dirty && daemon->release) {
        save->manifest_dirty = false;
        save->manifest_size = daemon->release->manifest_size;
        save->manifest_text = alloc_zeroed(save->manifest_size + 1);
        memcpy(save->manifest_text, daemon->release->manifest_text, save->manifest_size);
    }
    pool_submit(daemon->pool, &save->job);
    daemon_watch_jobs(daemon);
}

static void save_done(struct pool_job *job)
{
    struct daemon_save *save = container_of(job, struct daemon_save, job);
    struct daemon *daemon = container_of(save, struct daemon, save);
    daemon_saved_fn then = save->then_covered ? save->then : NULL;
    struct error error = save->error;
    bool failed = save->failed;

    save->busy = false;
    daemon_watch_jobs(daemon);
    free(save->record_text);
    save->record_text = NULL;
    if (failed && save->manifest_text)
        save->manifest_dirty = true;
    free(save->manifest_text);
    save->manifest_text = NULL;
    if (failed && !save->complained)
        log_error("the record cannot be saved, so a restart would forget: %s", error.message);
    save->complained = failed;
    if (then) {
        save->then = NULL;
        save->then_covered = false;
    }
    /* A failed save is not tried again by itself: the next change does. */
    if (save->dirty)
        save_submit(daemon);
    if (then)
        then(daemon, failed ? &error : NULL);
    daemon_settle(daemon);
}

void daemon_save_start(struct daemon *daemon)
{
    daemon->save.dirty = true;
    if (!daemon->save.busy)
        save_submit(daemon);
}

void daemon_save_then(struct daemon *daemon, daemon_saved_fn then)
{
    assert(!daemon->save.then);
    daemon->save.then = then;
    daemon_save_start(daemon);
}

/* Two daemons would each overwrite what the other one remembers. The lock ends with the process. */
static bool lock_folder(struct daemon *daemon, struct error *error)
{
    const char *path = daemon->fixed->state_directory;

    daemon->save.folder = opendir(path);
    if (!daemon->save.folder)
        return error_set_errno(error, errno, "cannot open StateDirectory=%s", path);
    if (flock(dirfd(daemon->save.folder), LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return error_set(error, ERROR_REFUSED,
                         "StateDirectory=%s is another moonsinterd's; stop that one first", path);
    return error_set_errno(error, errno, "cannot lock StateDirectory=%s", path);
}

bool daemon_save_init(struct daemon *daemon, struct error *error)
{
    struct daemon_save *save = &daemon->save;
    CLEANUP_FREE char *complaint = NULL;
    int result = file_make_folders(daemon->fixed->state_directory);

    if (result < 0)
        return error_set_errno(error, result, "cannot make StateDirectory=%s",
                               daemon->fixed->state_directory);
    if (!lock_folder(daemon, error))
        return false;
    save->job.run = save_run;
    save->job.done = save_done;
    save->record_path = alloc_printf("%s/record.json", daemon->fixed->state_directory);
    save->manifest_path = alloc_printf("%s/manifest.json", daemon->fixed->state_directory);
    daemon->record = alloc_zeroed(sizeof(*daemon->record));
    if (!record_load(save->record_path, daemon->record, &complaint, error))
        return false;
    if (complaint) {
        struct error loss;
        log_error("%s", complaint);
        error_set(&loss, ERROR_FORMAT, "%s", complaint);
        record_set_error(daemon->record, &loss, daemon_now_s());
    }
    return true;
}

void daemon_save_finish(struct daemon *daemon)
{
    free(daemon->save.record_text);
    free(daemon->save.manifest_text);
    free(daemon->save.record_path);
    free(daemon->save.manifest_path);
    free(daemon->record);
    if (daemon->save.folder)
        closedir(daemon->save.folder);
}
