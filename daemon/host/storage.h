/* SPDX-License-Identifier: MIT */
/*
 * What a name for a partition, a disk or a file stands for, by what the kernel calls it: a device number,
 * or a file's device and inode. Also what lies below it: the members of device-mapper and RAID, a loop
 * device's file, a partition's disk. Reads /dev and /sys (sysfs serves where a device node is missing, as
 * in a sandbox), and a file's own folder. May block on the medium a file lies on: pool threads, or before
 * the loop runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/error.h"

enum { STORAGE_LINKS_MAX = 16 /* symbolic links followed for one name */ };

struct storage {
    char *path; /* to open: symbolic links and TAG= names resolved; for an absent one the best guess */
    bool present;
    bool is_block;
    dev_t number; /* block device: its own; file: that of the file system it lies on */
    ino_t inode;  /* file only */
};

/* Several, without repeats; zeroes are an empty set. */
struct storage_set {
    struct storage *items;
    size_t count;
};

/* Finds what `name` stands for: an absolute path, PARTUUID=, PARTUUID=.../PARTNROFF=, PARTLABEL=, LABEL=,
 * UUID=, or MAJOR:MINOR. `root` is put before every path looked at ("" except in tests). What is not there is
 * a result (present = false), not an error; an error is a folder, a character device, or a name of no known
 * form. */
bool storage_find(const char *root, const char *name, struct storage *ret_storage, struct error *error);

/* The block device with this number; false if the kernel knows none. */
bool storage_find_number(const char *root, dev_t number, struct storage *ret_storage);

/* Path of the disk that a partition is on; NULL if it is no partition. Freed by the caller. */
char *storage_find_disk(const char *root, const struct storage *storage);

/* What an open descriptor is; the path stays NULL. Returns 0 or -errno. */
int storage_find_fd(int fd, struct storage *ret_storage);

/* What the symbolic link at `path` leads to, one step of it; NULL where it is none. Owned by the caller. */
char *storage_follow_link(const char *root, const char *path);

/* Takes udev's \xNN for blanks and other letters back, in place. */
void storage_decode_name(char *name);

/* Frees what it holds. */
void storage_finish(struct storage *storage);

/* The same block device or file; two absent ones by path. */
bool storage_equal(const struct storage *storage, const struct storage *other);

/* Adds `storage` and everything below it to the set (bounded in depth and number). */
void storage_set_add(struct storage_set *set, const char *root, const struct storage *storage);

/* Adds `storage` alone. */
void storage_set_add_only(struct storage_set *set, const struct storage *storage);

bool storage_set_has(const struct storage_set *set, const struct storage *storage);

/* Whether both use the same bytes of a disk or a file, so that writing to one changes the other: two loop
 * devices over one file, a partition and a loop device over its part of the disk. Looks through partitions,
 * loop devices, and below a RAID, dm-crypt, dm-verity and multipath that is meant as a whole. LVM, an array
 * of a motherboard's RAID, a cache and a part of a RAID may share what is below them with others; for those,
 * only the device itself is compared. */
bool storage_overlaps(const char *root, const struct storage *storage, const struct storage *other);

/* Frees what it holds and empties it. */
void storage_set_finish(struct storage_set *set);
