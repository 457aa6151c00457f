/* SPDX-License-Identifier: MIT */
#include "daemon/decide/turns.h"

enum {
    /* A publisher may take back two releases in a day, and two nodes of a CDN may differ for some polls. */
    FREE_TURNS = 4,
    /* This many releases never seen before count as one turn, for a publisher without serials. */
    NEW_PER_TURN = 8,
    WAIT_MAX_MS = 6 * 60 * 60 * 1000,
    FORGET_MS = 24 * 60 * 60 * 1000,
};

static bool is_newest(const struct turns *turns, const struct record_release *offered)
{
    return offered->is_signed && offered->has_serial &&
           (!turns->has_serial || offered->serial > turns->serial_max);
}

/* Whether it is the release of the last look, or this is the first look. */
static bool is_steady(const struct turns *turns, const struct record_release *offered)
{
    bool any = *turns->last.sha256 || *turns->last.manifest_sha256;

    return !any || record_release_is_same(&turns->last, offered);
}

static bool was_seen(const struct turns *turns, const struct record_release *offered)
{
    for (unsigned i = 0; i < TURNS_SEEN; i++)
        if (record_release_is_same(&turns->seen[i], offered))
            return true;
    return false;
}

/* Whether this counts as a turn: a release that comes back does, of releases never seen before only each
 * eighth. */
static bool is_turn(struct turns *turns, const struct record_release *offered)
{
    return was_seen(turns, offered) || ++turns->new_count % NEW_PER_TURN == 0;
}

uint64_t turns_wait_ms(const struct turns *turns, const struct record_release *offered, uint64_t now_ms,
                       uint64_t interval_ms)
{
    uint64_t wait_ms = interval_ms, passed_ms = now_ms - turns->last_ms;

    if (turns->count < FREE_TURNS || is_steady(turns, offered) || is_newest(turns, offered))
        return 0;
    for (unsigned i = FREE_TURNS; i < turns->count && wait_ms < WAIT_MAX_MS; i++)
        wait_ms *= 2;
    /* The wait is at least the interval, even if that is longer than the limit. */
    if (wait_ms > WAIT_MAX_MS)
        wait_ms = WAIT_MAX_MS > interval_ms ? WAIT_MAX_MS : interval_ms;
    return passed_ms < wait_ms ? wait_ms - passed_ms : 0;
}

void turns_note(struct turns *turns, const struct record_release *offered, uint64_t now_ms)
{
    if (now_ms - turns->last_ms >= FORGET_MS)
        turns->count = turns->new_count = 0;
    if (!is_steady(turns, offered) && !is_newest(turns, offered) && is_turn(turns, offered) &&
        turns->count < UINT16_MAX)
        turns->count++;
    if (is_newest(turns, offered)) {
        turns->has_serial = true;
        turns->serial_max = offered->serial;
    }
    if (!was_seen(turns, offered))
        turns->seen[turns->seen_next++ % TURNS_SEEN] = *offered;
    turns->last = *offered;
    turns->last_ms = now_ms;
}
