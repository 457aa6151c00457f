/* SPDX-License-Identifier: MIT */
/* Asking the server what it offers: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include "common/base/log.h"

/* As if planned: nothing was judged that could be. What boots next is known all the same. */
static void post_held(struct daemon *daemon, const char *why)
{
    daemon_post(daemon,
                &(struct update_event){.kind = UPDATE_EVENT_CHECK_HELD,
                                       .planned = true,
                                       .takes_back = daemon_judge_next_is_given_up(daemon),
                                       .other_selected = daemon_boot_other_is_next(daemon)},
                why);
}

/* What fails for the clock's sake only is no fault of the server's, and waits for the clock. */
static bool hold_for_clock(struct daemon *daemon, const struct error *error)
{
    char why[256];

    if (!daemon_trust_explain_clock(daemon, error, why, sizeof(why)))
        return false;
    log_error("%s: %s", why, error->message);
    record_set_error(daemon->record, error, daemon_now_s());
    policy_hold(&daemon->install_verdict, "clock", why);
    post_held(daemon, why);
    return true;
}

/* Where others may write the keys, nothing that the server offers can be judged, and it is no fault of its.
 */
static bool hold_for_keys(struct daemon *daemon, const struct error *error)
{
    const char *why = daemon->config->keys_why;

    if (!why || error->kind != ERROR_REFUSED || !daemon_trust(daemon).demanded)
        return false;
    log_error("nothing is installed: %s", why);
    record_set_error(daemon->record, error, daemon_now_s());
    daemon->schedule_result = SCHEDULE_RESULT_ANSWERED;
    policy_hold(&daemon->install_verdict, "unsafe-keys", why);
    post_held(daemon, why);
    return true;
}

static void on_fetched(void *owner, struct release *release, bool unchanged, const struct error *error,
                       uint64_t retry_after_ms)
{
    struct daemon *daemon = owner;

    daemon->fetch = NULL;
    daemon->record->check_time_s = daemon_now_s();
    daemon->has_result = true;
    daemon->retry_after_ms = retry_after_ms;
    if (error) {
        daemon_judge_set_result(daemon, "failed");
        daemon->schedule_result = SCHEDULE_RESULT_CHECK_FAILED;
        if (hold_for_clock(daemon, error) || hold_for_keys(daemon, error)) {
            daemon_settle(daemon);
            return;
        }
        daemon_post_failure(daemon, UPDATE_EVENT_CHECK_FAILED, error);
        daemon_settle(daemon);
        return;
    }
    daemon->schedule_result = SCHEDULE_RESULT_ANSWERED;
    if (release)
        daemon_offer_take(daemon, release);
    daemon_judge_offer(daemon, false);
    daemon_settle(daemon);
}

static void ask_server(struct daemon *daemon)
{
    const struct release *known = daemon->image_changed ? NULL : daemon->release;
    struct trust trust = daemon_trust(daemon);

    daemon->http_used = true;
    daemon->fetch =
        release_fetch_start(daemon->http, daemon->pool, daemon->config->url, known ? known->etag : NULL,
                            known ? known->last_modified : NULL, &trust, on_fetched, daemon);
}

static void post_cancelled(struct daemon *daemon)
{
    struct error error;

    error_set(&error, ERROR_CANCELLED, "the check was cancelled");
    daemon_post_failure(daemon, UPDATE_EVENT_CHECK_FAILED, &error);
}

/* What cannot be seen now is told by a rule; that is no reason not to ask. */
static void on_looked(struct daemon *daemon, const struct error *error)
{
    daemon->check_looks = false;
    daemon_boot_note_view(daemon);
    if (daemon->check_cancelled)
        post_cancelled(daemon);
    else if (daemon->update.state == UPDATE_STATE_CHECKING)
        ask_server(daemon);
}

/* Names may lead elsewhere than at the start, and what was not there then may have come. */
void daemon_check_start(struct daemon *daemon)
{
    daemon->check_looks = true;
    daemon->check_cancelled = false;
    daemon_boot_submit(daemon, DAEMON_BOOT_LOOK, SLOT_NONE, NULL, on_looked);
}

void daemon_check_cancel(struct daemon *daemon)
{
    daemon->check_cancelled |= daemon->check_looks;
    identify_cancel(daemon->identify);
    if (!daemon->fetch)
        return;
    daemon->fetch = release_fetch_cancel(daemon->fetch);
    post_cancelled(daemon);
}
