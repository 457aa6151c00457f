#include "common/sinter/release.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/image/url.h"

struct release_fetch {
    struct pool_job job;
    struct pool *pool;
    struct http_request *request;
    struct release *release; /* while it is being parsed, the job's */
    release_done_fn done;    /* NULL once cancelled */
    void *owner;
    bool failed;
    struct error error;
};

struct release *release_free(struct release *release)
{
    if (!release)
        return NULL;
    manifest_free(release->manifest);
    free(release->image_url);
    free(release->manifest_url);
    free(release->manifest_text);
    free(release->etag);
    free(release->last_modified);
    free(release);
    return NULL;
}

static struct release *release_new(const char *image_url)
{
    struct release *release = alloc_zeroed(sizeof(*release));

    release->image_url = alloc_string(image_url);
    release->manifest_url = url_append_to_path(image_url, ".json");
    return release;
}

static bool release_parse(struct release *release, struct error *error)
{
    if (!manifest_parse(release->manifest_text, release->manifest_size, &release->manifest, error)) {
        CLEANUP_FREE char *url = http_url_for_display(release->manifest_url);
        return error_prefix(error, "%s", url);
    }
    return true;
}

bool release_from_text(const char *image_url, char *text, size_t size, struct release **ret_release,
                       struct error *error)
{
    struct release *release = release_new(image_url);

    release->manifest_text = text;
    release->manifest_size = size;
    if (!release_parse(release, error)) {
        release->manifest_text = NULL;
        release_free(release);
        return false;
    }
    *ret_release = release;
    return true;
}

static void release_fetch_free(struct release_fetch *fetch)
{
    http_cancel(fetch->request);
    release_free(fetch->release);
    free(fetch);
}

static void release_run_parse(struct pool_job *job)
{
    struct release_fetch *fetch = container_of(job, struct release_fetch, job);

    fetch->failed = !release_parse(fetch->release, &fetch->error);
}

static void release_parsed(struct pool_job *job)
{
    struct release_fetch *fetch = container_of(job, struct release_fetch, job);

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

static void release_on_response(void *owner, struct http_response *response)
{
    struct release_fetch *fetch = owner;

    fetch->request = NULL;
    switch (response->outcome) {
    case HTTP_OUTCOME_OK:
        fetch->release->manifest_text = response->body;
        fetch->release->manifest_size = response->body_size;
        response->body = NULL;
        fetch->release->etag = alloc_string(response->etag);
        fetch->release->last_modified = alloc_string(response->last_modified);
        fetch->job =
            (struct pool_job){.run = release_run_parse, .done = release_parsed, .drop = release_dropped};
        pool_submit(fetch->pool, &fetch->job);
        return;
    case HTTP_OUTCOME_NOT_MODIFIED:
        fetch->done(fetch->owner, NULL, true, NULL, 0);
        break;
    case HTTP_OUTCOME_CHANGED:
    case HTTP_OUTCOME_TRANSIENT:
    case HTTP_OUTCOME_FAILED:
        fetch->done(fetch->owner, NULL, false, &response->error, response->retry_after_ms);
        break;
    }
    release_fetch_free(fetch);
}

struct release_fetch *release_fetch_start(struct http *http, struct pool *pool, const char *image_url,
                                          const char *etag, const char *last_modified, release_done_fn done,
                                          void *owner)
{
    struct release_fetch *fetch = alloc_zeroed(sizeof(*fetch));

    fetch->pool = pool;
    fetch->done = done;
    fetch->owner = owner;
    fetch->release = release_new(image_url);
    const struct http_get get = {
        .url = fetch->release->manifest_url,
        .max_size = MANIFEST_SIZE_MAX,
        .if_none_match = etag,
        .if_modified_since = last_modified,
    };
    fetch->request = http_get(http, &get, release_on_response, fetch);
    return fetch;
}

struct release_fetch *release_fetch_cancel(struct release_fetch *fetch)
{
    if (!fetch)
        return NULL;
    if (fetch->request)
        release_fetch_free(fetch);
    else
        fetch->done = NULL; /* a thread has it: release_parsed() or release_dropped() frees it */
    return NULL;
}
