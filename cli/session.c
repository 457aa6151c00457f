/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

#include <stdio.h>

#include "cli/argument.h"
#include "cli/engine.h"
#include "cli/event_line.h"
#include "cli/report.h"
#include "cli/session_checks.h"
#include "cli/session_options.h"
#include "common/base/container.h"
#include "common/base/wall_clock.h"
#include "common/io/backoff.h"
#include "common/io/retry.h"
#include "common/io/timer.h"
#include "common/sinter/clone_set.h"
#include "common/sinter/release.h"
#include "common/sinter/release_parts.h"

enum {
    SESSION_DRAW_MS = 200,
};

struct session {
    struct session_options options;
    bool plan_only;
    /* the run */
    struct engine engine;
    struct report report;
    struct clone_set_events events; /* the report's, except `done` */
    struct release_fetch *fetch;
    struct release_parts *parts;
    struct release *release; /* what was read last */
    struct release *earlier; /* what was read before, as long as parts are taken over from it */
    struct clone_set *clone;
    struct timer *draw;
    struct timer *again; /* runs before the manifest is read again */
    struct backoff backoff;
    uint64_t stuck_since_ms; /* when a round last brought something new */
    unsigned rounds;
    unsigned idle_rounds; /* how many readings in a row gave the same manifest, after rounds that brought
                             nothing */
    bool ignore_etag;
    bool keep_verified_only; /* a clone's read-back was wrong: see clone_settings */
    bool lacking;            /* the server does not have a file that the manifest names; `error` says which */
    bool failed;
    struct error error;
};

static void session_end(struct session *session, const struct error *error)
{
    session->failed = error != NULL;
    if (error)
        session->error = *error;
    engine_end(&session->engine);
}

static void session_fetch(struct session *session);
static void session_clone(struct session *session);

/* Something else follows. What was found out is left to it. */
static void session_drop_clone(struct session *session)
{
    report_clone_end(&session->report, session->clone);
    clone_set_leave_stock(session->clone);
    session->clone = clone_set_free(session->clone);
}

static uint64_t session_give_up_ms(const struct session *session)
{
    return session->options.give_up_ms ? session->options.give_up_ms : CLONE_GIVE_UP_MS;
}

/* The files on the server do not fit each other. A publication may be under way, with some servers behind the
 * address further along than others. So the manifest is read again, after growing waits, until the time for
 * tries without progress is over; then returns false. `lacking` says that a file is not there. */
static bool session_start_over(struct session *session, const struct error *error, bool lacking)
{
    uint64_t now_ms = wall_clock_steady_ms();
    struct clone_set *clone = session->clone; /* NULL: it was no image yet, but a part's manifest */

    if (session->rounds == 1 || (clone && clone_set_progress(clone)->bytes_written)) {
        session->stuck_since_ms = now_ms;
        session->idle_rounds = 0;
        backoff_reset(&session->backoff);
    }
    uint64_t wait_ms = backoff_draw_ms(&session->backoff, 0);
    if (session->rounds >= RETRY_ROUNDS_MAX ||
        now_ms - session->stuck_since_ms + wait_ms > session_give_up_ms(session))
        return false;
    session->lacking = lacking;
    session->error = *error;
    report_manifest_retry(&session->report, error, wait_ms);
    if (clone)
        session_drop_clone(session);
    timer_start(session->again, wait_ms);
    return true;
}

/* What was read back is not the image. Chunks in place were trusted by their XXH3, or as holes; one more
 * round keeps only chunks that SHA-256 proves. */
static bool session_clone_again(struct session *session, const struct error *error)
{
    if (session->keep_verified_only || !clone_set_was_misread(session->clone))
        return false;
    session->keep_verified_only = true;
    report_clone_again(&session->report, error);
    session_drop_clone(session);
    session_clone(session);
    return true;
}

static void session_end_overtaken(struct session *session, const struct error *error, const char *advice)
{
    struct error whole;

    error_set(
        &whole, error->kind,
        "%s; that is so after reading the manifest %u times, so a publication may be under way: try again "
        "when it is over%s",
        error->message, session->rounds, advice);
    session_end(session, &whole);
}

