/* SPDX-License-Identifier: MIT */
/*
 * The record, and the manifests kept beside it, in StateDirectory=: reads them at the start, locks the
 * folder, and saves what changed. One save at a time; what changes during a save goes out with the next
 * one. Reading blocks on the medium and belongs before the loop runs; saving is a job on a pool thread,
 * and nothing else blocks. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/io/pool.h"
#include "daemon/decide/record.h"
#include "daemon/host/kept_parts.h"

struct event_base;
struct record_store;

enum {
    /* How long falling back waits for the record to be saved, which has some KB: a slot that failed is to be
     * left soon. */
    RECORD_STORE_WAIT_MS = 10 * 1000,
};

/* What it uses; all of it outlives the store. */
struct record_store_deps {
    struct event_base *base;
    struct pool *pool;
    const char *folder; /* StateDirectory= */
};

/* A save or a flush may be asked for from within both. */
struct record_store_events {
    void (*began)(void *owner); /* a save was given to the pool and waits for the medium */
    void (*ended)(void *owner); /* the save returned */
};

/* The flush is over; `error` is NULL if the record as it was at the flush is on the medium. */
typedef void (*record_store_flushed_fn)(void *owner, const struct error *error);

/* A manifest and its signature as the server sent them, zero-terminated; signature NULL = none. Of a set,
 * with the manifests of all parts. */
struct record_store_manifest {
    char *text, *signature;
    size_t size, signature_size;
    struct kept_parts parts;
};

/* Makes the folder if it is missing, locks it for this process and reads what it holds. Blocks. If there is
 * no record, begins with an empty one; also if it cannot be understood: then it is moved to record.json.bad,
 * which is logged and is the record's last error. Fails if the folder cannot be made or opened, another
 * daemon has locked it, or the record is there and cannot be read. */
bool record_store_new(const struct record_store_deps *deps, const struct record_store_events *events,
                      void *owner, struct record_store **ret_store, struct error *error);

/* Unlocks the folder; what was not saved is lost. Free the pool first. NULL is fine. Returns NULL. */
struct record_store *record_store_free(struct record_store *store);

/* The record, owned by the store; may be read and changed. Changes reach the medium with the next save. */
struct record *record_store_record(struct record_store *store);

/* Saves the record soon. Of several failures in a row only the first is logged. A save that failed is not
 * repeated by itself, only by the next call. */
void record_store_save(struct record_store *store);

/* Saves, and calls `then` when the record as it is now is on the medium, or could not be saved. One waiter at
 * a time. */
void record_store_flush(struct record_store *store, record_store_flushed_fn then);

/* record_store_flush() for what matters more than the record: if the medium does not answer, `then` comes
 * with an error after RECORD_STORE_WAIT_MS, while the save goes on. */
void record_store_flush_soon(struct record_store *store, record_store_flushed_fn then);

/* Whether a save is under way, or somebody waits for one. */
bool record_store_is_busy(const struct record_store *store);

/* Copies the manifest; it goes to the medium with the next save, before the record that names it. */
void record_store_keep_manifest(struct record_store *store, const struct record_store_manifest *manifest);

/* Forgets a manifest that is to be kept and not on the medium yet. */
void record_store_drop_manifest(struct record_store *store);

/* Whether a manifest is kept on the medium. Blocks. */
bool record_store_has_manifest(const struct record_store *store);

/* Reads the manifest and, `with_signature`, its signature if there is one; the caller frees both. A signature
 * that cannot be read counts as none. Those of parts are read by record_store_read_part(). Blocks. */
bool record_store_read_manifest(const struct record_store *store, bool with_signature,
                                struct record_store_manifest *ret_manifest, struct error *error);

/* Reads the kept manifest of a part, which proves nothing of what it holds; the caller frees the text, which
 * has a zero behind it. Blocks. */
bool record_store_read_part(const struct record_store *store, const char *name, enum manifest_part_slot slot,
                            char **ret_text, size_t *ret_size, struct error *error);
