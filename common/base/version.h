/* SPDX-License-Identifier: MIT */
/*
 * Which build this is, as common/base/find-version found out when it was built. Pure; any thread.
 */
#pragma once

#include <stdint.h>

/* "0.2.0", or "0.2.0-17-g0123abcde" between releases; printable ASCII without blanks. */
const char *version_text(void);

/* Unix time of the source: of its commit, or SOURCE_DATE_EPOCH. A clock that is earlier is wrong. */
uint64_t version_time_s(void);