/* Ends the run with this error, or reads the manifest again where that may help: `overtaken` says that the
 * files on the server do not fit each other, or that one is not there (`lacking`). */
static void session_fail(struct session *session, const struct error *error, bool overtaken, bool lacking)
{
    if (overtaken && session_start_over(session, error, lacking))
        return;
    if (overtaken && session->rounds > 1)
        session_end_overtaken(session, error, session->options.give_up_ms ? "" : ", or give --retry-for");
    else
        session_end(session, error);
}

static void session_on_again(void *owner)
{
    session_fetch(owner);
}

static void session_on_clone_done(void *owner, const struct error *error)
{
    struct session *session = container_of(owner, struct session, report);
    /* After a signal nothing is started again, even if the clone had failed before it. */
    bool may_go_on = error && error->kind != ERROR_CANCELLED && !session->engine.signal;

    if (may_go_on && session_clone_again(session, error))
        return;
    if (error) {
        /* The images of a set before may have taken so long that the publisher has tidied up meanwhile. */
        bool gone = session->options.images.count > 1 && error->kind == ERROR_REMOTE;
        bool overtaken = may_go_on && (gone || clone_set_was_overtaken(session->clone));
        session_fail(session, error, overtaken, gone || clone_set_lacks_file(session->clone));
        return;
    }
    report_clone_end(&session->report, session->clone);
    report_done(&session->report, session->engine.http, session->plan_only);
    session_end(session, NULL);
}

static void session_clone(struct session *session)
{
    const struct session_images *images = &session->options.images;
    struct clone_set_settings settings = {
        .count = images->count,
        .plan_only = session->plan_only,
        /* Of a set, images that were made are planned again with the others. */
        .keep_stock = images->count > 1,
        .ignore_etag = session->ignore_etag,
        .keep_verified_only = session->keep_verified_only,
        .hash_sources = session->report.events && !session->plan_only,
        .any_table = true,
        .connections = session->options.http.connections,
        .give_up_ms = session->options.give_up_ms,
        .patient = session->options.give_up_ms != 0,
    };

    /* The parts come first, the main image last. */
    for (unsigned i = 0; i < images->count; i++) {
        const struct session_image *image = &images->list[(i + 1) % images->count];
        settings.images[i] = (struct clone_set_image){
            .name = image->name,
            .release = session_image_release(image, session->release),
            .target_path = image->target,
            .seed_paths = (const char *const *)image->seeds,
            .create_target = true,
        };
    }
    session->events = report_clone_events;
    session->events.done = session_on_clone_done;
    session->clone = clone_set_new(session->engine.base, session->engine.http, session->engine.pool,
                                   &settings, &session->events, &session->report);
    clone_set_start(session->clone);
}

static void session_on_manifest_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct session *session = owner;

    report_manifest_retry(&session->report, error, wait_ms);
}

static void session_on_parts(void *owner, const struct error *error, uint64_t retry_after_ms)
{
    struct session *session = owner;

    session->parts = NULL;
    session->earlier = release_free(session->earlier);
    if (!error) {
        session_clone(session);
        return;
    }
    /* A set and its part that do not fit may be of two publications, and the set's manifest the older one. So
     * may one whose part is gone. */
    bool lacking = error->kind == ERROR_REMOTE;
    bool overtaken = (lacking || error->kind == ERROR_MISMATCH) && !session->engine.signal;
    report_manifest_failed(&session->report, error);
    session_fail(session, error, overtaken, lacking);
}

/* Reads the manifests of the parts; where there are none, that is over at once. */
static void session_fetch_parts(struct session *session)
{
    const struct session_images *images = &session->options.images;

    session->parts = release_parts_start(session->engine.http, session->engine.pool, session->release,
                                         session->earlier, session_on_parts, session);
    release_parts_set_patience(session->parts, session_give_up_ms(session), session_on_manifest_retry);
    for (unsigned i = 1; i < images->count; i++)
        if (images->list[i].slot != MANIFEST_PART_OF_BOTH)
            release_parts_leave_out(session->parts,
                                    session_image_part(&images->list[i], &session->release->manifest->parts),
                                    images->list[i].slot == MANIFEST_PART_OF_A);
}

