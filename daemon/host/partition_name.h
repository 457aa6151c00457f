/* SPDX-License-Identifier: MIT */
/*
 * Which partitions carry a name: by what the kernel says of each (uevent), else by udev's database, else
 * by the partition table on the disk. An installer's stick or a cloned disk carries the same names, and a
 * link under /dev/disk leads to whichever of them udev saw last. Reads /sys, /run/udev and, where neither
 * tells, some sectors of each disk, so it may block on media: pool threads, or before the loop runs.
 */
#pragma once

#include "daemon/host/storage.h"

enum partition_name_kind {
    PARTITION_NAME_LABEL, /* PARTLABEL=; of GPT only */
    PARTITION_NAME_UUID,  /* PARTUUID=; letters of either case */
};

/* Adds the partitions that carry `value` to `set`. Those of a disk that is part of another device (multipath,
 * RAID) are that device's and do not count. `root` is put before every path ("" except in tests). */
void partition_name_find(const char *root, enum partition_name_kind kind, const char *value,
                         struct storage_set *set);
