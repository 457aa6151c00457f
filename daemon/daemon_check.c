/* SPDX-License-Identifier: MIT */
/* A check: what the checker is asked, and what becomes of its answers. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include "common/base/log.h"
#include "common/base/wall_clock.h"

/* `planned`, because without a judged offer there is nothing to plan. What boots next is known all the
 * same. */
static void post_held(struct daemon *daemon, const char *why)
{
    daemon_post(daemon,
                &(struct update_event){.kind = UPDATE_EVENT_CHECK_HELD,
                                       .planned = true,
                                       .takes_back = daemon_judge_next_is_given_up(daemon),
                                       .other_selected = daemon_boot_other_is_next(daemon)},
                why);
}

/* A check that fails only because the clock is wrong is not the server's fault: it is held until the clock is
 * set. */
static bool hold_for_clock(struct daemon *daemon, const struct error *error)
{
    char why[256];

    if (!daemon_trust_explain_clock(daemon, error, why, sizeof(why)))
        return false;
    log_error("%s: %s", why, error->message);
    record_set_error(daemon->record, error, wall_clock_now_s());
    policy_hold(&daemon->install_verdict, "clock", why);
    post_held(daemon, why);
    return true;
}

/* If others may write the keys, no offer can be judged; that is not the server's fault either. */
static bool hold_for_keys(struct daemon *daemon, const struct error *error, uint64_t retry_after_ms)
{
    const char *why = daemon->config->keys_why;

    if (!why || error->kind != ERROR_REFUSED || !daemon_trust(daemon).demanded)
        return false;
    log_error("nothing is installed: %s", why);
    record_set_error(daemon->record, error, wall_clock_now_s());
    poller_note(daemon->poller, SCHEDULE_RESULT_ANSWERED, retry_after_ms, ERROR_NONE);
    policy_hold(&daemon->install_verdict, "unsafe-keys", why);
    post_held(daemon, why);
    return true;
}

/* --- how it ends --- */

static void on_answered(void *owner, bool is_new, uint64_t retry_after_ms)
{
    struct daemon *daemon = owner;

    daemon->record->check_time_s = wall_clock_now_s();
    poller_note(daemon->poller, SCHEDULE_RESULT_ANSWERED, retry_after_ms, ERROR_NONE);
    if (is_new)
        daemon_offer_keep(daemon);
    daemon_judge_offer(daemon, false);
    daemon_settle(daemon);
}

static void on_failed(void *owner, const struct error *error, uint64_t retry_after_ms)
{
    struct daemon *daemon = owner;

    daemon->record->check_time_s = wall_clock_now_s();
    poller_note(daemon->poller, SCHEDULE_RESULT_CHECK_FAILED, retry_after_ms, error->kind);
    daemon_judge_set_result(daemon, "failed");
    if (!hold_for_clock(daemon, error) && !hold_for_keys(daemon, error, retry_after_ms))
        daemon_post_failure(daemon, UPDATE_EVENT_CHECK_FAILED, error);
    daemon_settle(daemon);
}

/* Remembers that the running slot holds the offer. */
static void note_holder(struct daemon *daemon, enum slot slot, const struct slot_print *print,
                        const struct slot_print *part_prints)
{
    struct record_slot *running = &daemon->record->slots[slot];

    log_notice("slot %s, of which not all was recorded, holds what is offered", slot_name(slot));
    /* The serial counts only after the offer has been judged. What was recorded with all but its parts stays
     * as it was accepted. */
    if (!record_release_is_same(&running->release, checker_offered(daemon->checker))) {
        running->release = *checker_offered(daemon->checker);
        running->release.lent = true;
    }
    running->print = *print;
    record_slot_set_parts(daemon->record, slot, checker_release(daemon->checker));
    for (unsigned i = 0; i < running->part_count; i++)
        running->parts[i].print = part_prints[i];
}

static void on_identified(void *owner, bool holds_it, const struct slot_print *print,
                          const struct slot_print *part_prints)
{
    struct daemon *daemon = owner;
    enum slot running = daemon->view->running;

    if (holds_it && running != SLOT_NONE)
        note_holder(daemon, running, print, part_prints);
    /* It was recorded to hold the offer, but not its parts, and holds another set's. */
    else if (running != SLOT_NONE && record_release_is_same(&daemon->record->slots[running].release,
                                                            checker_offered(daemon->checker)))
        record_forget_slot(daemon->record, running, wall_clock_now_s());
    daemon_judge_offer(daemon, false);
    daemon_settle(daemon);
}

static void on_cancelled(void *owner)
{
    struct daemon *daemon = owner;
    struct error error;

    error_set(&error, ERROR_CANCELLED, "the check was cancelled");
    daemon_post_failure(daemon, UPDATE_EVENT_CHECK_FAILED, &error);
    daemon_settle(daemon);
}

/* --- how it begins --- */

void daemon_check_init(struct daemon *daemon)
{
    static const struct checker_events events = {
        .answered = on_answered,
        .failed = on_failed,
        .identified = on_identified,
        .cancelled = on_cancelled,
    };

    daemon->checker = checker_new(daemon->pool, &events, daemon);
}

/* A failed look does not keep the server from being asked: a rule reports it and holds the release. */
static void on_looked(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;
    bool cancelled = daemon->check_look == DAEMON_CHECK_LOOK_CANCELLED;

    daemon->check_look = DAEMON_CHECK_LOOK_NONE;
    daemon_boot_note_view(daemon);
    if (cancelled) {
        on_cancelled(daemon);
    } else if (daemon->update.state == UPDATE_STATE_CHECKING) {
        checker_ask(daemon->checker, &(struct checker_request){.http = daemon->http,
                                                               .url = daemon->config->url,
                                                               .trust = daemon_trust(daemon)});
    }
}

/* Looks first: a device name may lead elsewhere than at the start, and a device that was missing may be
 * there. */
void daemon_check_start(struct daemon *daemon)
{
    daemon->check_look = DAEMON_CHECK_LOOK_UNDER_WAY;
    boot_selection_submit(daemon->boot, BOOT_TASK_LOOK, SLOT_NONE, NULL, on_looked);
}

void daemon_check_cancel(struct daemon *daemon)
{
    if (daemon->check_look == DAEMON_CHECK_LOOK_UNDER_WAY)
        daemon->check_look = DAEMON_CHECK_LOOK_CANCELLED;
    checker_cancel(daemon->checker);
}
