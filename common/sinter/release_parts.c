/* SPDX-License-Identifier: MIT */
#include "common/sinter/release_parts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/io/later.h"

/* One image of a part; the second slot only of a part that has one for each. */
struct place {
    uint32_t part;
    unsigned slot;
};

struct release_parts {
    struct http *http;
    struct pool *pool;
    struct release *set;
    struct release *earlier;
    struct release_fetch *fetch;
    struct place place; /* being fetched */
    bool left_out[MANIFEST_PARTS_MAX][2];
    uint64_t give_up_ms;
    release_retry_fn retry; /* NULL = the first failure ends it */
    struct later *begin;
    /* Of each image of `set`, the one of `earlier` that it takes over at the end. Until then `earlier` is
     * what it was, as it stays in use if this fails. */
    struct place heritage[MANIFEST_PARTS_MAX][2];
    bool inherits[MANIFEST_PARTS_MAX][2];
    release_parts_done_fn done;
    void *owner;
};

static const struct manifest_part *part_at(const struct release *set, struct place place)
{
    return &set->manifest->parts.list[place.part];
}

static const struct manifest_part_file *file_at(const struct release *set, struct place place)
{
    return &part_at(set, place)->files[place.slot];
}

/* Whether there is an image at this place, as there is at {0, 0} and then at each next_place(). */
static bool is_place(const struct release *set, struct place place)
{
    return place.part < set->manifest->parts.count;
}

static struct place next_place(const struct release *set, struct place place)
{
    if (place.slot == 0 && part_at(set, place)->per_slot)
        return (struct place){place.part, 1};
    return (struct place){place.part + 1, 0};
}

bool release_has_parts(const struct release *set)
{
    for (struct place place = {0}; is_place(set, place); place = next_place(set, place))
        if (!set->parts[place.part][place.slot])
            return false;
    return true;
}

static bool check_manifests_sum(const struct release_parts *parts, struct error *error)
{
    const struct release *set = parts->set;
    uint64_t sum = 0; /* of 32 numbers of at most MANIFEST_SIZE_MAX */

    for (struct place place = {0}; is_place(set, place); place = next_place(set, place))
        sum += parts->left_out[place.part][place.slot] ? 0 : file_at(set, place)->size_bytes;
    return sum <= RELEASE_PARTS_SIZE_MAX ||
           error_set(
               error, ERROR_REFUSED,
               "the manifests of the set's parts have %" PRIu64
               " bytes together, and %d are the most that is taken; give generate a larger CHUNK_SIZE for them",
               sum, RELEASE_PARTS_SIZE_MAX);
}

/* Whether every reference leads somewhere. Found out before anything is asked for or taken over. */
static bool check_references(const struct release_parts *parts, struct error *error)
{
    const struct release *set = parts->set;
    struct url *url;

    for (struct place place = {0}; is_place(set, place); place = next_place(set, place)) {
        if (parts->left_out[place.part][place.slot])
            continue;
        if (!release_refer_part(set, file_at(set, place), &url, error))
            return false;
        url_free(url);
    }
    return true;
}

/* The image of a place: its own, or the one that it is going to take over. */
static const struct release *image_at(const struct release *set, const struct release_parts *parts,
                                      struct place place)
{
    if (!parts || !parts->inherits[place.part][place.slot])
        return set->parts[place.part][place.slot];
    const struct place old = parts->heritage[place.part][place.slot];
    return parts->earlier->parts[old.part][old.slot];
}

/* With what `parts` will take over; NULL = nothing. */
static bool check_sum(const struct release *set, const struct release_parts *parts, struct error *error)
{
    uint64_t left = MANIFEST_FILE_SIZE_MAX - set->manifest->file_size;

    for (struct place place = {0}; is_place(set, place); place = next_place(set, place)) {
        const struct release *part = image_at(set, parts, place);
        uint64_t bytes = part ? part->manifest->file_size : 0;
        if (bytes > left)
            return error_set(error, ERROR_REFUSED,
                             "the images of the set cannot be that large: with part %s they have more than "
                             "%" PRIu64 " bytes together",
                             part_at(set, place)->name, MANIFEST_FILE_SIZE_MAX);
        left -= bytes;
    }
    return true;
}

bool release_check_sum(const struct release *set, struct error *error)
{
    return check_sum(set, NULL, error);
}

bool release_add_part(struct release *set, uint32_t part, unsigned slot, char *text, size_t size,
                      struct error *error)
{
    const struct place place = {part, slot};
    const struct trust trust = release_trust_part(set, file_at(set, place));
    struct release *release;
    struct url *url;

    if (!release_refer_part(set, file_at(set, place), &url, error))
        return false;
    bool fits = release_from_text(url, text, size, NULL, 0, &trust, &release, error);
    url_free(url);
    if (!fits)
        return error_prefix(error, "part %s", part_at(set, place)->name);
    release_free(set->parts[part][slot]);
    set->parts[part][slot] = release;
    return true;
}

/* --- what an earlier release has --- */

/* Finds out what is taken over. Each image of the earlier release goes to one image at most. */
static void find_heritage(struct release_parts *parts)
{
    const struct release *set = parts->set, *earlier = parts->earlier;
    bool taken[MANIFEST_PARTS_MAX][2] = {{false}};

    for (struct place place = {0}; is_place(set, place); place = next_place(set, place)) {
        for (struct place old = {0}; earlier && is_place(earlier, old); old = next_place(earlier, old)) {
            if (parts->left_out[place.part][place.slot] || taken[old.part][old.slot] ||
                !earlier->parts[old.part][old.slot] ||
                memcmp(file_at(set, place)->sha256, file_at(earlier, old)->sha256, DIGEST_SHA256_SIZE) != 0)
                continue;
            parts->heritage[place.part][place.slot] = old;
            parts->inherits[place.part][place.slot] = taken[old.part][old.slot] = true;
            break;
        }
    }
}

