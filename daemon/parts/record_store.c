/* SPDX-License-Identifier: MIT */
#include "daemon/parts/record_store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wall_clock.h"
#include "common/image/manifest.h"
#include "common/image/minisign.h"
#include "common/io/timer.h"

/* One save; belongs to the pool while `busy`. Its paths never change. */
struct job {
    struct pool_job pool;
    const char *folder;
    char *record_path, *manifest_path, *signature_path;
    char *demand_path; /* a file whose existence says, beside the record, that signatures are demanded */
    char *record_text;
    struct record_store_manifest manifest; /* text NULL = unchanged */
    bool demands_signatures;
    bool failed;
    struct error error;
};

struct record_store {
    struct record_store_deps deps;
    const struct record_store_events *events;
    void *owner;
    DIR *folder; /* locked against a second daemon */
    struct record record;
    struct job job;
    bool busy;                             /* the job belongs to the pool */
    bool dirty;                            /* the record changed since the job was submitted */
    struct record_store_manifest manifest; /* to be written with the next job; text NULL = none */
    bool is_last;    /* the job's manifest is the newest one, so it is written again if the job fails */
    bool complained; /* the last save failed and that was logged */
    record_store_flushed_fn then;
    bool then_covered;   /* the job under way holds what `then` waits for */
    struct timer *timer; /* when it fires, `then` is called without waiting for the save any longer */
};

static void free_manifest(struct record_store_manifest *manifest)
{
    free(manifest->text);
    free(manifest->signature);
    kept_parts_finish(&manifest->parts);
    *manifest = (struct record_store_manifest){0};
}

/* --- on a thread --- */

/* After a power cut between the two files the signature does not fit the manifest and counts as none, so
 * their order does not matter. */
static bool save_signature(struct job *job)
{
    const struct record_store_manifest *manifest = &job->manifest;

    if (manifest->signature)
        return file_replace(job->signature_path, manifest->signature, manifest->signature_size, 0644,
                            &job->error);
    if (unlink(job->signature_path) < 0 && errno != ENOENT)
        return error_set_errno(&job->error, errno, "cannot remove %s", job->signature_path);
    return true;
}

/* That signatures are demanded is kept in the record and in a file beside it, so that the loss of one of them
 * changes nothing. */
static bool save_demand(struct job *job)
{
    static const char text[] =
        "A signed release was accepted here, so signatures are demanded from then on.\n";

    if (!job->demands_signatures || access(job->demand_path, F_OK) == 0)
        return true;
    return file_replace(job->demand_path, text, strlen(text), 0644, &job->error);
}

static bool save_manifest(struct job *job)
{
    const struct record_store_manifest *manifest = &job->manifest;

    return !manifest->text ||
           (kept_parts_write(&manifest->parts, job->folder, &job->error) &&
            file_replace(job->manifest_path, manifest->text, manifest->size, 0644, &job->error) &&
            save_signature(job));
}

/* The manifest is written before the record that names it. In the other order a power cut could leave a
 * record with the ETag of a manifest that is missing: asked with that ETag, the server would never send the
 * manifest again. */
static void job_run(struct pool_job *pool_job)
{
    struct job *job = container_of(pool_job, struct job, pool);

    job->failed =
        !save_demand(job) || !save_manifest(job) ||
        !file_replace(job->record_path, job->record_text, strlen(job->record_text), 0600, &job->error);
    /* Only now nothing names what was kept before. */
    if (!job->failed && job->manifest.text)
        kept_parts_remove_others(&job->manifest.parts, job->folder);
}

/* --- saving --- */

static void submit(struct record_store *store)
{
    struct job *job = &store->job;

    store->busy = true;
    store->dirty = false;
    store->then_covered = store->then != NULL;
    job->record_text = record_format(&store->record);
    job->demands_signatures = store->record.signed_accepted;
    job->manifest = store->manifest;
    store->manifest = (struct record_store_manifest){0};
    store->is_last = job->manifest.text != NULL;
    pool_submit(store->deps.pool, &job->pool);
    store->events->began(store->owner);
}

static void forget_waiter(struct record_store *store)
{
    store->then = NULL;
    store->then_covered = false;
    timer_stop(store->timer);
}

