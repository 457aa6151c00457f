/* SPDX-License-Identifier: MIT */
/*
 * Making a target equal to a published image with the fewest bytes over the wire: scan the target and the
 * seeds, plan (keep, copy, patch, fetch), transfer, sync, read back from the medium. One clone is one run of
 * that, on the loop and the pool it is given; it logs nothing and knows nothing of slots. The loop's thread
 * only; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/device.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/plan.h"
#include "common/sinter/release.h"

struct clone;
struct event_base;

enum {
    CLONE_GIVE_UP_MS = 2 * 60 * 1000,
};

enum clone_phase {
    CLONE_PHASE_PREPARING,    /* opening, fetching the table of chunks */
    CLONE_PHASE_SCANNING,     /* reading the target and the seeds */
    CLONE_PHASE_TRANSFERRING, /* copying, fetching, writing */
    CLONE_PHASE_SYNCING,      /* waiting for the medium */
    CLONE_PHASE_VERIFYING,    /* reading the target back */
    CLONE_PHASE_CLOSING,      /* over; seeds, and a target that failed, are being closed */
    CLONE_PHASE_FINISHED,     /* `done` is being or was called */
};

/* Where a chunk of the image came from. */
enum clone_fate {
    CLONE_FATE_KEPT,
    CLONE_FATE_COPIED,
    CLONE_FATE_PATCHED,
    CLONE_FATE_FETCHED,
};

/* All bytes; everything only grows during a run. */
struct clone_progress {
    uint64_t scan_bytes;  /* read so far of the target and the seeds, or found not to be needed of them */
    uint64_t scan_total;  /* to be read of them, also for patches */
    uint64_t image_bytes; /* the image's size */
    uint64_t bytes_kept;
    uint64_t bytes_copied;
    uint64_t bytes_patched;  /* of the image: made by patches, proved and written */
    uint64_t bytes_fetched;  /* of the image: fetched, proved and written */
    uint64_t bytes_written;  /* to the target */
    uint64_t bytes_verified; /* read back and hashed */
    uint64_t bytes_received; /* bodies from the network: table, pack, image, and what was thrown away */
    uint64_t bytes_planned;  /* bytes_received if all goes well */
    uint64_t requests;       /* that were made, redirects and retries included */
    uint64_t retries;
};

/* All are called on the loop's thread; none but `done` may be followed by clone_free() inside the call. Any
 * but `done` may be NULL. */
struct clone_events {
    void (*phase)(void *owner, enum clone_phase phase);
    /* The scan is over; the plan is valid during the call. Not called again when a failed copy or patch makes
     * single chunks be planned for once more; clone_progress() shows that. */
    void (*planned)(void *owner, const struct plan *plan);
    /* Chunks first .. first+count-1 (from 0) now stand in the target, `bytes` together. */
    void (*chunks)(void *owner, enum clone_fate fate, uint32_t first, uint32_t count, uint64_t bytes);
    /* A request failed and is tried again in wait_ms; chunk counts from 0. */
    void (*retry)(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms);
    /* A seed, or by its own path the old content of the target, cannot be used (any more): a note, never a
     * failure. */
    void (*seed_skipped)(void *owner, const char *path, const struct error *error);
    /* What the pack has for a release at hand cannot be used: more is fetched. A note, too. */
    void (*pack_skipped)(void *owner, const struct error *error);
    /* IMAGE.chunks cannot be had: the ancestor's fixed chunks serve. A note, too; never with sha256_only. */
    void (*table_skipped)(void *owner, const struct error *error);
    /* A source was read to its end (only with hash_sources): path NULL is the target. xxh32 is that of its
     * first image-size bytes. */
    void (*source_hashed)(void *owner, const char *path, uint32_t xxh32);
    /* The target is a file that cannot be read back past the page cache: a note. */
    void (*read_back_cached)(void *owner, const struct error *why);
    /* The target was read back; equal or not, this is its XXH32. */
    void (*read_back)(void *owner, uint32_t xxh32);
    /* The end, exactly once. NULL: the target equals the image, synced and read back (or the plan is made).
     */
    void (*done)(void *owner, const struct error *error);
};

