/* SPDX-License-Identifier: MIT */
/*
 * The record and the manifest kept beside it, in StateDirectory=: reads them at a start, locks the folder,
 * and saves what changed. The latest state wins, one job at a time: what changes while one is under way goes
 * out with the next. Reading blocks on the medium and belongs before the loop runs; saving is a job on a pool
 * thread, and nothing else here blocks. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/io/pool.h"
#include "daemon/decide/record.h"

struct event_base;
struct record_store;

enum {
    /* How long falling back waits for the record, which has some KB: a slot that is not fit is left soon. */
    RECORD_STORE_WAIT_MS = 10 * 1000,
};

/* What it stands on; all outlive it. */
struct record_store_deps {
    struct event_base *base;
    struct pool *pool;
    const char *folder; /* StateDirectory= */
};

/* Both may ask for a save or a flush. */
struct record_store_events {
    void (*began)(void *owner); /* a job is the pool's, and waits for the medium */
    void (*ended)(void *owner); /* it returned */
};

/* What `flush` waited for is over: `error` is NULL where the record as it was then is on the medium. */
typedef void (*record_store_flushed_fn)(void *owner, const struct error *error);

/* A manifest and its signature as they were sent. The texts are zero-terminated; a signature of NULL is none.
 */
struct record_store_manifest {
    char *text, *signature;
    size_t size, signature_size;
};

/* Makes the folder where it is not there, locks it for this process and reads what it holds. Blocks. A record
 * that is not there gives an empty one; one that cannot be understood as well: it is moved aside to
 * record.json.bad, logged, and the record's last error. Fails where the folder cannot be had, is another
 * daemon's, or the record is there and cannot be read. The pool has to be freed before the store is. */
bool record_store_new(const struct record_store_deps *deps, const struct record_store_events *events,
                      void *owner, struct record_store **ret_store, struct error *error);

/* Gives the lock back; what was not saved is lost. NULL is fine. Returns NULL. */
struct record_store *record_store_free(struct record_store *store);

/* The record, to be looked at and changed on the loop; what is changed is on the medium after the next save.
 */
struct record *record_store_record(struct record_store *store);

/* The record changed: it is saved, soon. A save that fails is logged once in a row, and is not tried again by
 * itself: the next one does. */
void record_store_save(struct record_store *store);

/* Saves, and calls `then` when the record as it is now is on the medium, or could not be. One waiter at a
 * time.
 */
void record_store_flush(struct record_store *store, record_store_flushed_fn then);

/* The same for what is worth more than the record: where the medium does not answer, `then` comes with an
 * error after RECORD_STORE_WAIT_MS, and the save goes on for itself. */
void record_store_flush_soon(struct record_store *store, record_store_flushed_fn then);

/* Whether a job is under way, or somebody waits for one. */
bool record_store_is_busy(const struct record_store *store);

/* Copies the manifest; it goes to the medium with the next save, before the record that names it. */
void record_store_keep_manifest(struct record_store *store, const struct record_store_manifest *manifest);

/* What was to be kept and is not on the medium yet is not written any more. */
void record_store_drop_manifest(struct record_store *store);

/* Whether one is there. Blocks. */
bool record_store_has_manifest(const struct record_store *store);

/* Reads it, and its signature where one is there and `with_signature`; both are the caller's. A signature
 * that cannot be read is none. Blocks. */
bool record_store_read_manifest(const struct record_store *store, bool with_signature,
                                struct record_store_manifest *ret_manifest, struct error *error);