static void job_done(struct pool_job *pool_job)
{
    struct job *job = container_of(pool_job, struct job, pool);
    struct record_store *store = container_of(job, struct record_store, job);
    record_store_flushed_fn then = store->then_covered ? store->then : NULL;
    struct error error = job->error;
    bool failed = job->failed;

    store->busy = false;
    free(job->record_text);
    job->record_text = NULL;
    if (failed && store->is_last) {
        store->manifest = job->manifest;
        job->manifest = (struct record_store_manifest){0};
    }
    free_manifest(&job->manifest);
    if (failed && !store->complained)
        log_error("the record cannot be saved, so a restart would forget: %s", error.message);
    store->complained = failed;
    if (then)
        forget_waiter(store);
    store->events->ended(store->owner);
    /* A failed save is not tried again by itself; the next change saves everything. */
    if (store->dirty && !store->busy)
        submit(store);
    if (then)
        then(store->owner, failed ? &error : NULL);
}

void record_store_save(struct record_store *store)
{
    store->dirty = true;
    if (!store->busy)
        submit(store);
}

void record_store_flush(struct record_store *store, record_store_flushed_fn then)
{
    assert(!store->then);
    store->then = then;
    record_store_save(store);
}

void record_store_flush_soon(struct record_store *store, record_store_flushed_fn then)
{
    record_store_flush(store, then);
    timer_start(store->timer, RECORD_STORE_WAIT_MS);
}

static void on_timer(void *owner)
{
    struct record_store *store = owner;
    record_store_flushed_fn then = store->then;
    struct error error;

    forget_waiter(store);
    error_set(&error, ERROR_SYSTEM, "the medium of StateDirectory= does not answer");
    log_error("the record is not saved, because %s; falling back does not wait for it", error.message);
    then(store->owner, &error);
}

bool record_store_is_busy(const struct record_store *store)
{
    return store->busy || store->then;
}

struct record *record_store_record(struct record_store *store)
{
    return &store->record;
}

/* --- the manifest --- */

/* A copy with a zero behind it, freed by the caller; NULL for NULL. */
static char *copy_bytes(const char *text, size_t size)
{
    if (!text)
        return NULL;
    char *copy = alloc_zeroed(size + 1);

    memcpy(copy, text, size);
    return copy;
}

void record_store_keep_manifest(struct record_store *store, const struct record_store_manifest *manifest)
{
    record_store_drop_manifest(store);
    store->manifest = (struct record_store_manifest){
        .text = copy_bytes(manifest->text, manifest->size),
        .size = manifest->size,
        .signature = copy_bytes(manifest->signature, manifest->signature_size),
        .signature_size = manifest->signature_size,
    };
    for (unsigned i = 0; i < manifest->parts.count; i++) {
        const struct kept_part *part = &manifest->parts.list[i];
        kept_parts_add(&store->manifest.parts, part->name, part->slot, part->text, part->size);
    }
}

void record_store_drop_manifest(struct record_store *store)
{
    free_manifest(&store->manifest);
    store->is_last = false;
}

bool record_store_has_manifest(const struct record_store *store)
{
    return access(store->job.manifest_path, F_OK) == 0;
}

bool record_store_read_manifest(const struct record_store *store, bool with_signature,
                                struct record_store_manifest *ret_manifest, struct error *error)
{
    struct record_store_manifest manifest = {0};

    if (!file_read(store->job.manifest_path, MANIFEST_SIZE_MAX, &manifest.text, &manifest.size, error))
        return false;
    if (with_signature && access(store->job.signature_path, F_OK) == 0)
        file_read(store->job.signature_path, MINISIGN_SIGNATURE_SIZE_MAX, &manifest.signature,
                  &manifest.signature_size, NULL);
    *ret_manifest = manifest;
    return true;
}

bool record_store_read_part(const struct record_store *store, const char *name, enum manifest_part_slot slot,
                            char **ret_text, size_t *ret_size, struct error *error)
{
    return kept_parts_read(store->deps.folder, name, slot, ret_text, ret_size, error);
}

/* --- at a start --- */

