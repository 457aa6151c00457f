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
    /* So many new bytes within give_up_ms count as getting on: a slow line is not a dead one. */
    PROGRESS_MIN_BYTES = 16 * 1024,
};

struct entity *lane_entity(const struct lane *lane)
{
    return lane_batch(lane)->from_pack ? &lane->transfer->pack : &lane->transfer->image;
}

/* It would be given up before the server wants to be asked again, so that waiting is no use. */
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

/* What came is no use. One address may be many machines: a redirector with a bad mirror, or a CDN in the
 * middle of a publication, where some have the file already and some have not, or still the one before. So it
 * is asked again before that ends the transfer, a little later each time, as long as one of them answers as
 * it should. */
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

/* The first answer names the entity; all others must be of the same. False where they are not. */
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
        /* It may be less than was asked for. */
        lane->have += response->body_size;
        if (lane->have < lane->window_size) {
            lane_fetch(lane);
            return;
        }
        lane_write(lane);
        transfer_fill(transfer);
        return;
    case HTTP_OUTCOME_TRANSIENT:
        /* What came of the range stays; only the rest is asked for again. Where the connection broke after
         * the last byte there is none. */
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
            /* Then the ETags of the answers are compared, as weak ones are. */
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
        /* Pinned by its size, too, for servers without ETags; but what never was there is no changed one. */
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
