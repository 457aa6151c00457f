/* SPDX-License-Identifier: MIT */
/*
 * What outlives a reboot, as one small file in StateDirectory=: the serial floor, what each slot was given,
 * the trial under way, releases that failed, the history, the last check and error, and which manifest is at
 * hand. The boot loader is believed before it. Pure: its file is read and saved by work/record_store.h, from
 * the text made here. Holds no pointers, so a record is copied by assignment. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/image/manifest.h"
#include "daemon/boot/boot.h"
#include "daemon/host/slot_print.h"
#include "daemon/host/slots.h"

enum {
    RECORD_FORMAT = 1,
    RECORD_SIZE_MAX = 1024 * 1024, /* of the file; what we write is far below */
    RECORD_FAILED_MAX = 16,
    RECORD_HISTORY_MAX = 50,
    RECORD_TEXT_SIZE = 384,       /* of a reason, with its terminating zero */
    RECORD_OUTPUT_SIZE = 1024,    /* of what a failed health check printed last, likewise */
    RECORD_BOOT_ID_SIZE = 40,     /* of /proc/sys/kernel/random/boot_id, a UUID */
    RECORD_VALIDATOR_SIZE = 1024, /* of an ETag or Last-Modified; a longer one is not kept */
};

/* Which release: its name for people, and what it is known by again. "" = not known. */
struct record_release {
    char version[MANIFEST_TEXT_MAX + 1];
    bool has_serial;
    uint64_t serial;
    char sha256[DIGEST_SHA256_HEX_SIZE];          /* of the image; an ancestor's manifest has none */
    char manifest_sha256[DIGEST_SHA256_HEX_SIZE]; /* of the manifest's bytes */
    bool is_signed;                               /* that manifest, by a key that was trusted then */
    bool lent;          /* it was only offered under this serial, which therefore is no floor */
    uint64_t created_s; /* Unix time as it says, 0 = it does not */
};

struct record_slot {
    enum boot_health state;
    struct record_release release;
    uint64_t time_s;         /* Unix time of the last change */
    struct slot_print print; /* of what it held when `release` was last known to be in it */
};

/* How far the release that was armed last has come. */
enum record_stage {
    RECORD_STAGE_NONE,     /* it has its verdict, or the loader fell back */
    RECORD_STAGE_ARMING,   /* written down just before the boot selection is */
    RECORD_STAGE_ARMED,    /* the boot selection was written and read back */
    RECORD_STAGE_BOOTED,   /* it was seen running */
    RECORD_STAGE_REJECTED, /* it has its verdict and is to be left by a reboot */
    RECORD_STAGE_COUNT,
};

struct record_trial {
    enum record_stage stage;
    enum slot slot;
    struct record_release release;
    unsigned arms; /* how often this release was armed in a row without a verdict */
    /* Where the firmware has to be told: somebody asked for the reboot that tries it, so that it counts. A
     * member of its own, for older versions do not understand a record with another stage in it. */
    bool reboot_asked;
    /* Boots in which we asked for a reboot since the slot that boots next last came up, and the last of them:
     * more than a few, and the loader does not do what the boot selection says. */
    unsigned reboots;
    char reboot_boot_id[RECORD_BOOT_ID_SIZE];
    /* In which boot, as the kernel tells them apart: armed for ARMING and ARMED, seen running for BOOTED,
     * given up for REJECTED. */
    char boot_id[RECORD_BOOT_ID_SIZE];
    unsigned starts; /* BOOTED: of ours in that boot, but for those that were ended in order */
};

struct record_failed {
    struct record_release release;
    char reason[RECORD_TEXT_SIZE];
    uint64_t time_s;
};

enum record_result {
    RECORD_RESULT_INSTALLED,
    RECORD_RESULT_FAILED,
    RECORD_RESULT_FELL_BACK,
    RECORD_RESULT_CANCELLED,
    RECORD_RESULT_GOOD, /* a trial's good end; the others are an update's */
};

struct record_entry {
    enum record_result result;
    uint64_t time_s;
    enum slot slot;                  /* written, or tried */
    char reason[RECORD_TEXT_SIZE];   /* "" = none */
    char output[RECORD_OUTPUT_SIZE]; /* the last lines of the failed health check; "" = none */
    char from[MANIFEST_TEXT_MAX + 1];
    char to[MANIFEST_TEXT_MAX + 1];
    uint64_t bytes_downloaded;
    uint64_t bytes_written;
    uint64_t seconds;
};

/* The manifest kept beside the record. */
struct record_manifest {
    char url_sha256[DIGEST_SHA256_HEX_SIZE]; /* of the address it was asked for by, in which a password may
                                                stand; "" = none is kept */
    char etag[RECORD_VALIDATOR_SIZE];
    char last_modified[RECORD_VALIDATOR_SIZE];
    char sha256[DIGEST_SHA256_HEX_SIZE];
};

