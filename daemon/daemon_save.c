/* SPDX-License-Identifier: MIT */
/* The record on its way to the medium: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "daemon/work/record_file.h"

/* A signature of another manifest would be as good as none, so which of the two comes first means nothing. */
static bool save_signature(struct daemon_save *save)
{
    if (save->signature_text)
        return file_replace(save->signature_path, save->signature_text, save->signature_size, 0644,
                            &save->error);
    if (unlink(save->signature_path) < 0 && errno != ENOENT)
        return error_set_errno(&save->error, errno, "cannot remove %s", save->signature_path);
    return true;
}

/* Whether it is there; one that cannot be looked at may be. */
static bool may_exist(const char *path)
{
    return access(path, F_OK) == 0 || errno != ENOENT;
}

/* That signatures are demanded from now on is told by the record, and once more beside it: whatever becomes
 * of one of the two, the other one is there, at the next start and at the one after. */
static bool save_demand(struct daemon_save *save)
{
    static const char text[] =
        "A signed release was accepted here, so signatures are demanded from then on.\n";

    if (!save->demands_signatures || access(save->demand_path, F_OK) == 0)
        return true;
    return file_replace(save->demand_path, text, strlen(text), 0644, &save->error);
}

/* On a thread. The manifest first: a record that names a manifest which is not there only costs one more
 * request, but it would be asked for conditionally and never come. */
static void save_run(struct pool_job *job)
{
    struct daemon_save *save = container_of(job, struct daemon_save, job);

    save->failed =
        !save_demand(save) ||
        (save->manifest_text &&
         (!file_replace(save->manifest_path, save->manifest_text, save->manifest_size, 0644, &save->error) ||
          !save_signature(save))) ||
        !file_replace(save->record_path, save->record_text, strlen(save->record_text), 0600, &save->error);
}

/* Owned by the caller. */
static char *copy_bytes(const char *text, size_t size)
{
    char *copy = alloc_zeroed(size + 1);

    memcpy(copy, text, size);
    return copy;
}

static void save_submit(struct daemon *daemon)
{
    struct daemon_save *save = &daemon->save;

    save->busy = true;
    save->dirty = false;
    save->then_covered = save->then != NULL;
    save->record_text = record_format(daemon->record);
    save->demands_signatures = daemon->record->signed_accepted;
    if (save->manifest_dirty && daemon->release) {
        const struct release *release = daemon->release;
        save->manifest_dirty = false;
        save->manifest_size = release->manifest_size;
        save->manifest_text = copy_bytes(release->manifest_text, save->manifest_size);
        save->signature_size = release->signature_size;
        save->signature_text =
            release->verdict.is_signed ? copy_bytes(release->signature_text, save->signature_size) : NULL;
    }
    pool_submit(daemon->pool, &save->job);
    daemon_watch_jobs(daemon);
}

static void forget_waiter(struct daemon *daemon)
{
    daemon->save.then = NULL;
    daemon->save.then_covered = false;
    event_del(daemon->save_timer);
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
    free(save->signature_text);
    save->manifest_text = save->signature_text = NULL;
    if (failed && !save->complained)
        log_error("the record cannot be saved, so a restart would forget: %s", error.message);
    save->complained = failed;
    if (then)
        forget_waiter(daemon);
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

void daemon_save_then_soon(struct daemon *daemon, daemon_saved_fn then)
{
    daemon_save_then(daemon, then);
    daemon_arm_timer(daemon->save_timer, DAEMON_RECORD_WAIT_MS);
}

void daemon_save_on_timer(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;
    daemon_saved_fn then = daemon->save.then;
    struct error error;

    forget_waiter(daemon);
    error_set(&error, ERROR_SYSTEM, "the medium of StateDirectory= does not answer");
    log_error("the record is not saved, because %s; falling back does not wait for it", error.message);
    then(daemon, &error);
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

/* A record that is lost is said, at every start until there is another one. */
static void note_loss(struct daemon *daemon, const char *complaint)
{
    struct error loss;

    log_error("%s", complaint);
    error_set(&loss, ERROR_FORMAT, "%s", complaint);
    record_set_error(daemon->record, &loss, daemon_now_s());
}

/* Trust must not go with one file, whichever that is: what was kept signed was accepted by a key, too. Asked
 * at each start, for the one that set a broken record aside may have ended before it saved anything. */
static void load_demand(struct daemon *daemon, bool had_record)
{
    struct daemon_save *save = &daemon->save;
    CLEANUP_FREE char *aside = alloc_printf("%s.bad", save->record_path);
    bool demanded = may_exist(save->demand_path) || may_exist(save->signature_path);

    daemon->record->signed_accepted = daemon->record->signed_accepted || demanded;
    if (!had_record && (demanded || may_exist(save->manifest_path) || may_exist(aside))) {
        CLEANUP_FREE char *complaint = alloc_printf(
            "%s is not there, although moonsinterd ran with this folder before; the serial floor and the "
            "failed releases it held are forgotten",
            save->record_path);
        note_loss(daemon, complaint);
    }
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
    save->signature_path = alloc_printf("%s.minisig", save->manifest_path);
    save->demand_path = alloc_printf("%s/signatures-demanded", daemon->fixed->state_directory);
    daemon->record = alloc_zeroed(sizeof(*daemon->record));
    bool had_record = may_exist(save->record_path);
    if (!record_load(save->record_path, daemon->record, &complaint, error))
        return false;
    if (complaint)
        note_loss(daemon, complaint);
    load_demand(daemon, had_record);
    return true;
}

void daemon_save_finish(struct daemon *daemon)
{
    free(daemon->save.record_text);
    free(daemon->save.manifest_text);
    free(daemon->save.record_path);
    free(daemon->save.manifest_path);
    free(daemon->save.signature_text);
    free(daemon->save.signature_path);
    free(daemon->save.demand_path);
    free(daemon->record);
    if (daemon->save.folder)
        closedir(daemon->save.folder);
}
