/* SPDX-License-Identifier: MIT */
/*
 * The record: what is remembered over a reboot, in one small file in StateDirectory=. It has the serial
 * floor, what each slot holds, the trial under way, releases that failed, the history, the last check and
 * error, and which manifest is kept. Where boot loader and record differ, the loader is believed. Pure:
 * parts/record_store.h reads and saves the file, with the text made here. Holds no pointers, so a record is
 * copied by assignment. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/image/manifest.h"
#include "common/sinter/release.h"
#include "daemon/boot/boot.h"
#include "daemon/host/slot_print.h"
#include "daemon/host/slots.h"

enum {
    RECORD_FORMAT = 1,
    RECORD_SIZE_MAX = 1024 * 1024, /* of the file; what is written is far below */
    RECORD_FAILED_MAX = 16,
    RECORD_HISTORY_MAX = 50,
    RECORD_TEXT_SIZE = 384,       /* of a reason, with its terminating zero */
    RECORD_OUTPUT_SIZE = 1024,    /* of what a failed health check printed last, with its terminating zero */
    RECORD_BOOT_ID_SIZE = 40,     /* of /proc/sys/kernel/random/boot_id, a UUID */
    RECORD_VALIDATOR_SIZE = 1024, /* of an ETag or Last-Modified; a longer one is not kept */
};

/* A release: its name for people, and the digests by which it is recognised. "" = not known. */
struct record_release {
    char version[MANIFEST_TEXT_MAX + 1];
    bool has_serial;
    uint64_t serial;
    char sha256[DIGEST_SHA256_HEX_SIZE];          /* of the image; an ancestor's manifest has none */
    char manifest_sha256[DIGEST_SHA256_HEX_SIZE]; /* of the manifest's bytes */
    /* Of a set, a digest over all its parts, see record_release_from(); "" = one image. Two releases are the
     * same only if this is, too. */
    char parts_sha256[DIGEST_SHA256_HEX_SIZE];
    bool is_signed; /* whether that manifest was signed by a key trusted at the time */
    bool lent;      /* it was only offered under this serial, not installed, so the serial sets no floor */
    uint64_t created_s; /* Unix time, by the manifest; 0 = not given */
};

/* A part of the set that a slot holds. */
struct record_part {
    char name[MANIFEST_PART_NAME_MAX + 1];
    char sha256[DIGEST_SHA256_HEX_SIZE]; /* of its image */
    uint64_t bytes;                      /* length of its image; 0 = not known */
    bool per_slot;                       /* the image is for this slot only */
    struct slot_print print;             /* see struct record_slot */
};

struct record_slot {
    enum boot_health state;
    struct record_release release;
    uint64_t time_s;         /* Unix time of the last change */
    struct slot_print print; /* fingerprint of the slot when it was last known to hold `release` */
    struct record_part parts[MANIFEST_PARTS_MAX];
    unsigned part_count;
};

/* How far the trial of the release armed last has come. */
enum record_stage {
    RECORD_STAGE_NONE,     /* no trial: it has its verdict, or the loader fell back */
    RECORD_STAGE_ARMING,   /* written down just before the boot selection is */
    RECORD_STAGE_ARMED,    /* the boot selection was written and read back */
    RECORD_STAGE_BOOTED,   /* it was seen running */
    RECORD_STAGE_REJECTED, /* it failed, and the slot is to be left by a reboot */
    RECORD_STAGE_COUNT,
};