struct clone_settings {
    /* Stays the caller's, and must outlive the clone. With sha256_only in its verdict, only chunks that the
     * signed table proves by SHA-256 are written: where the table cannot be had, the clone fails. */
    struct release *release;
    const char *target_path;
    const char *const *seed_paths; /* NULL-terminated, PLAN_SOURCE_SEED_LAST at most; the target's own
                                      path among them is passed over */
    bool create_target;            /* a missing target is created as a file */
    bool plan_only;  /* stop after planning; the target is opened for reading only, and may be missing */
    bool keep_stock; /* leave what is fetched in order to plan with the release, for its next clone: see
                        clone_leave_stock() as well */
    bool keep_verified_only; /* trust no chunk in place by its XXH3 alone: after a failed verification */
    bool ignore_etag;  /* the manifest was read again and is the same, though the image's ETag changed */
    bool hash_sources; /* report source_hashed */
    /* Has the last word on a target opened for writing, before anything is read or written: false with an
     * error ends the clone. Called with the events' owner, on a pool thread: it may only look at what does
     * not change until the next event. NULL: any target is right. */
    bool (*check_target)(void *owner, int fd, struct error *error);
    uint64_t chunks_max;  /* an image of more is not wanted, see table_room_chunks_max(); 0 = no limit */
    unsigned connections; /* ranges under way at the same time; 0 = 4 */
    uint64_t give_up_ms;  /* fail when nothing new was verified for so long; 0 = CLONE_GIVE_UP_MS */
    bool patient;         /* somebody asked for that: so long a file that was never there is waited for, too,
                             and else for seconds */
};

/* Copies the settings' strings. Starts nothing. */
struct clone *clone_new(struct event_base *base, struct http *http, struct pool *pool,
                        const struct clone_settings *settings, const struct clone_events *events,
                        void *owner);

/* Begins; `done` is never called from within. */
void clone_start(struct clone *clone);

/* Asks it to stop; `done` comes with ERROR_CANCELLED as soon as the jobs under way have ended. */
void clone_cancel(struct clone *clone);

/* After `done`: leaves to the next clone of this release the patches that this one tried in vain, and with
 * keep_stock the table of chunks, which clone_table() must not be asked for any more: clone_free() follows.
 */
void clone_leave_stock(struct clone *clone);

/* Frees a clone that was not started or whose `done` was called; closes the target unless it was taken. NULL
 * is fine. Returns NULL. */
struct clone *clone_free(struct clone *clone);

enum clone_phase clone_phase(const struct clone *clone);

const struct clone_progress *clone_progress(struct clone *clone);

/* How much of the transfer is done, 0 to 1: what comes over the wire counts for far more than what is copied,
 * as it takes its time. Pure. */
double clone_progress_transfer_share(const struct clone_progress *progress);

/* The same of scan, transfer and verification together, 0 to 100. Goes back only where a plan is made anew.
 * Pure. */
double clone_progress_percent(const struct clone_progress *progress);

/* After a failure: the image on the server is not (any more) the manifest's, so reading the manifest again
 * and starting over can help. */
bool clone_was_overtaken(const struct clone *clone);

/* Likewise: the server does not give a file that the manifest names. Where the manifest read again is the
 * same, starting over cannot help. */
bool clone_lacks_file(const struct clone *clone);

/* The last plan that was made; NULL before `planned`. In between, a thread may be making another: only for
 * within `planned` and `done`. */
const struct plan *clone_plan(const struct clone *clone);

/* The chunks of the image, valid as long as the clone; NULL before scanning. */
const struct chunk_table *clone_table(const struct clone *clone);

/* After success: the SHA-256 of what was read back from the target, whole. False where the manifest has none
 * to compare with, so that XXH32 is all that was. */
bool clone_get_sha256(const struct clone *clone, uint8_t ret_sha256[DIGEST_SHA256_SIZE]);

/* After success: the target's descriptor, still exclusive, so that the verification holds until the boot
 * selection is changed. The caller closes it (on a pool thread). */
struct device *clone_take_target(struct clone *clone);

/* The phase's name: "scanning", "transferring", ... */
const char *clone_phase_name(enum clone_phase phase);
