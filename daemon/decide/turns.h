/* SPDX-License-Identifier: MIT */
/*
 * A limit for a server that offers now one release and now another. To look at an offer is costly: the
 * table of chunks is fetched, the slots are scanned, a release is installed over the last one. Whoever
 * controls the server, or replays old manifests, could cause that at each poll without breaking any other
 * limit. So an offer that differs from the last one, and is not proved newer than all before by a signed
 * serial, has to wait after the first few times, longer each time. A publisher without serials also offers
 * releases never seen before; eight of those count as much as one that comes back. A publisher who signs
 * ever higher serials never waits, nor does an operator who asks. Pure: no clock, no I/O; not kept over a
 * restart. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/decide/record.h"

enum { TURNS_SEEN = 8 };

/* All zero: nothing was looked at yet. */
struct turns {
    struct record_release last; /* the release that was looked at last */
    bool has_serial;
    uint64_t serial_max; /* the highest serial of a signed release so far */
    unsigned count;      /* of changes to a release that was not proved newer */
    struct record_release seen[TURNS_SEEN];
    unsigned seen_next, new_count;
    uint64_t last_ms; /* when a poll last looked; same clock as now_ms below */
};

/* Milliseconds from `now_ms` (of a clock that also runs while the machine sleeps) until a poll may look at
 * `offered`; 0 = now. */
uint64_t turns_wait_ms(const struct turns *turns, const struct record_release *offered, uint64_t now_ms,
                       uint64_t interval_ms);

/* Call when a poll looks at `offered`. */
void turns_note(struct turns *turns, const struct record_release *offered, uint64_t now_ms);