/* Where the image lies; the caller's. Not before check_references(). */
static struct url *refer(const struct release *set, struct place place)
{
    struct url *url;
    bool leads = release_refer_part(set, file_at(set, place), &url, NULL);

    assert(leads);
    return url;
}

/* The same manifest may lie elsewhere now, and its image with it, and it speaks with another set's trust.
 * Cannot fail: `earlier` would lack what was taken so far, and it stays in use then. */
static void take_over(struct release_parts *parts, struct place place)
{
    const struct place old = parts->heritage[place.part][place.slot];
    struct release *set = parts->set, **heir = &set->parts[place.part][place.slot];
    struct url *url = refer(set, place);

    *heir = parts->earlier->parts[old.part][old.slot];
    parts->earlier->parts[old.part][old.slot] = NULL;
    url_free((*heir)->image_url);
    url_free((*heir)->manifest_url);
    (*heir)->image_url = url;
    (*heir)->manifest_url = url_append_to_path(url, ".json");
    (*heir)->verdict.sha256_only = release_trust_part(set, file_at(set, place)).part_sha256_only;
}

static void take_heritage(struct release_parts *parts)
{
    const struct release *set = parts->set;

    for (struct place place = {0}; is_place(set, place); place = next_place(set, place))
        if (parts->inherits[place.part][place.slot])
            take_over(parts, place);
}

/* --- fetching --- */

static void parts_free(struct release_parts *parts)
{
    release_fetch_cancel(parts->fetch);
    later_free(parts->begin);
    free(parts);
}

static void end(struct release_parts *parts, const struct error *error, uint64_t retry_after_ms)
{
    parts->done(parts->owner, error, retry_after_ms);
    parts_free(parts);
}

static void finish(struct release_parts *parts)
{
    struct error error;
    bool fits = check_sum(parts->set, parts, &error);

    if (fits)
        take_heritage(parts);
    end(parts, fits ? NULL : &error, 0);
}

static void go_on(struct release_parts *parts, struct place place);

static void on_fetched(void *owner, struct release *release, bool unchanged, const struct error *error,
                       uint64_t retry_after_ms)
{
    struct release_parts *parts = owner;
    const char *name = part_at(parts->set, parts->place)->name;

    parts->fetch = NULL;
    if (error) {
        struct error why = *error;
        bool fits = error->kind != ERROR_REMOTE && error->kind != ERROR_MISMATCH;
        error_prefix(&why, "%spart %s", fits ? "" : "the set does not fit together on the server: ", name);
        end(parts, &why, retry_after_ms);
        return;
    }
    parts->set->parts[parts->place.part][parts->place.slot] = release;
    go_on(parts, next_place(parts->set, parts->place));
}

static void on_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct release_parts *parts = owner;

    parts->retry(parts->owner, error, wait_ms);
}

/* Whether nothing is to be fetched for it. */
static bool is_served(const struct release_parts *parts, struct place place)
{
    return parts->set->parts[place.part][place.slot] || parts->inherits[place.part][place.slot] ||
           parts->left_out[place.part][place.slot];
}

/* Fetches the first image from `place` on that is neither there nor taken over. */
static void go_on(struct release_parts *parts, struct place place)
{
    const struct release *set = parts->set;

    while (is_place(set, place) && is_served(parts, place))
        place = next_place(set, place);
    if (!is_place(set, place)) {
        finish(parts);
        return;
    }
    struct url *url = refer(set, place);
    const struct trust trust = release_trust_part(set, file_at(set, place));
    parts->place = place;
    parts->fetch = release_fetch_start(parts->http, parts->pool, url, NULL, NULL, &trust, on_fetched, parts);
    if (parts->retry)
        release_fetch_set_patience(parts->fetch, parts->give_up_ms, false, on_retry);
    url_free(url);
}

static void on_begin(void *owner)
{
    struct release_parts *parts = owner;
    struct error error;

    if (!check_manifests_sum(parts, &error) || !check_references(parts, &error)) {
        end(parts, &error, 0);
        return;
    }
    find_heritage(parts);
    go_on(parts, (struct place){0});
}

struct release_parts *release_parts_start(struct http *http, struct pool *pool, struct release *set,
                                          struct release *earlier, release_parts_done_fn done, void *owner)
{
    struct release_parts *parts = alloc_zeroed(sizeof(*parts));

    parts->http = http;
    parts->pool = pool;
    parts->set = set;
    parts->earlier = earlier;
    parts->done = done;
    parts->owner = owner;
    parts->begin = later_new(http_base(http), on_begin, parts);
    later_call(parts->begin);
    return parts;
}

void release_parts_leave_out(struct release_parts *parts, uint32_t part, unsigned slot)
{
    parts->left_out[part][slot] = true;
}

void release_parts_set_patience(struct release_parts *parts, uint64_t give_up_ms, release_retry_fn retry)
{
    parts->give_up_ms = give_up_ms;
    parts->retry = retry;
}

struct release_parts *release_parts_cancel(struct release_parts *parts)
{
    if (parts)
        parts_free(parts);
    return NULL;
}
