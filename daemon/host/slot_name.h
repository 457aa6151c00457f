/* SPDX-License-Identifier: MIT */
/*
 * Whether a slot's name can be relied on to lead to the same partition at each look. A name that several
 * partitions carry leads to whichever udev saw last; a file system's label or UUID is part of what an update
 * overwrites. See daemon/host/partition_name.h for what is read, and whether that blocks.
 */
#pragma once

#include <stdbool.h>

/* NULL if the name can be relied on, else half a sentence that says what is wrong and what to do; freed by
 * the caller. `by_content`: LABEL= and UUID= are accepted (for the `file` backend, whose slots are what the
 * user says). `root` is put before every path ("" except in tests). */
char *slot_name_find_objection(const char *root, const char *name, bool by_content);
