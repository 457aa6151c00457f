/* SPDX-License-Identifier: MIT */
#include "daemon/parts/checker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/base/log.h"
#include "common/base/wall_clock.h"
#include "common/sinter/release_parts.h"
#include "daemon/decide/turns.h"
#include "daemon/host/identify.h"
#include "daemon/host/set_images.h"

struct checker {
    struct pool *pool;
    const struct checker_events *events;
    void *owner;
    struct release *release;       /* what the server offered last; NULL = nothing is known */
    struct record_release offered; /* the same release as the record keeps it */
    struct release_fetch *fetch;
    struct release *set;         /* what the server just sent; NULL unless its parts are fetched */
    struct release_parts *parts; /* fetches them */
    struct http *http;           /* of the question under way */
    uint64_t retry_after_ms;     /* as the server asked with the set's manifest */
    struct identify *identify;
    struct record_release identified; /* what a slot was compared with last */
    struct turns
        turns;      /* what polls have looked at, for a server that offers now one release and now another */
    bool overtaken; /* the image on the server does not belong to the manifest: fetch that whole */
    bool ignores_etag; /* the manifest was fetched again and is the same */
};

/* --- asking the server --- */

static void take(struct checker *checker, struct release *release)
{
    struct record_release offered;

    record_release_from(&offered, release);
    if (*release->verdict.why_not)
        log_warning("the manifest's signature counts for nothing, and RequireSignature=no: %s",
                    release->verdict.why_not);
    else if (release->verdict.is_signed)
        log_info("the manifest is signed by key %s: %s", release->verdict.key_id, release->verdict.comment);
    bool same = strcmp(offered.manifest_sha256, checker->offered.manifest_sha256) == 0;
    /* The image's ETag changed and the manifest did not: some servers make the ETag of inode and time. */
    checker->ignores_etag = same && (checker->overtaken || checker->ignores_etag);
    checker->overtaken = false;
    release_inherit(release, checker->release);
    release_free(checker->release);
    checker->release = release;
    checker->offered = offered;
}

/* Only a set that was had whole is offered; until then the release before it is. */
static void on_parts_fetched(void *owner, const struct error *error, uint64_t retry_after_ms)
{
    struct checker *checker = owner;
    struct release *set = checker->set;

    checker->parts = NULL;
    checker->set = NULL;
    if (error) {
        release_free(set);
        checker->events->failed(checker->owner, error, retry_after_ms);
        return;
    }
    take(checker, set);
    checker->events->answered(checker->owner, true, checker->retry_after_ms);
}

static void on_fetched(void *owner, struct release *release, bool unchanged, const struct error *error,
                       uint64_t retry_after_ms)
{
    struct checker *checker = owner;

    checker->fetch = NULL;
    if (error) {
        checker->events->failed(checker->owner, error, retry_after_ms);
        return;
    }
    if (release && release->manifest->parts.count) {
        checker->retry_after_ms = retry_after_ms;
        checker->set = release;
        checker->parts = release_parts_start(checker->http, checker->pool, release, checker->release,
                                             on_parts_fetched, checker);
        return;
    }
    if (release)
        take(checker, release);
    checker->events->answered(checker->owner, release != NULL, retry_after_ms);
}

void checker_ask(struct checker *checker, const struct checker_request *request)
{
    const struct release *known = checker->overtaken ? NULL : checker->release;

    assert(checker_state(checker) == CHECKER_IDLE);
    checker->http = request->http;
    checker->fetch =
        release_fetch_start(request->http, checker->pool, request->url, known ? known->etag : NULL,
                            known ? known->last_modified : NULL, &request->trust, on_fetched, checker);
}

/* --- looking at a slot --- */

static void on_identified(void *owner, bool equal, bool cancelled, const struct slot_print *prints)
{
    struct checker *checker = owner;

    checker->identify = NULL;
    if (cancelled) {
        checker->events->cancelled(checker->owner);
        return;
    }
    checker->identified = checker->offered;
    /* In the order of checker_identify(). */
    checker->events->identified(checker->owner, equal, &prints[checker->release->manifest->parts.count],
                                prints);
}

/* The parts come first: mostly they are the smaller ones, and one that differs spares the reading of the
 * rest. */
void checker_identify(struct checker *checker, const struct slots *slots, enum slot slot)
{
    struct identify_image images[IDENTIFY_IMAGES_MAX];
    struct set_images places;

    assert(checker_state(checker) == CHECKER_IDLE);
    set_images_find(checker->release, slots, slot, &places);
    for (unsigned i = 0; i < places.count; i++) {
        const struct manifest *manifest = places.list[i].release->manifest;
        images[i] = (struct identify_image){.path = places.list[i].target_path, .bytes = manifest->file_size};
        memcpy(images[i].sha256, manifest->sha256, sizeof(images[i].sha256));
    }
    checker->identify = identify_start(checker->pool, images, places.count, on_identified, checker);
}

bool checker_has_identified(const struct checker *checker)
{
    return record_release_is_same(&checker->identified, &checker->offered);
}

/* --- what is known --- */

struct release *checker_release(const struct checker *checker)
{
    return checker->release;
}

const struct record_release *checker_offered(const struct checker *checker)
{
    return &checker->offered;
}

void checker_restore(struct checker *checker, struct release *release)
{
    assert(!checker->release);
    record_release_from(&checker->offered, release);
    checker->release = release;
}

void checker_forget(struct checker *checker)
{
    assert(checker_state(checker) == CHECKER_IDLE);
    checker->release = release_free(checker->release);
    memset(&checker->offered, 0, sizeof(checker->offered));
    checker->overtaken = checker->ignores_etag = false;
}

void checker_note_overtaken(struct checker *checker)
{
    checker->overtaken = true;
}

bool checker_ignores_etag(const struct checker *checker)
{
    return checker->ignores_etag;
}

uint64_t checker_wait_ms(const struct checker *checker, uint64_t interval_ms)
{
    return turns_wait_ms(&checker->turns, &checker->offered, wall_clock_boot_ms(), interval_ms);
}

void checker_note_look(struct checker *checker)
{
    turns_note(&checker->turns, &checker->offered, wall_clock_boot_ms());
}

/* --- life --- */

struct checker *checker_new(struct pool *pool, const struct checker_events *events, void *owner)
{
    struct checker *checker = alloc_zeroed(sizeof(*checker));

    checker->pool = pool;
    checker->events = events;
    checker->owner = owner;
    return checker;
}

struct checker *checker_free(struct checker *checker)
{
    if (!checker)
        return NULL;
    release_free(checker->release);
    free(checker);
    return NULL;
}

void checker_stop(struct checker *checker)
{
    checker->fetch = release_fetch_cancel(checker->fetch);
    checker->parts = release_parts_cancel(checker->parts);
    checker->set = release_free(checker->set);
}

enum checker_state checker_state(const struct checker *checker)
{
    if (checker->fetch || checker->parts)
        return CHECKER_ASKING;
    return checker->identify ? CHECKER_IDENTIFYING : CHECKER_IDLE;
}

void checker_cancel(struct checker *checker)
{
    identify_cancel(checker->identify);
    if (checker_state(checker) != CHECKER_ASKING)
        return;
    checker_stop(checker);
    checker->events->cancelled(checker->owner);
}