static void session_on_release(void *owner, struct release *release, bool unchanged,
                               const struct error *error, uint64_t retry_after_ms)
{
    struct session *session = owner;
    struct error refusal;

    session->fetch = NULL;
    if (error) {
        report_manifest_failed(&session->report, error);
        session_end(session, error);
        return;
    }
    report_manifest_end(&session->report, release);
    /* If the manifest is the same as before, the server's ETags mean nothing; only digests count. */
    bool same = release_inherit(release, session->release);
    session->ignore_etag = session->ignore_etag || same;
    session->earlier = session->release;
    session->release = release;
    session->idle_rounds = same ? session->idle_rounds + 1 : 0;
    if (session->idle_rounds >= RETRY_IDLE_ROUNDS_MAX && !session->options.give_up_ms) {
        session_end_overtaken(session, &session->error, ", or give --retry-for");
        return;
    }
    if (same && session->lacking && !session->options.give_up_ms) {
        session_end(session, &session->error);
        return;
    }
    if (!session_images_check_release(&session->options.images, &release->manifest->parts, &refusal)) {
        session_end(session, &refusal);
        return;
    }
    session_fetch_parts(session);
}

static void session_fetch(struct session *session)
{
    session->rounds++;
    report_manifest_start(&session->report);
    session->fetch = release_fetch_start(session->engine.http, session->engine.pool, session->options.url,
                                         NULL, NULL, &session->options.trust, session_on_release, session);
    release_fetch_set_patience(session->fetch, session_give_up_ms(session),
                               !session->options.give_up_ms && session->rounds == 1,
                               session_on_manifest_retry);
    release_fetch_wait_for_signature(session->fetch, session->options.give_up_ms);
}

static void session_on_stop(void *owner)
{
    struct session *session = owner;
    struct error error;

    if (session->clone) {
        clone_set_cancel(session->clone);
        return;
    }
    timer_stop(session->again);
    session->fetch = release_fetch_cancel(session->fetch);
    session->parts = release_parts_cancel(session->parts);
    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    session_end(session, &error);
}

static void session_on_draw(void *owner)
{
    struct session *session = owner;

    if (session->clone)
        report_progress(&session->report);
    timer_start(session->draw, SESSION_DRAW_MS);
}

static bool session_run_loop(struct session *session, struct error *error)
{
    if (!engine_init(&session->engine, &session->options.http, session_on_stop, session, error))
        return false;
    session->backoff = (struct backoff){.first_ms = RETRY_FILE_FIRST_MS, .max_ms = RETRY_FILE_MAX_MS};
    session->again = timer_new(session->engine.base, session_on_again, session);
    if (meter_is_shown(&session->report.meter)) {
        session->draw = timer_new(session->engine.base, session_on_draw, session);
        timer_start(session->draw, SESSION_DRAW_MS);
    }
    session_fetch(session);
    engine_run(&session->engine);
    *error = session->error;
    return !session->failed;
}

static bool session_check(const struct session *session, struct error *error)
{
    const struct session_images *images = &session->options.images;

    for (unsigned i = 0; i < images->count && !session->plan_only; i++)
        if (!session_check_target(images->list[i].target, error))
            return false;
    return session_check_open_files(images, session->options.http.connections, error) &&
           session_images_check_outputs(images, error);
}

int session_run(int argc, char **argv, bool plan_only, const char *help)
{
    struct session session = {.plan_only = plan_only};
    struct error error = {0};

    if (!session_options_parse(&session.options, help, argc, argv, &error)) {
        session_options_finish(&session.options);
        return argument_end(argv[0], &error);
    }
    report_init(&session.report, session.options.quiet, session.options.json,
                session.options.images.count > 1);
    bool ok = session_check(&session, &error) && session_run_loop(&session, &error);
    timer_free(session.draw);
    timer_free(session.again);
    clone_set_free(session.clone);
    release_free(session.earlier);
    release_free(session.release);
    engine_finish(&session.engine);
    session_options_finish(&session.options);
    return engine_exit_status(&session.engine, ok ? 0 : report_failure(&session.report, argv[0], &error));
}