struct record_trial {
    enum record_stage stage;
    enum slot slot;
    struct record_release release;
    unsigned arms; /* how often this release was armed in a row without a verdict */
    /* If the firmware needs a reboot argument: somebody asked for the reboot with it, so what follows counts
     * as a try. Not a stage of its own, because older versions cannot read a record with a new stage. */
    bool reboot_asked;
    /* In how many boots a reboot was asked for since the slot that boots next last came up, and the last of
     * those boots. More than a few mean that the loader ignores the boot selection. */
    unsigned reboots;
    char reboot_boot_id[RECORD_BOOT_ID_SIZE];
    /* The kernel's ID of the boot in which it was armed (ARMING, ARMED), seen running (BOOTED) or rejected
     * (REJECTED). */
    char boot_id[RECORD_BOOT_ID_SIZE];
    unsigned starts; /* BOOTED: starts of moonsinterd in that boot, except those that ended because they were
                        told to */
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
    RECORD_RESULT_GOOD, /* a trial that ended well; the others tell how an update ended */
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
    char url_sha256[DIGEST_SHA256_HEX_SIZE]; /* of its URL, which may hold a password; "" = none is kept */
    char etag[RECORD_VALIDATOR_SIZE];
    char last_modified[RECORD_VALIDATOR_SIZE];
    char sha256[DIGEST_SHA256_HEX_SIZE];
};

struct record {
    bool has_floor;
    uint64_t floor_serial;
    bool signed_accepted; /* a signed release was accepted, so signatures are demanded from then on; the
                             record store also keeps this beside the record */
    uint64_t
        floor_s; /* the earliest Unix time it can be, by the last signed release accepted; 0 = not known */
    struct record_slot slots[SLOT_COUNT];
    struct record_trial trial;
    struct record_release cancelled; /* by an operator: not installed again by itself; empty digests = none */
    struct record_failed failed[RECORD_FAILED_MAX];
    size_t failed_count;
    struct record_entry history[RECORD_HISTORY_MAX]; /* oldest first */
    size_t history_count;
    uint64_t check_time_s; /* 0 = never */
    char check_result[32]; /* "up-to-date", "pending", "update", "failed"; "" = none */
    uint64_t error_time_s; /* 0 = none */
    enum error_kind error_kind;
    char error_message[RECORD_TEXT_SIZE];
    struct record_manifest manifest;
};

/* Empties the record: nothing is known. */
void record_init(struct record *record);

/* Makes the text of the file, zero-terminated; the caller frees it. */
char *record_format(const struct record *record);

/* Reads the text of the file; *record is untouched on failure. Members that are missing keep their empty
 * value. */
bool record_parse(const char *text, size_t size, struct record *record, struct error *error);

/* Fills in what to remember of a release; of a set, all parts are there (release_has_parts()). parts_sha256
 * is the SHA-256 of one line "NAME SLOT SHA256 SIZE" for each image of each part, with a line feed after
 * each, sorted by name and slot: SLOT is "-", "a" or "b", and SHA256 and SIZE, in bytes, are the image's, so
 * that a part which is packed anew is the same. */
void record_release_from(struct record_release *remembered, const struct release *release);

/* Whether a and b are the same images: by their manifest's SHA-256; else by that of the main image and, of a
 * set, of all parts. False if nothing is known of one. An older daemon drops parts_sha256 when it saves, and
 * the manifest's still recognises a set. */
bool record_release_is_same(const struct record_release *a, const struct record_release *b);

/* What is recorded of a part in that slot; NULL if nothing is. */
const struct record_part *record_slot_part(const struct record_slot *slot, const char *name);

/* record_slot_part() to be changed. */
struct record_part *record_slot_find_part(struct record_slot *slot, const char *name);

/* The fingerprint that is kept of an image in that slot, to be changed: of the main image, by
 * MANIFEST_MAIN_NAME, or of a part; NULL if the slot is not recorded to hold it. */
struct slot_print *record_slot_find_print(struct record_slot *slot, const char *name);

/* Slot `slot` holds all parts of `set`: call when the release was recorded there. Their fingerprints are not
 * taken yet. A release without parts leaves none. */
void record_slot_set_parts(struct record *record, enum slot slot, const struct release *set);

/* Slot `slot` holds that part of the other slot, too, without a fingerprint: it was copied, as the release
 * lacks it. */
void record_slot_carry_part(struct record *record, enum slot slot, const char *name);

