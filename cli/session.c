/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/argument.h"
#include "cli/engine.h"
#include "cli/event_line.h"
#include "cli/report.h"
#include "cli/session_checks.h"
#include "cli/trust_options.h"
#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "common/image/url.h"
#include "common/io/backoff.h"
#include "common/io/http_settings.h"
#include "common/io/retry.h"
#include "common/io/timer.h"
#include "common/sinter/clone.h"
#include "common/sinter/release.h"

enum {
    SESSION_DRAW_MS = 200,
};

enum {
    OPTION_CONNECTIONS = 256,
    OPTION_RATE_LIMIT,
    OPTION_STALL_TIMEOUT,
    OPTION_RETRY_FOR,
    OPTION_PROXY,
    OPTION_CA_FILE,
    OPTION_CLIENT_CERTIFICATE,
    OPTION_CLIENT_KEY,
    OPTION_PINNED_PUBLIC_KEY,
    OPTION_HEADER,
    OPTION_JSON,
    OPTION_KEY,
    OPTION_REQUIRE_SIGNATURE,
};

static const struct option options[] = {
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"rate-limit", required_argument, NULL, OPTION_RATE_LIMIT},
    {"stall-timeout", required_argument, NULL, OPTION_STALL_TIMEOUT},
    {"retry-for", required_argument, NULL, OPTION_RETRY_FOR},
    {"proxy", required_argument, NULL, OPTION_PROXY},
    {"ca-file", required_argument, NULL, OPTION_CA_FILE},
    {"client-certificate", required_argument, NULL, OPTION_CLIENT_CERTIFICATE},
    {"client-key", required_argument, NULL, OPTION_CLIENT_KEY},
    {"pinned-public-key", required_argument, NULL, OPTION_PINNED_PUBLIC_KEY},
    {"header", required_argument, NULL, OPTION_HEADER},
    {"key", required_argument, NULL, OPTION_KEY},
    {"require-signature", no_argument, NULL, OPTION_REQUIRE_SIGNATURE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct session {
    /* the arguments */
    struct url *url;
    const char *target;
    char **seeds; /* NULL-terminated */
    struct http_settings http;
    char *proxy;
    char *headers[HTTP_SETTINGS_HEADERS_MAX + 1];
    uint64_t give_up_ms;
    struct trust_options trust_options;
    struct trust trust;
    bool plan_only, json, quiet, help;
    /* the run */
    struct engine engine;
    struct report report;
    struct clone_events events; /* the report's, except `done` */
    struct release_fetch *fetch;
    struct release *release;
    struct clone *clone;
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

static bool session_take_duration(const char *option, uint64_t *ret_ms, struct error *error)
{
    uint64_t ms;

    if (text_parse_duration(optarg, &ms) < 0 || ms == 0)
        return error_set(error, ERROR_REFUSED, "%s takes a time such as 30s or 5min, not %.100s", option,
                         optarg);
    *ret_ms = ms;
    return true;
}

static bool session_take_header(struct session *session, char *argument, struct error *error)
{
    CLEANUP_FREE char *text = http_settings_take_header_argument(argument);

    return http_settings_add_headers(session->headers, "", text, error) || error_prefix(error, "--header");
}

static bool session_take_pins(struct session *session, const char *text, struct error *error)
{
    const char *why = http_settings_check_pins(text);

    if (why)
        return error_set(error, ERROR_REFUSED, "--pinned-public-key %.200s %s", text, why);
    session->http.pinned_public_key = text;
    return true;
}

static bool session_take_option(struct session *session, int option, char **argv, struct error *error)
{
    uint64_t number;

    switch (option) {
    case OPTION_CONNECTIONS:
        if (text_parse_u64(optarg, &number) < 0 || number < 1 || number > HTTP_CONNECTIONS_MAX)
            return error_set(error, ERROR_REFUSED, "--connections takes a number from 1 to %d, not %.100s",
                             HTTP_CONNECTIONS_MAX, optarg);
        session->http.connections = (unsigned)number;
        return true;
    case OPTION_RATE_LIMIT:
        if (text_parse_size(optarg, &number) < 0 || number == 0)
            return error_set(error, ERROR_REFUSED,
                             "--rate-limit takes bytes a second such as 500K, not %.100s", optarg);
        session->http.rate_limit_bytes_s = number;
        return true;
    case OPTION_STALL_TIMEOUT:
        return session_take_duration("--stall-timeout", &session->http.stall_timeout_ms, error);
    case OPTION_RETRY_FOR:
        return session_take_duration("--retry-for", &session->give_up_ms, error);
    case OPTION_PROXY:
        free(session->proxy);
        session->proxy = http_settings_take_url_argument(optarg);
        return true;
    case OPTION_CA_FILE:
        session->http.ca_file = optarg;
        return true;
    case OPTION_CLIENT_CERTIFICATE:
        session->http.client_certificate = optarg;
        return true;
    case OPTION_CLIENT_KEY:
        session->http.client_key = optarg;
        return true;
    case OPTION_HEADER:
        return session_take_header(session, optarg, error);
    case OPTION_PINNED_PUBLIC_KEY:
        return session_take_pins(session, optarg, error);
    case OPTION_KEY:
        return trust_options_add_key(&session->trust_options, optarg, error);
    case OPTION_REQUIRE_SIGNATURE:
        session->trust_options.required = true;
        return true;
    case OPTION_JSON:
        session->json = true;
        return true;
    case 'q':
        session->quiet = true;
        return true;
    case 'h':
        session->help = true;
        return true;
    default:
        return argument_set_option_error(option, argv, error);
    }
}

static bool session_parse(struct session *session, int argc, char **argv, struct error *error)
{
    int option;

    opterr = 0;
    optind = 0; /* makes glibc start over: the program's own options were parsed before */
    while ((option = getopt_long(argc, argv, ":qh", options, NULL)) != -1)
        if (!session_take_option(session, option, argv, error))
            return false;
    if (session->help)
        return true;
    if (argc - optind < 2)
        return error_set(error, ERROR_REFUSED, "it takes URL, OUTPUT and perhaps SEEDs, and got %d arguments",
                         argc - optind);
    CLEANUP_FREE char *address = http_settings_take_url_argument(argv[optind]);
    session->target = argv[optind + 1];
    if (!url_new(address, &session->url, error))
        return false;
    if (!*session->target)
        return error_set(error, ERROR_REFUSED, "OUTPUT is empty; name a file or a block device");
    session->seeds = argv + optind + 2;
    if (argc - optind - 2 > PLAN_SOURCE_SEED_LAST)
        return error_set(error, ERROR_REFUSED, "it takes %d SEEDs at most, and got %d", PLAN_SOURCE_SEED_LAST,
                         argc - optind - 2);
    session->http.proxy = session->proxy;
    session->http.headers = (const char *const *)session->headers;
    session->http.headers_for = url_text_to_send(session->url);
    return trust_options_get(&session->trust_options, &session->trust, error);
}

static void session_end(struct session *session, const struct error *error)
{
    session->failed = error != NULL;
    if (error)
        session->error = *error;
    engine_end(&session->engine);
}

static void session_fetch(struct session *session);
static void session_clone(struct session *session);

static uint64_t session_give_up_ms(const struct session *session)
{
    return session->give_up_ms ? session->give_up_ms : CLONE_GIVE_UP_MS;
}

/* The files on the server do not fit each other. A publication may be under way, with some servers behind the
 * address further along than others. So the manifest is read again, after growing waits, until the time for
 * tries without progress is over; then returns false. */
static bool session_start_over(struct session *session, const struct error *error)
{
    uint64_t now_ms = wall_clock_steady_ms();

    if (session->rounds == 1 || clone_progress(session->clone)->bytes_written) {
        session->stuck_since_ms = now_ms;
        session->idle_rounds = 0;
        backoff_reset(&session->backoff);
    }
    uint64_t wait_ms = backoff_draw_ms(&session->backoff, 0);
    if (session->rounds >= RETRY_ROUNDS_MAX ||
        now_ms - session->stuck_since_ms + wait_ms > session_give_up_ms(session))
        return false;
    session->lacking = clone_lacks_file(session->clone);
    session->error = *error;
    report_manifest_retry(&session->report, error, wait_ms);
    report_restart(&session->report, session->clone);
    clone_leave_stock(session->clone);
    session->clone = clone_free(session->clone);
    session->report.clone = NULL;
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

static void session_on_again(void *owner)
{
    session_fetch(owner);
}

static void session_on_clone_done(void *owner, const struct error *error)
{
    struct session *session = container_of(owner, struct session, report);
    /* After a signal nothing is started again, even if the clone had failed before it. */
    bool may_go_on = error && error->kind != ERROR_CANCELLED && !session->engine.signal;
    bool overtaken = may_go_on && clone_was_overtaken(session->clone);

    if (may_go_on && session_clone_again(session, error))
        return;
    if (overtaken && session_start_over(session, error))
        return;
    if (overtaken && session->rounds > 1) {
        session_end_overtaken(session, error, session->give_up_ms ? "" : ", or give --retry-for");
        return;
    }
    if (!error)
        report_done(&session->report, session->clone, session->engine.http, session->plan_only);
    session_end(session, error);
}

static void session_clone(struct session *session)
{
    const struct clone_settings settings = {
        .release = session->release,
        .target_path = session->target,
        .seed_paths = (const char *const *)session->seeds,
        .create_target = true,
        .plan_only = session->plan_only,
        .ignore_etag = session->ignore_etag,
        .keep_verified_only = session->keep_verified_only,
        .hash_sources = session->report.events && !session->plan_only,
        .connections = session->http.connections,
        .give_up_ms = session->give_up_ms,
        .patient = session->give_up_ms != 0,
    };

    session->events = report_clone_events;
    session->events.done = session_on_clone_done;
    session->clone = clone_new(session->engine.base, session->engine.http, session->engine.pool, &settings,
                               &session->events, &session->report);
    session->report.clone = session->clone;
    clone_start(session->clone);
}

static void session_on_release(void *owner, struct release *release, bool unchanged,
                               const struct error *error, uint64_t retry_after_ms)
{
    struct session *session = owner;

    session->fetch = NULL;
    report_manifest_end(&session->report, release, error);
    if (error) {
        session_end(session, error);
        return;
    }
    /* If the manifest is the same as before, the server's ETags mean nothing; only digests count. */
    bool same = release_inherit(release, session->release);
    session->ignore_etag = session->ignore_etag || same;
    release_free(session->release);
    session->release = release;
    if (release->manifest->parts.count) {
        struct error set;
        error_set(
            &set, ERROR_REFUSED,
            "the release is a set: %u images (%s, ...) belong to its main image, and this moonsinter takes "
            "single images only",
            release->manifest->parts.count, release->manifest->parts.list[0].name);
        session_end(session, &set);
        return;
    }
    session->idle_rounds = same ? session->idle_rounds + 1 : 0;
    if (session->idle_rounds >= RETRY_IDLE_ROUNDS_MAX && !session->give_up_ms) {
        session_end_overtaken(session, &session->error, ", or give --retry-for");
        return;
    }
    if (same && session->lacking && !session->give_up_ms) {
        session_end(session, &session->error);
        return;
    }
    session_clone(session);
}

static void session_on_manifest_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct session *session = owner;

    report_manifest_retry(&session->report, error, wait_ms);
}

static void session_fetch(struct session *session)
{
    session->rounds++;
    report_manifest_start(&session->report);
    session->fetch = release_fetch_start(session->engine.http, session->engine.pool, session->url, NULL, NULL,
                                         &session->trust, session_on_release, session);
    release_fetch_set_patience(session->fetch, session_give_up_ms(session),
                               !session->give_up_ms && session->rounds == 1, session_on_manifest_retry);
    release_fetch_wait_for_signature(session->fetch, session->give_up_ms);
}

static void session_on_stop(void *owner)
{
    struct session *session = owner;
    struct error error;

    if (session->clone) {
        clone_cancel(session->clone);
        return;
    }
    timer_stop(session->again);
    session->fetch = release_fetch_cancel(session->fetch);
    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    session_end(session, &error);
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
    if (!engine_init(&session->engine, &session->http, session_on_stop, session, error))
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

static void session_free_arguments(struct session *session)
{
    url_free(session->url);
    free(session->proxy);
    http_settings_clear_headers(session->headers);
    trust_options_finish(&session->trust_options);
}

int session_run(int argc, char **argv, bool plan_only, const char *help)
{
    struct session session = {.plan_only = plan_only};
    struct error error = {0};

    if (!session_parse(&session, argc, argv, &error)) {
        session_free_arguments(&session);
        return event_line_write_usage(argv[0], &error);
    }
    if (session.help) {
        session_free_arguments(&session);
        fputs(help, stdout);
        return 0;
    }
    report_init(&session.report, session.quiet, session.json);
    session.report.has_seeds = session.seeds[0] != NULL;
    session.report.target = session.target;
    bool ok = (plan_only || session_check_target(session.target, &error)) &&
              session_check_open_files(session.seeds, session.http.connections, &error) &&
              session_run_loop(&session, &error);
    timer_free(session.draw);
    timer_free(session.again);
    clone_free(session.clone);
    release_free(session.release);
    engine_finish(&session.engine);
    session_free_arguments(&session);
    return ok ? 0 : engine_exit_status(&session.engine, report_failure(&session.report, argv[0], &error));
}
