/* SPDX-License-Identifier: MIT */
#include "common/sinter/transfer_private.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "common/io/retry.h"

enum {
    /* So many new bytes within give_up_ms count as progress: a slow line is not a dead one. */
    PROGRESS_MIN_BYTES = 16 * 1024,
};

struct entity *lane_entity(const struct lane *lane)
{
    return lane_batch(lane)->from_pack ? &lane->transfer->pack : &lane->transfer->image;
}

/* The server wants to be left alone for longer than give_up_ms, so waiting is no use. */
static void lane_give_up(struct transfer *transfer, const struct error *error, uint64_t retry_after_ms)
{
    char wait[32];
    struct error told;

    error_set(&told, error->kind, "%s; it asks not to be asked again for %s, which is longer than is waited",
              error->message, text_format_duration(wait, sizeof(wait), retry_after_ms));
    transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &told);
}

void lane_back_off(struct lane *lane, const struct error *error, uint64_t retry_after_ms)
{
    struct transfer *transfer = lane->transfer;

    transfer->last_error = *error;
    lane_enter(lane, LANE_BACKING_OFF);
    if (retry_after_ms > transfer->settings.give_up_ms) {
        lane_give_up(transfer, error, retry_after_ms);
        return;
    }
    uint64_t wait_ms = backoff_draw_ms(&lane->backoff, retry_after_ms);
    timer_start(lane->timer, wait_ms);
    transfer->events->retry(transfer->owner, lane_batch_run(lane, 0, NULL)->first, error, wait_ms);
}

static void lane_on_progress(void *owner, size_t bytes)
{
    struct transfer *transfer = ((struct lane *)owner)->transfer;

    transfer->news_bytes += bytes;
    if (transfer->news_bytes >= PROGRESS_MIN_BYTES)
        transfer_got_on(transfer);
}

/* The answer is of no use. One address may be many machines: a redirector with a bad mirror, or a CDN in the
 * middle of a publication, where some have the file, some have not, and some still have the one before. So
 * where others may answer better the request is repeated, with growing waits; only after some time without
 * one useful answer does the transfer end. That time is short (RETRY_RANGE_REFUSED_MAX_MS) where the file
 * seems to have been replaced, or was never seen and nobody asked for patience. */
static void lane_refused(struct lane *lane, enum transfer_outcome outcome, const struct error *error,
                         const struct http_response *response)
{
    struct transfer *transfer = lane->transfer;
    struct entity *entity = lane_entity(lane);
    uint64_t now_ms = wall_clock_steady_ms(), patience_ms = transfer->settings.give_up_ms;
    bool missing = response->status == 404 || response->status == 410;
    bool others =
        entity->answered || missing || response->redirected || outcome == TRANSFER_OUTCOME_OVERTAKEN;

    if (!entity->refused_since_ms)
        entity->refused_since_ms = now_ms;
    entity->refusal = *error;
    entity->refusal_outcome = outcome;
    bool brief = outcome == TRANSFER_OUTCOME_OVERTAKEN || !(entity->answered || transfer->settings.patient);
    if (brief && patience_ms > RETRY_RANGE_REFUSED_MAX_MS)
        patience_ms = RETRY_RANGE_REFUSED_MAX_MS;
    if (!others || now_ms - entity->refused_since_ms >= patience_ms) {
        transfer_stop(transfer, outcome, error);
        return;
    }
    uint64_t max_ms = lane->backoff.max_ms;
    lane->backoff.max_ms = RETRY_RANGE_REFUSED_WAIT_MAX_MS;
    lane_back_off(lane, error, response->retry_after_ms);
    lane->backoff.max_ms = max_ms;
}

/* The first answer tells the entity's ETag; later answers must agree with it, and all with the size in the
 * manifest. Returns false if this one does not. */
static bool lane_check_entity(struct lane *lane, const struct http_response *response)
{
    struct transfer *transfer = lane->transfer;
    struct entity *entity = lane_entity(lane);
    struct error error;

    if (response->total_size && response->total_size != entity->size)
        error_set(&error, ERROR_REMOTE,
                  "%s has %" PRIu64 " bytes and its manifest says %" PRIu64
                  "; publish the image before its manifest",
                  url_shown(entity->url), response->total_size, entity->size);
    else if (entity->etag && response->etag && strcmp(entity->etag, response->etag) != 0)
        error_set(&error, ERROR_REMOTE, "%s was replaced during the download", url_shown(entity->url));
    else {
        if (!entity->etag && response->etag && !transfer->settings.ignore_etag)
            entity->etag = alloc_string(response->etag);
        entity->answered = true;
        entity->refused_since_ms = 0;
        return true;
    }
    lane_refused(lane, TRANSFER_OUTCOME_OVERTAKEN, &error, response);
    return false;
}

static void lane_on_response(void *owner, struct http_response *response)
{
    struct lane *lane = owner;
    struct transfer *transfer = lane->transfer;

    lane->request = NULL;
    switch (response->outcome) {
    case HTTP_OUTCOME_OK:
        if (!lane_check_entity(lane, response))
            return;
        /* The server may send less than was asked for. */
        lane->have += response->body_size;
        if (lane->have < lane->window_size) {
            lane_fetch(lane);
            return;
        }
        lane_write(lane);
        transfer_fill(transfer);
        return;
    case HTTP_OUTCOME_TRANSIENT:
        /* The bytes that came are kept and only the rest is requested again. There is no rest if the
         * connection broke after the last byte. */
        lane->have += response->body_size;
        if (lane->have == lane->window_size) {
            lane_write(lane);
            transfer_fill(transfer);
            return;
        }
        if (response->body_size)
            backoff_reset(&lane->backoff);
        lane_back_off(lane, &response->error, response->retry_after_ms);
        return;
    case HTTP_OUTCOME_CHANGED:
        lane_refused(lane, TRANSFER_OUTCOME_OVERTAKEN, &response->error, response);
        return;
    case HTTP_OUTCOME_FAILED:
        if (response->if_range_unheard) {
            /* Without If-Range; lane_check_entity() compares the ETags of the answers, as it does with weak
             * ones. */
            lane_entity(lane)->no_if_range = true;
            lane_fetch(lane);
            return;
        }
        lane_refused(lane, TRANSFER_OUTCOME_FAILED, &response->error, response);
        return;
    case HTTP_OUTCOME_NOT_MODIFIED:
        break;
    }
    assert(!"304 to a request without a condition is judged FAILED by http.c");
}

void lane_fetch(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    struct entity *entity = lane_entity(lane);
    const struct http_get_range get = {
        .url = url_text_to_send(entity->url),
        .offset = lane->window_offset + lane->have,
        .size = lane->window_size - lane->have,
        .buffer = lane->buffer + lane->have,
        .etag = entity->etag,
        .no_if_range = entity->no_if_range,
        /* For servers without ETags the size must match, too. Not before the first good answer: until then a
         * missing file is missing, not changed. */
        .total_size = entity->answered ? entity->size : 0,
        .progress = lane_on_progress,
    };

    lane_enter(lane, LANE_FETCHING);
    transfer->last_asked = entity;
    lane->request = http_get_range(transfer->settings.http, &get, lane_on_response, lane);
}

void lane_on_timer(void *owner)
{
    lane_fetch(owner);
}