/* Health of a slot: invalid if the record says so of a slot that does not run, else what the loader says,
 * else what the record says; a running slot of which neither says anything is good. `running` may be
 * SLOT_NONE. */
enum boot_health record_slot_health(const struct record *record, const struct boot_state *boot,
                                    enum slot running, enum slot slot);

/* Why this release is not to be installed again, or NULL. */
const char *record_find_failed(const struct record *record, const struct record_release *release);

/* Remembers that the release failed; the oldest such entry makes room. */
void record_add_failed(struct record *record, const struct record_release *release, const char *reason,
                       uint64_t now_s);

/* Forgets that the release failed: an operator, or a trial that ended well, says otherwise. */
void record_forget_failed(struct record *record, const struct record_release *release);

/* Removes the newest entry of the history. */
void record_drop_history(struct record *record);

/* Adds an entry to the history; the oldest makes room. */
void record_add_history(struct record *record, const struct record_entry *entry);

/* Adds an entry to the history: `result` for `slot`, from version `from` to version `to`; `reason` may be
 * NULL; it is made one line of plain text. Returns the entry so that the caller may complete it; the record
 * owns it, and it is valid until the next one is added. */
struct record_entry *record_note(struct record *record, enum record_result result, enum slot slot,
                                 const char *from, const char *to, const char *reason, uint64_t time_s);

/* The last entry that tells of an update, NULL if none does. */
const struct record_entry *record_last_update(const struct record *record);

/* Call when a release is about to boot, or when an acceptable offer is found to be in a slot already. If it
 * is signed, signatures are demanded from now on, and the earliest possible time rises to the one at which it
 * was made, if that is not after `latest_s`. That is UINT64_MAX for a release that is armed, and the present
 * time for a mere offer, which could otherwise move the time so far ahead that every release has expired. */
void record_accept(struct record *record, const struct record_release *release, uint64_t latest_s);

/* The image in `slot` is offered, perhaps under another version and serial, and the offer is acceptable: the
 * slot takes over what the offer says, unless the known release has a serial and the offer none or a lower
 * one, or the known release is signed and the offer is not. A known serial that is only lent does not count
 * against a signed offer. If the offer is signed, the floor rises with a good slot (`good`); else the serial
 * is only lent, because an unsigned server could name any. Returns whether version or serial changed. */
bool record_lend(struct record *record, enum slot slot, const struct record_release *offered, bool good);

/* Slot `slot` is good: the floor rises to its serial, unless that is only lent, its release is no longer
 * remembered as failed, and its trial is over. */
void record_set_good(struct record *record, enum slot slot, uint64_t now_s);

/* Slot `slot` holds no whole image from now on. */
void record_set_invalid(struct record *record, enum slot slot, uint64_t now_s);

/* Slot `slot` does not hold what the record says: forgets what is known of it. The floor and the trial
 * stay. */
void record_forget_slot(struct record *record, enum slot slot, uint64_t now_s);

/* `release` is about to be armed in `slot`; counts how often in a row that happens without a verdict. Of a
 * set, record_slot_set_parts() comes after it. */
void record_set_arming(struct record *record, enum slot slot, const struct record_release *release,
                       uint64_t now_s);

/* Remembers the last error. */
void record_set_error(struct record *record, const struct error *error, uint64_t now_s);

/* The history as GET /v1/history answers it, newest first; a new reference. */
struct json_object *record_history_json(const struct record *record);

/* One entry as `last_update` shows it; a new reference. */
struct json_object *record_entry_json(const struct record_entry *entry);

/* Copies text of unknown origin so that it can stand in JSON and on one line: control characters become
 * blanks, what is no UTF-8 becomes '?', and it is cut between characters. NULL copies as "". */
void record_copy_text(char *ret_text, size_t size, const char *text);

/* record_copy_text() for several lines: line feeds stay. */
void record_copy_lines(char *ret_text, size_t size, const char *text);
