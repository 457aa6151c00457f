/* SPDX-License-Identifier: MIT */
/*
 * Making a target equal to a published image with the fewest bytes over the wire: scan the target and the
 * seeds, plan (keep, copy, patch, fetch), transfer, sync, read back from the medium. A `struct clone` does
 * this once, on the loop and the pool it is given; it logs nothing and knows nothing of slots. The loop's
 * thread only; nothing blocks.
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
    CLONE_PHASE_CLOSING,      /* the result is known; the seeds are being closed, and the target if the clone
                                 failed */
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
    uint64_t scan_bytes;  /* read so far of the target and the seeds, or found not to be needed */
    uint64_t scan_total;  /* to be read of the target and the seeds, also for patches */
    uint64_t image_bytes; /* the image's size */
    uint64_t bytes_kept;
    uint64_t bytes_copied;
    uint64_t bytes_patched;  /* of the image: made by patches, checked and written */
    uint64_t bytes_fetched;  /* of the image: fetched, checked and written */
    uint64_t bytes_written;  /* to the target */
    uint64_t bytes_verified; /* read back and hashed */
    uint64_t bytes_received; /* bodies from the network: table, pack, image, and what was thrown away */
    uint64_t bytes_planned;  /* bytes_received if all goes well */
    uint64_t requests;       /* made so far, redirects and retries included */
    uint64_t retries;
};

/* All are called on the loop's thread; none but `done` may be followed by clone_free() inside the call. Any
 * but `done` may be NULL. */
struct clone_events {
    void (*phase)(void *owner, enum clone_phase phase);
    /* The scan is over; the plan is valid during the call. Called once only: when a copy or patch failed and
     * single chunks are planned again, only clone_progress() shows it. */
    void (*planned)(void *owner, const struct plan *plan);
    /* Chunks first .. first+count-1 (from 0) now stand in the target, `bytes` together. */
    void (*chunks)(void *owner, enum clone_fate fate, uint32_t first, uint32_t count, uint64_t bytes);
    /* A request failed and is tried again in wait_ms; chunk counts from 0. */
    void (*retry)(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms);
    /* A seed cannot be used, or no longer; `path` may also be the target's, for its old content. A note,
     * never a failure. */
    void (*seed_skipped)(void *owner, const char *path, const struct error *error);
    /* The pack has something for a release at hand, but it cannot be used, so more is fetched. A note. */
    void (*pack_skipped)(void *owner, const struct error *error);
    /* IMAGE.chunks cannot be had, so the ancestor's fixed chunks are used. A note; never with sha256_only. */
    void (*table_skipped)(void *owner, const struct error *error);
    /* A source was read to its end (only with hash_sources): path NULL is the target. xxh32 is that of its
     * first image-size bytes. */
    void (*source_hashed)(void *owner, const char *path, uint32_t xxh32);
    /* The target is a file that cannot be read back past the page cache: a note. */
    void (*read_back_cached)(void *owner, const struct error *why);
    /* The target was read back; this is its XXH32, whether it equals the image or not. */
    void (*read_back)(void *owner, uint32_t xxh32);
    /* The end, exactly once. `error` is NULL on success: the target equals the image, synced and read back
     * (with plan_only: the plan is made). */
    void (*done)(void *owner, const struct error *error);
};

struct clone_settings {
    /* Stays the caller's, and must outlive the clone. With sha256_only in its verdict, only chunks that the
     * signed table proves by SHA-256 are written: where the table cannot be had, the clone fails. */
    struct release *release;
    const char *target_path;
    const char *const *seed_paths; /* NULL-terminated, PLAN_SOURCE_SEED_LAST at most; the target itself among
                                      them is ignored */
    bool create_target;            /* a missing target is created as a file */
    bool plan_only;    /* stop after planning; the target is opened for reading only, and may be missing */
    bool wait_planned; /* after `planned`, wait for clone_go_on(); nothing is written before that */
    bool keep_stock;   /* leave what is fetched for planning in the release, for its next clone; see also
                          clone_leave_stock() */
    bool keep_verified_only; /* keep no chunk by its XXH3 alone; for use after a failed verification */
    bool ignore_etag;  /* the manifest was read again and is the same, though the image's ETag changed */
    bool hash_sources; /* report source_hashed */
    /* Called when the target was opened for writing, before anything is read or written; false with an error
     * ends the clone. Called with the events' owner, but on a pool thread: it may read only what does not
     * change before the next event. NULL: any target is accepted. */
    bool (*check_target)(void *owner, int fd, struct error *error);
    uint64_t chunks_max;  /* refuse an image with more chunks, see table_room_chunks_max(); 0 = no limit */
    unsigned connections; /* ranges under way at the same time; 0 = 4 */
    uint64_t give_up_ms;  /* fail after this long without progress; 0 = CLONE_GIVE_UP_MS */
    bool patient; /* the user chose give_up_ms: wait that long also for a file that the server never had,
                     instead of some seconds */
};

/* Copies the settings' strings. Starts nothing. */
struct clone *clone_new(struct event_base *base, struct http *http, struct pool *pool,
                        const struct clone_settings *settings, const struct clone_events *events,
                        void *owner);

/* Begins; `done` is called later, never before this returns. */
void clone_start(struct clone *clone);

/* Goes on with a clone that waits after its plan (settings.wait_planned). */
void clone_go_on(struct clone *clone);

/* Asks it to stop; `done` comes with ERROR_CANCELLED as soon as the jobs under way have ended. */
void clone_cancel(struct clone *clone);

/* After `done`: leaves in the release, for its next clone, which patches failed here, and with keep_stock the
 * table of chunks. clone_table() must not be called any more; only clone_free() may follow. */
void clone_leave_stock(struct clone *clone);

/* Frees a clone that was not started or whose `done` was called; closes the target unless it was taken. NULL
 * is fine. Returns NULL. */
struct clone *clone_free(struct clone *clone);

enum clone_phase clone_phase(const struct clone *clone);

const struct clone_progress *clone_progress(struct clone *clone);

/* How much of the transfer is done, 0 to 1. A byte over the wire counts far more than a copied one, as it
 * takes longer. Pure. */
double clone_progress_transfer_share(const struct clone_progress *progress);

/* How much of scan, transfer and verification together is done, 0 to 100. Goes back only where a plan is made
 * anew. Pure. */
double clone_progress_percent(const struct clone_progress *progress);

/* After a failure: whether a file on the server is not, or no longer, the one the manifest describes, so that
 * reading the manifest again and starting over can help. */
bool clone_was_overtaken(const struct clone *clone);

/* After a failure: whether the server does not have a file that the manifest names. If the manifest read
 * again is the same, starting over cannot help. */
bool clone_lacks_file(const struct clone *clone);

/* The last plan that was made; NULL before `planned`. Call it only inside `planned` and `done`: between them
 * a thread may be replacing the plan. */
const struct plan *clone_plan(const struct clone *clone);

/* The chunks of the image, valid as long as the clone; NULL before scanning. */
const struct chunk_table *clone_table(const struct clone *clone);

/* After success: the SHA-256 of the whole image as read back from the target. False where the manifest has no
 * SHA-256, so that only XXH32 was compared. */
bool clone_get_sha256(const struct clone *clone, uint8_t ret_sha256[DIGEST_SHA256_SIZE]);

/* After success: the target, still opened exclusively, so that nobody can change what was verified before the
 * boot selection is changed. The caller's to close, on a pool thread. */
struct device *clone_take_target(struct clone *clone);

/* The phase's name: "scanning", "transferring", ... */
const char *clone_phase_name(enum clone_phase phase);