/* Two daemons would overwrite each other's record. The lock ends with the process. */
static bool lock_folder(struct record_store *store, struct error *error)
{
    const char *path = store->deps.folder;
    int result = file_make_folders(path);

    if (result < 0)
        return error_set_errno(error, result, "cannot make StateDirectory=%s", path);
    store->folder = opendir(path);
    if (!store->folder)
        return error_set_errno(error, errno, "cannot open StateDirectory=%s", path);
    if (flock(dirfd(store->folder), LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return error_set(error, ERROR_REFUSED,
                         "StateDirectory=%s is another moonsinterd's; stop that one first", path);
    return error_set_errno(error, errno, "cannot lock StateDirectory=%s", path);
}

/* Whether the file is there, or cannot be looked at and so may be there. */
static bool may_exist(const char *path)
{
    return access(path, F_OK) == 0 || errno != ENOENT;
}

/* Reports a lost record, at each start until there is a new one. */
static void note_loss(struct record_store *store, const char *complaint)
{
    struct error loss;

    log_error("%s", complaint);
    error_set(&loss, ERROR_FORMAT, "%s", complaint);
    record_set_error(&store->record, &loss, wall_clock_now_s());
}

/* A record that cannot be read from the medium is an error, so that it is not overwritten. One that can be
 * read but not understood is moved aside, for people to look at. */
static bool load_record(struct record_store *store, struct error *error)
{
    const char *path = store->job.record_path;
    CLEANUP_FREE char *text = NULL;
    size_t size = 0;
    struct error problem = {0};

    record_init(&store->record);
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return true;
    if (!file_read(path, RECORD_SIZE_MAX, &text, &size, &problem)) {
        if (problem.kind == ERROR_SYSTEM)
            return error_set(error, ERROR_SYSTEM, "the record cannot be read: %s", problem.message);
    } else if (record_parse(text, size, &store->record, &problem)) {
        return true;
    }

    CLEANUP_FREE char *aside = alloc_printf("%s.bad", path);
    bool moved = rename(path, aside) == 0;
    CLEANUP_FREE char *complaint =
        alloc_printf("%s cannot be understood and counts as absent (%s); it is kept as %s, and the "
                     "serial floor and the failed releases it held are forgotten",
                     path, problem.message, moved ? aside : path);
    note_loss(store, complaint);
    return true;
}

/* The loss of any one file must not end the demand for signatures; a kept signature also proves that a signed
 * release was accepted. Looked for at each start, because the daemon that moved a broken record aside may
 * have ended before it saved a new one. */
static void load_demand(struct record_store *store, bool had_record)
{
    const struct job *job = &store->job;
    CLEANUP_FREE char *aside = alloc_printf("%s.bad", job->record_path);
    bool demanded = may_exist(job->demand_path) || may_exist(job->signature_path);

    store->record.signed_accepted = store->record.signed_accepted || demanded;
    if (!had_record && (demanded || may_exist(job->manifest_path) || may_exist(aside))) {
        CLEANUP_FREE char *complaint = alloc_printf(
            "%s is not there, although moonsinterd ran with this folder before; the serial floor and the "
            "failed releases it held are forgotten",
            job->record_path);
        note_loss(store, complaint);
    }
}

static bool load(struct record_store *store, struct error *error)
{
    bool had_record = may_exist(store->job.record_path);

    if (!load_record(store, error))
        return false;
    load_demand(store, had_record);
    return true;
}

bool record_store_new(const struct record_store_deps *deps, const struct record_store_events *events,
                      void *owner, struct record_store **ret_store, struct error *error)
{
    struct record_store *store = alloc_zeroed(sizeof(*store));

    store->deps = *deps;
    store->events = events;
    store->owner = owner;
    store->job = (struct job){
        .pool = {.run = job_run, .done = job_done},
        .folder = deps->folder,
        .record_path = alloc_printf("%s/record.json", deps->folder),
        .manifest_path = alloc_printf("%s/manifest.json", deps->folder),
        .signature_path = alloc_printf("%s/manifest.json.minisig", deps->folder),
        .demand_path = alloc_printf("%s/signatures-demanded", deps->folder),
    };
    store->timer = timer_new(deps->base, on_timer, store);
    if (!lock_folder(store, error) || !load(store, error)) {
        record_store_free(store);
        return false;
    }
    *ret_store = store;
    return true;
}

struct record_store *record_store_free(struct record_store *store)
{
    if (!store)
        return NULL;
    timer_free(store->timer);
    free_manifest(&store->manifest);
    free_manifest(&store->job.manifest);
    free(store->job.record_text);
    free(store->job.record_path);
    free(store->job.manifest_path);
    free(store->job.signature_path);
    free(store->job.demand_path);
    if (store->folder)
        closedir(store->folder);
    free(store);
    return NULL;
}
