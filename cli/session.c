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
#include "common/sinter/clone.h"
#include "common/sinter/release.h"

enum {
    SESSION_DRAW_MS = 200,
};

struct session {
    struct session_options options;
    bool plan_only;
    /* the run */
    struct engine engine;
    struct report report;
    struct clone_events events; /* the report's, except `done` */
    struct release_fetch *fetch;
    struct session_image *image; /* the one that is being made; the parts come first, the main image last */
    struct clone *clone;
    struct timer *draw;
    struct timer *again; /* runs before the manifest is read again */
    struct backoff backoff;
    uint64_t stuck_since_ms; /* when a round last brought something new */
    unsigned rounds;
    unsigned idle_rounds; /* how many readings in a row gave the same manifest, after rounds that brought
                             nothing */
    bool has_brought;     /* a part that was made in this round had something to be written */
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

static void session_end_cancelled(struct session *session)
{
    struct error error;

    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    session_end(session, &error);
}

static void session_fetch(struct session *session);
static void session_clone(struct session *session);
static void session_make_image(struct session *session, struct session_image *image);

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
    struct clone *clone = session->clone; /* NULL: it was no image yet, but a part's manifest */

    if (session->rounds == 1 || session->has_brought || (clone && clone_progress(clone)->bytes_written)) {
        session->stuck_since_ms = now_ms;
        session->idle_rounds = 0;
        session->has_brought = false;
        backoff_reset(&session->backoff);
    }
    uint64_t wait_ms = backoff_draw_ms(&session->backoff, 0);
    if (session->rounds >= RETRY_ROUNDS_MAX ||
        now_ms - session->stuck_since_ms + wait_ms > session_give_up_ms(session))
        return false;
    session->lacking = lacking;
    session->error = *error;
    report_manifest_retry(&session->report, error, wait_ms);
    if (clone) {
        report_restart(&session->report, clone);
        clone_leave_stock(clone);
        session->clone = clone_free(clone);
        session->report.clone = NULL;
    }
    timer_start(session->again, wait_ms);
    return true;
}

/* What was read back is not the image. Chunks in place were trusted by their XXH3, or as holes; one more
 * round keeps only chunks that SHA-256 proves. */
static bool session_clone_again(struct session *session, const struct error *error)
{
    if (session->keep_verified_only || error->kind != ERROR_MISMATCH ||
        !clone_progress(session->clone)->bytes_verified)
        return false;
    session->keep_verified_only = true;
    report_clone_again(&session->report, error);
    report_restart(&session->report, session->clone);
    clone_leave_stock(session->clone);
    session->clone = clone_free(session->clone);
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
    struct session_image *image = session->image, *main_image = session->options.images.list;
    /* After a signal nothing is started again, even if the clone had failed before it. */
    bool may_go_on = error && error->kind != ERROR_CANCELLED && !session->engine.signal;
    bool overtaken = may_go_on && clone_was_overtaken(session->clone);

    if (may_go_on && session_clone_again(session, error))
        return;
    if (error) {
        session_fail(session, error, overtaken, overtaken && clone_lacks_file(session->clone));
        return;
    }
    report_image_end(&session->report, session->clone);
    if (image == main_image) {
        report_done(&session->report, session->engine.http, session->plan_only);
        session_end(session, NULL);
        return;
    }
    session->has_brought = session->has_brought || clone_progress(session->clone)->bytes_written;
    session->report.clone = NULL;
    session->clone = clone_free(session->clone);
    /* The next part's manifest takes as much memory. */
    session->report.release = main_image->release;
    image->release = release_free(image->release);
    if (session->engine.signal) {
        /* It came when the part was done but for the closing of its files. */
        session_end_cancelled(session);
        return;
    }
    bool is_last_part = image + 1 == main_image + session->options.images.count;
    session_make_image(session, is_last_part ? main_image : image + 1);
}

/* On a thread, while the loop leaves these alone. */
static bool session_check_opened(void *owner, int fd, struct error *error)
{
    const struct session *session = container_of(owner, struct session, report);

    return session_images_check_opened(&session->options.images, session->image, fd, error);
}

static void session_clone(struct session *session)
{
    const struct clone_settings settings = {
        .release = session->image->release,
        .target_path = session->image->target,
        .seed_paths = (const char *const *)session->image->seeds,
        .create_target = true,
        .check_target = session_check_opened,
        .plan_only = session->plan_only,
        .ignore_etag = session->ignore_etag,
        .keep_verified_only = session->keep_verified_only,
        .hash_sources = session->report.events && !session->plan_only,
        .connections = session->options.http.connections,
        .give_up_ms = session->options.give_up_ms,
        .patient = session->options.give_up_ms != 0,
    };

    session->events = report_clone_events;
    session->events.done = session_on_clone_done;
    session->clone = clone_new(session->engine.base, session->engine.http, session->engine.pool, &settings,
                               &session->events, &session->report);
    session->report.clone = session->clone;
    clone_start(session->clone);
}

static void session_on_manifest_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct session *session = owner;

    report_manifest_retry(&session->report, error, wait_ms);
}

