/* SPDX-License-Identifier: MIT */
#include "common/sinter/release.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/wall_clock.h"
#include "common/io/backoff.h"
#include "common/io/retry.h"
#include "common/io/timer.h"
#include "common/sinter/fetch.h"

struct release_fetch {
    struct pool_job job;
    struct http *http;
    struct pool *pool;
    struct trust trust;
    struct manifest_part_file
        part;                /* what trust.part is, without its URL: the set may end before this does */
    struct fetch *file;      /* being fetched */
    uint64_t retry_after_ms; /* what the last answer asked for */
    uint64_t give_up_ms;
    bool answers_only; /* no answer came as yet: end at once if none comes */
    release_retry_fn retry;
    uint64_t wait_for_signature_ms, distrusted_since_ms;
    struct backoff backoff;
    struct timer *timer;        /* runs before both files are fetched once more */
    char *etag, *last_modified; /* of the release known so far */
    struct release *release;    /* the job's while it is being judged */
    char *no_signature;         /* why there is no signature */
    bool again;                 /* both files are being fetched once more */
    release_done_fn done;       /* NULL once cancelled */
    void *owner;
    bool failed;
    bool distrusted; /* it failed because there is no good signature */
    struct error error;
};

void release_forget_stock(struct release *release)
{
    free(release->stock.table);
    free(release->stock.index);
    free(release->stock.frames);
    free(release->stock.patch_failed);
    release->stock = (struct release_stock){0};
}

struct release *release_free(struct release *release)
{
    if (!release)
        return NULL;
    release_forget_stock(release);
    for (uint32_t i = 0; i < MANIFEST_PARTS_MAX; i++) {
        release_free(release->parts[i][0]);
        release_free(release->parts[i][1]);
    }
    manifest_free(release->manifest);
    url_free(release->image_url);
    url_free(release->manifest_url);
    free(release->manifest_text);
    free(release->signature_text);
    free(release->verdict.comment);
    free(release->etag);
    free(release->last_modified);
    free(release);
    return NULL;
}

struct release *release_part(const struct release *set, uint32_t part, unsigned slot)
{
    return set->parts[part][set->manifest->parts.list[part].per_slot ? slot : 0];
}

struct release *release_image(struct release *set, const char *name, unsigned slot)
{
    const struct manifest_parts *parts = &set->manifest->parts;
    const struct manifest_part *part = manifest_parts_find(parts, name);

    if (strcmp(name, MANIFEST_MAIN_NAME) == 0)
        return set;
    return part ? release_part(set, (uint32_t)(part - parts->list), slot) : NULL;
}

bool release_inherit(struct release *release, struct release *earlier)
{
    if (!earlier || earlier->manifest_size != release->manifest_size ||
        memcmp(earlier->manifest_text, release->manifest_text, release->manifest_size) != 0)
        return false;
    release_forget_stock(release);
    release->stock = earlier->stock;
    earlier->stock = (struct release_stock){0};
    return true;
}

static struct release *release_new(const struct url *image_url)
{
    struct release *release = alloc_zeroed(sizeof(*release));

    release->image_url = url_copy(image_url);
    release->manifest_url = url_append_to_path(image_url, ".json");
    return release;
}

static bool release_judge(struct release *release, const struct trust *trust, const char *no_signature,
                          bool *ret_distrusted, struct error *error)
{
    const struct trust_input input = {
        .manifest = release->manifest_text,
        .manifest_size = release->manifest_size,
        .signature = release->signature_text,
        .signature_size = release->signature_size,
        .no_signature = no_signature,
    };

    if (!trust_parse_manifest(trust, &input, &release->verdict, &release->manifest, ret_distrusted, error))
        return error_prefix(error, "%s", url_shown(release->manifest_url));
    return true;
}

bool release_from_text(const struct url *image_url, char *text, size_t size, char *signature,
                       size_t signature_size, const struct trust *trust, struct release **ret_release,
                       struct error *error)
{
    struct release *release = release_new(image_url);
    bool distrusted;

    release->manifest_text = text;
    release->manifest_size = size;
    release->signature_text = signature;
    release->signature_size = signature_size;
    if (!release_judge(release, trust, NULL, &distrusted, error)) {
        release->manifest_text = release->signature_text = NULL;
        release_free(release);
        return false;
    }
    *ret_release = release;
    return true;
}

static void release_fetch_free(struct release_fetch *fetch)
{
    fetch_cancel(fetch->file);
    timer_free(fetch->timer);
    release_free(fetch->release);
    free(fetch->no_signature);
    free(fetch->etag);
    free(fetch->last_modified);
    free(fetch);
}

static void release_fail(struct release_fetch *fetch, const struct error *error)
{
    fetch->done(fetch->owner, NULL, false, error, fetch->retry_after_ms);
    release_fetch_free(fetch);
}

static void release_get_manifest(struct release_fetch *fetch);

