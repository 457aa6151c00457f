/* SPDX-License-Identifier: MIT */
/*
 * Which slot runs and which may be written. A slot is named in the settings (a path, PARTUUID=,
 * PARTLABEL=; LABEL= and UUID= are understood and not relied on, see daemon/host/slot_name.h) and is
 * identified by what the kernel calls it: a device number, or a file's device and inode. Which one runs is
 * found by what the kernel says, in two ways (root= on its command line, and what "/" is mounted from, see
 * daemon/host/root_device.h), never by what was last written to the boot selection; if the two disagree,
 * it is not known, and nothing is installed. Reads /proc, /sys and /dev only, but a slot that is a file is
 * looked at on its own medium: pool threads, or before the loop runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"
#include "daemon/host/file_place.h"
#include "daemon/host/storage.h"

enum slot {
    SLOT_NONE = -1,
    SLOT_A = 0,
    SLOT_B = 1,
};

enum {
    SLOT_COUNT = 2,
};

/* "a", "b"; "none" for SLOT_NONE. */
const char *slot_name(enum slot slot);

/* SLOT_A for SLOT_B and the other way round; SLOT_NONE for SLOT_NONE. */
enum slot slot_other(enum slot slot);

/* "a" or "b", either case, into *ret_slot; returns 0 or -EINVAL. */
int slot_parse(const char *text, enum slot *ret_slot);

/* A part of the set in both slots, as [Part NAME] says. */
struct slots_part {
    char name[MANIFEST_PART_NAME_MAX + 1];
    struct storage devices[SLOT_COUNT];
    bool is_root[SLOT_COUNT];            /* as of struct slots */
    uint64_t bytes[SLOT_COUNT];          /* size of a partition; 0 = not known, or no partition */
    struct file_place files[SLOT_COUNT]; /* of a place that is no partition, if that was asked for */
};

struct config_part;

struct slots_request {
    const char *root; /* put before /proc, /sys, /dev and the slots' paths; NULL or "" except in tests */
    const char *names[SLOT_COUNT];   /* as configured */
    const struct config_part *parts; /* of the set, as configured; only read during the call */
    unsigned part_count;
    /* With the `file` backend the slot that runs by its own data; SLOT_NONE = ask the kernel. */
    enum slot selected;
    /* Also find out whether the names can be relied on, which may take a look at every disk, and whether
     * files can be the places of parts. Must be set if anything is to be written. */
    bool judge_names;
    bool names_by_content; /* LABEL= and UUID= are accepted, and files on any file system: with the `file`
                              backend */
};

struct slots {
    struct storage devices[SLOT_COUNT]; /* what the names stand for now; .path is the one to open */
    enum slot running;                  /* SLOT_NONE = cannot be determined */
    char why[512];                      /* one sentence: how the running one was found, or why it cannot be */
    struct storage_set in_use;          /* what "/" and the running slot with its parts stand on; never to be
                                           written */
    char *name_why; /* a sentence: why a name cannot be relied on, so that nothing may be written; NULL = all
                       well, or not asked for */
    bool is_root[SLOT_COUNT]; /* the machine's own root file system stands on it, whatever the backend says */
    struct slots_part parts[MANIFEST_PARTS_MAX]; /* in the order of the settings */
    unsigned part_count;
    char *parts_why; /* a sentence: why nothing may be written, tried or marked good because of the parts, for
                        instance that the loader started another slot's part than the running root's; NULL =
                        all well */
};

/* Finds the slots and the places of the parts. Fails only if the settings cannot be right (two places the
 * same device or file, or one on the other; a folder; a name of no known form); a missing place or an unknown
 * running slot is part of the result. Freed by
 * slots_free(). */
bool slots_find(const struct slots_request *request, struct slots **ret_slots, struct error *error);

/* NULL is fine. Returns NULL. */
struct slots *slots_free(struct slots *slots);

/* Where an image of a set belongs in `slot`: `name` is a part's, or MANIFEST_MAIN_NAME. NULL if the settings
 * have no such part. */
const struct storage *slots_find_place(const struct slots *slots, const char *name, enum slot slot);

/* The slot an update would be written to: the one that does not run; SLOT_NONE if that is not known. */
enum slot slots_target(const struct slots *slots);

/* Says that the loader started the parts of slot `started`, SLOT_NONE if it does not tell. Where another
 * slot's root runs, that is the slots' parts_why. Call it after slots_find(). */
void slots_note_started(struct slots *slots, enum slot started);

/* Whether `target` may be written as far as slots go, in each place that it has: the names are certain, the
 * running slot is known and another one, the machine's root is not on it, and a partition is there (a file
 * may be created, where its folder is what daemon/host/file_place.h demands). Mounts and
 * other holders are found by device_open_target(). An error is of kind refused. Looks only at `slots`, so
 * find them anew before an installation. */
bool slots_target_check(const struct slots *slots, enum slot target, struct error *error);

/* After opening the place of an image, by its name: whether the opened descriptor's file (its fstat's st_dev,
 * st_ino, st_rdev) is that place in `target`, and none of the running slot, the root file system, another
 * image or the other slot; closes the gap between looking and opening. */
bool slots_target_check_opened(const struct slots *slots, enum slot target, const char *name, int fd,
                               struct error *error);

/* Room that an image of a set needs in its place. */
struct slots_need {
    const char *name; /* of the part */
    uint64_t bytes;   /* of its image */
};

/* Whether images of these sizes have room in the places of `target`, all of them together: partitions by
 * their size; files by what is left beside what they occupy already, and those on one file system share that.
 * Names that are no part's, such as the main image's, and places whose room is not known are passed over. An
 * error is of kind refused. Looks only at `slots`. */
bool slots_target_check_room(const struct slots *slots, enum slot target, const struct slots_need *needs,
                             unsigned count, struct error *error);
