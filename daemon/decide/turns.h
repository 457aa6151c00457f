/* SPDX-License-Identifier: MIT */
/*
 * Whether a server that offers one release and then another may have each of them looked at. To look costs:
 * the table of chunks is fetched, the slots are scanned, a release is installed over the last one. Whoever
 * controls the server (or replays what was published) can have that at each poll, within every other bound.
 * So what is not the same as last time, and not newer than all before by a signed serial, has to wait after
 * the first few times, longer each time. One that was never seen before is not what comes in turn, as a
 * publisher without serials makes it; only eight of those weigh as much as one that comes back. A publisher
 * who goes on signing higher serials never waits, nor does an operator who asks. Pure: no clock, no I/O; not
 * kept over a restart. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/decide/record.h"

enum { TURNS_SEEN = 8 };

/* All zero: nothing was looked at yet. */
struct turns {
    struct record_release last; /* that was looked at */
    bool has_serial;
    uint64_t serial_max; /* of those that were signed */
    unsigned count;      /* of looks at something else that was not newer, in a row */
    struct record_release seen[TURNS_SEEN];
    unsigned seen_next, new_count;
    uint64_t last_ms; /* when */
};

/* Milliseconds from `now_ms` (of a clock that also runs while the machine sleeps) until a poll may look at
 * `offered`; 0 = now. */
uint64_t turns_wait_ms(const struct turns *turns, const struct record_release *offered, uint64_t now_ms,
                       uint64_t interval_ms);

/* A poll looks at it. */
void turns_note(struct turns *turns, const struct record_release *offered, uint64_t now_ms);