static void release_run_judge(struct pool_job *job)
{
    struct release_fetch *fetch = container_of(job, struct release_fetch, job);

    fetch->failed =
        !release_judge(fetch->release, &fetch->trust, fetch->no_signature, &fetch->distrusted, &fetch->error);
}

/* Begins again, without If-None-Match and If-Modified-Since. */
static void release_start_over(struct release_fetch *fetch)
{
    struct release *release = release_new(fetch->release->image_url);

    release_free(fetch->release);
    fetch->release = release;
    fetch->again = true;
    free(fetch->no_signature);
    free(fetch->etag);
    free(fetch->last_modified);
    fetch->no_signature = fetch->etag = fetch->last_modified = NULL;
    release_get_manifest(fetch);
}

static void release_on_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct release_fetch *fetch = owner;

    if (fetch->retry)
        fetch->retry(fetch->owner, error, wait_ms);
}

static void release_on_timer(void *owner)
{
    release_start_over(owner);
}

/* Fetches both files again after a wait, as long as the time for that lasts. False when it is over. */
static bool release_wait_for_signature(struct release_fetch *fetch)
{
    uint64_t now_ms = wall_clock_steady_ms();

    if (!fetch->again)
        fetch->distrusted_since_ms = now_ms;
    uint64_t wait_ms = backoff_draw_ms(&fetch->backoff, 0);
    if (now_ms - fetch->distrusted_since_ms + wait_ms > fetch->wait_for_signature_ms)
        return false;
    timer_start(fetch->timer, wait_ms);
    release_on_retry(fetch, &fetch->error, wait_ms);
    return true;
}

/* If manifest and signature do not fit each other, or a part and its set, the publisher may be between two
 * uploads: both are read again, at least once. Returns whether that has begun. */
static bool release_try_again(struct release_fetch *fetch)
{
    if (!fetch->done || !fetch->distrusted ||
        (trust_keys_count(fetch->trust.keys) == 0 && !fetch->trust.part))
        return false;
    if (release_wait_for_signature(fetch))
        return true;
    if (fetch->again)
        return false;
    release_start_over(fetch);
    return true;
}

static void release_judged(struct pool_job *job)
{
    struct release_fetch *fetch = container_of(job, struct release_fetch, job);

    if (release_try_again(fetch))
        return;
    if (fetch->done && fetch->failed)
        fetch->done(fetch->owner, NULL, false, &fetch->error, 0);
    else if (fetch->done) {
        struct release *release = fetch->release;
        fetch->release = NULL;
        fetch->done(fetch->owner, release, false, NULL, 0);
    }
    release_fetch_free(fetch);
}

static void release_dropped(struct pool_job *job)
{
    release_fetch_free(container_of(job, struct release_fetch, job));
}

static void release_submit(struct release_fetch *fetch)
{
    fetch->job = (struct pool_job){.run = release_run_judge, .done = release_judged, .drop = release_dropped};
    pool_submit(fetch->pool, &fetch->job);
}

static void release_on_answer(void *owner, const struct http_response *response)
{
    struct release_fetch *fetch = owner;

    fetch->retry_after_ms = response->retry_after_ms;
}

static void release_on_signature(void *owner, char *body, size_t size, enum http_outcome outcome,
                                 const struct error *error)
{
    struct release_fetch *fetch = owner;

    fetch->file = NULL;
    switch (outcome) {
    case HTTP_OUTCOME_OK:
        fetch->release->signature_text = body;
        fetch->release->signature_size = size;
        release_submit(fetch);
        return;
    case HTTP_OUTCOME_TRANSIENT:
        release_fail(fetch, error);
        return;
    case HTTP_OUTCOME_NOT_MODIFIED:
    case HTTP_OUTCOME_CHANGED:
    case HTTP_OUTCOME_FAILED:
        /* There is no signature, or nothing useful: trust_parse_manifest() decides what that means. */
        fetch->no_signature = alloc_string(error->message);
        release_submit(fetch);
        return;
    }
}

static void release_get_signature(struct release_fetch *fetch)
{
    static const struct fetch_events events = {
        .retry = release_on_retry,
        .answer = release_on_answer,
        .done = release_on_signature,
    };
    struct url *url = url_append_to_path(fetch->release->manifest_url, ".minisig");

    fetch->file = fetch_start(http_base(fetch->http), fetch->http, url, MINISIGN_SIGNATURE_SIZE_MAX,
                              fetch->give_up_ms, &events, fetch);
    fetch_set_patience(fetch->file, fetch->give_up_ms, fetch->answers_only);
    url_free(url);
}

/* Remembers the manifest's ETag and Last-Modified. */
static void release_on_manifest_answer(void *owner, const struct http_response *response)
{
    struct release_fetch *fetch = owner;

    release_on_answer(owner, response);
    if (response->outcome != HTTP_OUTCOME_OK)
        return;
    fetch->release->etag = alloc_string(response->etag);
    fetch->release->last_modified = alloc_string(response->last_modified);
}