struct record {
    bool has_floor;
    uint64_t floor_serial;
    bool signed_accepted; /* a signed release was: signatures are demanded from then on; the record
                             store keeps it beside the record, too */
    uint64_t floor_s;     /* Unix time before which it cannot be: signed and accepted; 0 = not known */
    struct record_slot slots[SLOT_COUNT];
    struct record_trial trial;
    struct record_release cancelled; /* not installed again by itself; "" digests = none */
    struct record_failed failed[RECORD_FAILED_MAX];
    size_t failed_count;
    struct record_entry history[RECORD_HISTORY_MAX]; /* oldest first */
    size_t history_count;
    uint64_t check_time_s; /* 0 = never */
    char check_result[32]; /* "up-to-date", "update", "held", "failed" */
    uint64_t error_time_s; /* 0 = none */
    enum error_kind error_kind;
    char error_message[RECORD_TEXT_SIZE];
    struct record_manifest manifest;
};

/* Nothing known. */
void record_init(struct record *record);

/* The file's text, zero-terminated, freed by the caller. */
char *record_format(const struct record *record);

/* The reverse; *record is untouched on failure. Members that are missing keep their empty value. */
bool record_parse(const char *text, size_t size, struct record *record, struct error *error);

/* What a manifest of `manifest_size` bytes says, as a release to remember; `is_signed` by a trusted key. */
void record_release_from(struct record_release *release, const struct manifest *manifest,
                         const char *manifest_text, size_t manifest_size, bool is_signed);

/* Whether a and b are the same image: by its SHA-256, or where one lacks it by the manifest's. False where
 * nothing is known of one. */
bool record_release_is_same(const struct record_release *a, const struct record_release *b);

/* Health of a slot: what is recorded against it, else the loader's word, else the record's. `running` may be
 * SLOT_NONE. */
enum boot_health record_slot_health(const struct record *record, const struct boot_state *boot,
                                    enum slot running, enum slot slot);

/* Why this release is not to be installed again, or NULL. */
const char *record_find_failed(const struct record *record, const struct record_release *release);

/* Remembers it; the oldest makes room. */
void record_add_failed(struct record *record, const struct record_release *release, const char *reason,
                       uint64_t now_s);

/* An operator, or a good trial, says otherwise. */
void record_forget_failed(struct record *record, const struct record_release *release);

/* Takes back the entry that was added last. */
void record_drop_history(struct record *record);

/* The oldest makes room. */
void record_add_history(struct record *record, const struct record_entry *entry);

/* Adds an entry to the history: `result` for `slot`, from version `from` to version `to`; `reason` may be
 * NULL, and what it holds beyond one line of text is replaced. The entry is the record's and lives until the
 * next one is added, so that the caller may complete it. */
struct record_entry *record_note(struct record *record, enum record_result result, enum slot slot,
                                 const char *from, const char *to, const char *reason, uint64_t time_s);

/* The last entry that tells of an update, NULL if none does. */
const struct record_entry *record_last_update(const struct record *record);

/* A release is about to boot, or is found running by an offer that nothing is against. Where it is signed,
 * trust does not go back behind that, nor time, unless it says to be made after `latest_s`: UINT64_MAX for
 * what is installed, and now for a mere offer, which could else lead time to where every release has expired.
 */
void record_accept(struct record *record, const struct record_release *release, uint64_t latest_s);

/* What slot `slot` holds is offered under another name, and nothing is against that offer: it is known by
 * that name from now on, unless that is the older one (a name that was only lent does not count against a
 * signed offer), or unsigned in place of a signed one. The floor rises
 * with it where the slot is good (`good`) and the offer is signed; else it is only lent, for a server that
 * nobody vouches for could name any serial. Returns whether the name changed. */
bool record_lend(struct record *record, enum slot slot, const struct record_release *offered, bool good);

/* Slot `slot` is good: the floor rises to its serial, unless that is only lent, and its trial is over. */
void record_set_good(struct record *record, enum slot slot, uint64_t now_s);

/* Slot `slot` holds no whole image from now on. */
void record_set_invalid(struct record *record, enum slot slot, uint64_t now_s);

/* Slot `slot` does not hold what the record says of it: nothing is known of it any more. The floor stays, and
 * so does what is known of the trial of what it held. */
void record_forget_slot(struct record *record, enum slot slot, uint64_t now_s);

/* `release` is about to be armed in `slot`; counts how often in a row that happens without a verdict. */
void record_set_arming(struct record *record, enum slot slot, const struct record_release *release,
                       uint64_t now_s);

void record_set_error(struct record *record, const struct error *error, uint64_t now_s);

/* The history as GET /v1/history answers it, newest first; a new reference. */
struct json_object *record_history_json(const struct record *record);

/* One entry as `last_update` shows it; a new reference. */
struct json_object *record_entry_json(const struct record_entry *entry);

/* Copies text of unknown origin so that it can stand in JSON and on one line: control characters become
 * blanks, what is no UTF-8 becomes '?', and it is cut between characters. NULL copies as "". */
void record_copy_text(char *ret_text, size_t size, const char *text);

/* The same for several lines: line feeds stay. */
void record_copy_lines(char *ret_text, size_t size, const char *text);
