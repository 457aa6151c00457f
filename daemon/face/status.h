/* SPDX-License-Identifier: MIT */
/*
 * The status of the daemon: one snapshot, printed as the JSON object of the API, as Prometheus text, or as
 * the sentence for the service manager. Pure; a snapshot points at the caller's strings and is made anew
 * each time. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/json.h"
#include "daemon/decide/policy.h"
#include "daemon/decide/record.h"
#include "daemon/decide/update.h"

/* A part of a set, in a slot or of the offered release. */
struct status_part {
    const char *name;
    const char *path;                    /* where it lies; NULL = of a release */
    char sha256[DIGEST_SHA256_HEX_SIZE]; /* of its image; "" = not known */
    uint64_t bytes;                      /* length of its image, of a release only */
};

struct status_parts {
    struct status_part list[MANIFEST_PARTS_MAX];
    unsigned count;
};

struct status_slot {
    const char *device; /* NULL = not known */
    bool active;
    enum boot_health state;
    const struct record_release *release;
    const char *os_version;    /* version by the system's own os-release, if nothing is recorded of the slot;
                                  NULL = none */
    struct status_parts parts; /* that have a place in the slot */
};

/* All zero while nothing is under way. */
struct status_progress {
    double percent; /* 0 to 100, see clone_progress_percent() */
    uint64_t bytes_kept;
    uint64_t bytes_copied;
    uint64_t bytes_patched;
    uint64_t bytes_downloaded;
    uint64_t bytes_to_download;
    uint64_t bytes_written;
    uint64_t bytes_verified;
    uint64_t rate_bytes_per_s;
    uint64_t eta_s;
    uint64_t requests;
    uint64_t retries;
};

/* Nothing arrives because a request failed and is to be tried again. */
struct status_waiting {
    uint64_t since_s, until_s; /* Unix time: since when nothing arrives, and of the next try */
    enum error_kind kind;      /* ERROR_NONE = nothing is waited for */
    const char *why;
};

struct status_snapshot {
    const char *daemon_version;
    int pid;
    uint64_t started_s; /* Unix time */
    enum update_state state;
    const char *phase; /* "scanning", ...; NULL = none */
    uint64_t since_s;
    const struct policy_verdict *blocked_by;
    struct status_slot slots[SLOT_COUNT];
    const char *boot_backend;
    enum slot boot_next;
    bool boot_trial;
    unsigned boot_tries_left;
    const char *boot_note;               /* a clause on what is wrong with the boot state; NULL = nothing */
    const char *shown_url;               /* without user and password */
    const struct record_release *update; /* the offered release; NULL = none known */
    uint64_t update_size_bytes;          /* of the main image */
    struct status_parts update_parts;    /* of the offered release, as the target gets them */
    struct status_progress progress;
    const char
        *table_skipped; /* why its table of chunks was not used, so that more is downloaded; NULL = it was */
    const char *pack_skipped;             /* why its pack was not used; NULL = it was, or there is none */
    const struct status_waiting *waiting; /* NULL = nothing is waited for */
    uint64_t next_check_s;                /* Unix time, 0 = not set */
    const char *next_check_why;
    bool signature_required;
    size_t key_count;
    const char *trust_why;       /* a sentence without a stop */
    const char *key_id;          /* whose signature the offered manifest has; NULL = none */
    const char *trusted_comment; /* the signature's trusted comment */
    const struct record *record; /* last check, error and update */
    const char *stall_why;       /* the medium does not answer: a sentence; NULL = all is well */
};

/* GET /v1/status; a new reference. */
struct json_object *status_json(const struct status_snapshot *snapshot);

/* GET /metrics, freed by the caller. */
char *status_metrics(const struct status_snapshot *snapshot);

/* STATUS=: one sentence without a line feed; `size` of 512 always suffices. */
char *status_sentence(char *ret_text, size_t size, const struct status_snapshot *snapshot);