/* The server has more bytes for a part's manifest than the set names, so it is another one. */
static void release_on_longer_part(struct release_fetch *fetch)
{
    fetch->distrusted = true;
    error_set(&fetch->error, ERROR_MISMATCH, "%s: it is longer than the manifest that the set names; %s",
              url_shown(fetch->release->manifest_url), TRUST_OTHER_PART);
    if (!release_try_again(fetch))
        release_fail(fetch, &fetch->error);
}

static void release_on_manifest(void *owner, char *body, size_t size, enum http_outcome outcome,
                                const struct error *error)
{
    struct release_fetch *fetch = owner;

    fetch->file = NULL;
    switch (outcome) {
    case HTTP_OUTCOME_OK:
        fetch->release->manifest_text = body;
        fetch->release->manifest_size = size;
        fetch->answers_only = false; /* the name was right */
        if (trust_keys_count(fetch->trust.keys) > 0)
            release_get_signature(fetch);
        else
            release_submit(fetch);
        return;
    case HTTP_OUTCOME_NOT_MODIFIED:
        fetch->done(fetch->owner, NULL, true, NULL, 0);
        release_fetch_free(fetch);
        return;
    case HTTP_OUTCOME_CHANGED:
    case HTTP_OUTCOME_TRANSIENT:
    case HTTP_OUTCOME_FAILED:
        if (fetch->trust.part && error->code == EFBIG)
            release_on_longer_part(fetch);
        else
            release_fail(fetch, error);
        return;
    }
}

static void release_get_manifest(struct release_fetch *fetch)
{
    static const struct fetch_events events = {
        .retry = release_on_retry,
        .answer = release_on_manifest_answer,
        .done = release_on_manifest,
    };
    const struct manifest_part_file *part = fetch->trust.part;
    size_t size_max = part ? (size_t)part->size_bytes : MANIFEST_SIZE_MAX;

    fetch->file = fetch_start_changed(http_base(fetch->http), fetch->http, fetch->release->manifest_url,
                                      fetch->etag, fetch->last_modified, size_max, &events, fetch);
    fetch_set_patience(fetch->file, fetch->give_up_ms, fetch->answers_only);
}

bool release_refer_part(const struct release *set, const struct manifest_part_file *part,
                        struct url **ret_image_url, struct error *error)
{
    size_t path_size = strcspn(part->url, "?#"), suffix_size = strlen(".json");
    CLEANUP_FREE char *reference =
        alloc_printf("%.*s%s", (int)(path_size - suffix_size), part->url, part->url + path_size);

    if (!url_refer(set->manifest_url, reference, ret_image_url, error))
        return error_prefix(error, "a part in %s", url_shown(set->manifest_url));
    return true;
}

struct trust release_trust_part(const struct release *set, const struct manifest_part_file *part)
{
    return (struct trust){.part = part, .part_sha256_only = set->verdict.sha256_only};
}

struct release_fetch *release_fetch_start(struct http *http, struct pool *pool, const struct url *image_url,
                                          const char *etag, const char *last_modified,
                                          const struct trust *trust, release_done_fn done, void *owner)
{
    struct release_fetch *fetch = alloc_zeroed(sizeof(*fetch));

    fetch->http = http;
    fetch->pool = pool;
    fetch->trust = *trust;
    if (trust->part) {
        fetch->part = *trust->part;
        fetch->part.url = NULL;
        fetch->trust.part = &fetch->part;
    }
    fetch->etag = alloc_string(etag);
    fetch->last_modified = alloc_string(last_modified);
    fetch->done = done;
    fetch->owner = owner;
    fetch->timer = timer_new(http_base(http), release_on_timer, fetch);
    fetch->backoff = (struct backoff){.first_ms = RETRY_FILE_FIRST_MS, .max_ms = RETRY_FILE_MAX_MS};
    fetch->release = release_new(image_url);
    release_get_manifest(fetch);
    return fetch;
}

void release_fetch_set_patience(struct release_fetch *fetch, uint64_t give_up_ms, bool answers_only,
                                release_retry_fn retry)
{
    fetch->give_up_ms = give_up_ms;
    fetch->answers_only = answers_only;
    fetch->retry = retry;
    fetch_set_patience(fetch->file, give_up_ms, answers_only);
}

void release_fetch_wait_for_signature(struct release_fetch *fetch, uint64_t give_up_ms)
{
    fetch->wait_for_signature_ms = give_up_ms;
}

struct release_fetch *release_fetch_cancel(struct release_fetch *fetch)
{
    if (!fetch)
        return NULL;
    if (fetch->file || timer_is_running(fetch->timer))
        release_fetch_free(fetch);
    else
        fetch->done = NULL; /* a thread has it: release_judged() or release_dropped() frees it */
    return NULL;
}