static void session_on_part(void *owner, struct release *release, bool unchanged, const struct error *error,
                            uint64_t retry_after_ms)
{
    struct session *session = owner;
    struct session_image *image = session->image;

    session->fetch = NULL;
    report_manifest_end(&session->report, release, error);
    if (error) {
        /* A set and its part that do not fit may be of two publications, and the set's manifest the older
         * one. So may one whose part is gone, above all as the parts before it may have taken long. */
        bool lacking = error->kind == ERROR_REMOTE;
        bool overtaken = (lacking || error->kind == ERROR_MISMATCH) && !session->engine.signal;
        session_fail(session, error, overtaken, lacking);
        return;
    }
    release_inherit(release, image->release);
    release_free(image->release);
    image->release = release;
    session_clone(session);
}

/* Reads the manifest of a part, which the set's names by its SHA-256. */
static void session_fetch_part(struct session *session)
{
    const struct release *set = session->options.images.list[0].release;
    const struct manifest_part_file *file = session_image_file(session->image, &set->manifest->parts);
    const struct trust trust = release_trust_part(set, file);
    struct url *url;
    struct error error;

    if (!release_refer_part(set, file, &url, &error)) {
        session_end(session, &error);
        return;
    }
    report_manifest_start(&session->report);
    session->fetch = release_fetch_start(session->engine.http, session->engine.pool, url, NULL, NULL, &trust,
                                         session_on_part, session);
    release_fetch_set_patience(session->fetch, session_give_up_ms(session), false, session_on_manifest_retry);
    url_free(url);
}

static void session_make_image(struct session *session, struct session_image *image)
{
    struct session_image *main_image = session->options.images.list;

    session->keep_verified_only = session->keep_verified_only && image == session->image;
    session->image = image;
    report_image_start(&session->report, session->options.images.count > 1 ? image->name : NULL,
                       image->target, image->seeds[0] != NULL);
    if (image == main_image) {
        session->report.release = image->release;
        session_clone(session);
    } else {
        session_fetch_part(session);
    }
}

static void session_on_release(void *owner, struct release *release, bool unchanged,
                               const struct error *error, uint64_t retry_after_ms)
{
    struct session *session = owner;
    struct session_image *main_image = session->options.images.list;
    struct error refusal;

    session->fetch = NULL;
    report_manifest_end(&session->report, release, error);
    if (error) {
        session_end(session, error);
        return;
    }
    /* If the manifest is the same as before, the server's ETags mean nothing; only digests count. */
    bool same = release_inherit(release, main_image->release);
    session->ignore_etag = session->ignore_etag || same;
    release_free(main_image->release);
    main_image->release = release;
    session->idle_rounds = same ? session->idle_rounds + 1 : 0;
    if (session->idle_rounds >= RETRY_IDLE_ROUNDS_MAX && !session->options.give_up_ms) {
        session_end_overtaken(session, &session->error, ", or give --retry-for");
        return;
    }
    if (same && session->lacking && !session->options.give_up_ms) {
        session_end(session, &session->error);
        return;
    }
    if (!session_images_check_release(&session->options.images, &release->manifest->parts, &refusal) ||
        !session_images_check_references(&session->options.images, &refusal)) {
        session_end(session, &refusal);
        return;
    }
    /* Of the same set, the images that were made stay as they are. */
    bool goes_on = same && session->image;
    if (!goes_on)
        report_release_start(&session->report);
    session_make_image(session, goes_on                             ? session->image
                                : session->options.images.count > 1 ? main_image + 1
                                                                    : main_image);
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

    if (session->clone) {
        clone_cancel(session->clone);
        return;
    }
    timer_stop(session->again);
    session->fetch = release_fetch_cancel(session->fetch);
    session_end_cancelled(session);
}

static void session_on_draw(void *owner)
{
    struct session *session = owner;

    if (session->clone)
        report_progress(&session->report, clone_progress(session->clone));
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
    for (unsigned i = 0; i < session->options.images.count; i++) {
        const struct session_image *image = &session->options.images.list[i];
        if ((!session->plan_only && !session_check_target(image->target, error)) ||
            !session_check_open_files(image->seeds, session->options.http.connections, error))
            return false;
    }
    return session_images_check_outputs(&session->options.images, error) &&
           (session->plan_only || session->options.images.count == 1 ||
            session_check_outputs(&session->options.images, error));
}

int session_run(int argc, char **argv, bool plan_only, const char *help)
{
    struct session session = {.plan_only = plan_only};
    struct error error = {0};

    if (!session_options_parse(&session.options, help, argc, argv, &error)) {
        session_options_finish(&session.options);
        return argument_end(argv[0], &error);
    }
    report_init(&session.report, session.options.quiet, session.options.json);
    bool ok = session_check(&session, &error) && session_run_loop(&session, &error);
    timer_free(session.draw);
    timer_free(session.again);
    clone_free(session.clone);
    engine_finish(&session.engine);
    session_options_finish(&session.options);
    return ok ? 0 : engine_exit_status(&session.engine, report_failure(&session.report, argv[0], &error));
}
