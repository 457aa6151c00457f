/* SPDX-License-Identifier: MIT */
/* What the installer is given, and what follows from its end. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <string.h>

#include "common/base/wall_clock.h"
#include "daemon/decide/offer.h"

/* Whether the last entry says the same already: somebody may make a plain reboot each night, after which the
 * same release is only armed again. */
static bool is_told(const struct record *record, const struct record_entry *entry)
{
    const struct record_entry *last =
        record->history_count ? &record->history[record->history_count - 1] : NULL;

    return last && entry->result == RECORD_RESULT_INSTALLED && last->result == entry->result &&
           last->slot == entry->slot && !entry->bytes_written && strcmp(last->to, entry->to) == 0 &&
           strcmp(last->from, entry->from) == 0;
}

void daemon_install_remember(struct daemon *daemon, enum record_result result, const char *reason)
{
    const struct installer_view *view = installer_view(daemon->installer);
    struct record_entry entry = {
        .result = result,
        .time_s = wall_clock_now_s(),
        .slot = daemon->target.slot,
        .bytes_downloaded = view->progress.bytes_received,
        .bytes_written = view->progress.bytes_written,
        .seconds = (wall_clock_boot_ms() - view->begun_ms) / 1000,
    };

    record_copy_text(entry.reason, sizeof(entry.reason), reason);
    if (daemon->view->running != SLOT_NONE)
        memcpy(entry.from, daemon->record->slots[daemon->view->running].release.version, sizeof(entry.from));
    memcpy(entry.to, view->release.version, sizeof(entry.to));
    if (!is_told(daemon->record, &entry))
        record_add_history(daemon->record, &entry);
}

/* --- how it ends --- */

static void on_changed(void *owner)
{
    daemon_report_publish(owner, false);
}

static void plan_failed(struct daemon *daemon, const struct installer_end *end)
{
    const struct error *error = end->error;

    if (end->overtaken)
        checker_note_overtaken(daemon->checker);
    if (error->kind == ERROR_CANCELLED) {
        poller_note(daemon->poller, SCHEDULE_RESULT_ANSWERED, 0, ERROR_NONE);
    } else {
        poller_note(daemon->poller, SCHEDULE_RESULT_CHECK_FAILED, http_wish_ms(daemon->http), error->kind);
        daemon_judge_set_result(daemon, "failed");
    }
    daemon_post_failure(daemon, UPDATE_EVENT_CHECK_FAILED, error);
}

static void on_planned(void *owner, const struct installer_end *end)
{
    struct daemon *daemon = owner;

    if (end->error)
        plan_failed(daemon, end);
    else
        daemon_judge_offer(daemon, true);
    daemon_settle(daemon);
}

/* Passes the failure on to all whom it concerns: the checker and the poller (what to ask next, and when), the
 * verdict (a release that was cancelled or refused is held), the history, and the state machine. */
static void install_failed(struct daemon *daemon, const struct installer_end *end)
{
    struct error error = *end->error;

    if (error.kind == ERROR_CANCELLED && daemon->cancelled)
        error_set(&error, ERROR_CANCELLED, "cancelled by an operator");
    /* If the server has something newer, the next check has to fetch the manifest whole. */
    if (end->overtaken)
        checker_note_overtaken(daemon->checker);
    if (error.kind == ERROR_CANCELLED)
        poller_note(daemon->poller, SCHEDULE_RESULT_ANSWERED, 0, ERROR_NONE);
    else
        poller_note(daemon->poller,
                    end->overtaken ? SCHEDULE_RESULT_OVERTAKEN : SCHEDULE_RESULT_INSTALL_FAILED,
                    http_wish_ms(daemon->http), error.kind);
    if (error.kind == ERROR_CANCELLED && daemon->cancelled)
        daemon->record->cancelled = installer_view(daemon->installer)->release;
    if (error.kind == ERROR_REFUSED)
        policy_hold(&daemon->install_verdict, end->over_budget ? "max-bytes" : "target", error.message);
    if (error.kind == ERROR_CANCELLED)
        policy_hold_cancelled(&daemon->install_verdict);
    /* A daemon that is told to end continues after its next start, so this is no outcome for the history. */
    if (daemon->update.state != UPDATE_STATE_STOPPING)
        daemon_install_remember(
            daemon, error.kind == ERROR_CANCELLED ? RECORD_RESULT_CANCELLED : RECORD_RESULT_FAILED,
            error.message);
    daemon_post_failure(daemon, UPDATE_EVENT_INSTALL_FAILED, &error);
}

static void on_installed(void *owner, const struct installer_end *end)
{
    struct daemon *daemon = owner;

    if (end->error)
        install_failed(daemon, end);
    else
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_INSTALLED}, NULL);
    daemon_settle(daemon);
}

/* --- how it begins --- */

void daemon_install_init(struct daemon *daemon)
{
    static const struct installer_events events = {
        .changed = on_changed,
        .planned = on_planned,
        .installed = on_installed,
    };

    daemon->installer = installer_new(
        &(struct installer_deps){.base = daemon->base, .pool = daemon->pool, .silence_ms = DAEMON_SILENCE_MS},
        &events, daemon);
}

/* The cancel came while the target was being given up, before there was a run to cancel: ends as if it had
 * been one. */
static void end_before_it_began(struct daemon *daemon)
{
    struct error error;

    error_set(&error, ERROR_CANCELLED, "cancelled");
    installer_reset(daemon->installer, checker_offered(daemon->checker));
    install_failed(daemon, &(struct installer_end){.error = &error});
}

/* The parts that the release lacks and that the running slot lends. The rules have seen to it that there are
 * no others. */
static void find_carried(const struct daemon *daemon, struct carry_settings *ret_carried)
{
    const struct manifest_parts *parts = &checker_release(daemon->checker)->manifest->parts;
    const struct record_slot *running = &daemon->record->slots[daemon->view->running];

    ret_carried->count = 0;
    for (unsigned i = 0; i < daemon->fixed->part_count; i++) {
        const struct config_part *place = &daemon->fixed->parts[i];
        struct carry_part *carried = &ret_carried->parts[ret_carried->count];
        enum policy_missing how;
        if (manifest_parts_find(parts, place->name))
            continue;
        const struct record_part *part = offer_find_carried(running, place, &how);
        if (!part || digest_sha256_from_hex(part->sha256, carried->sha256) < 0)
            continue;
        carried->name = place->name;
        carried->bytes = part->bytes;
        ret_carried->count++;
    }
}

void daemon_install_start(struct daemon *daemon, bool plan_only)
{
    const struct slots *slots = daemon->view->slots;
    const struct record_release *offered = checker_offered(daemon->checker);
    enum slot target = slots_target(slots);

    if (daemon->cancelled && !plan_only) {
        end_before_it_began(daemon);
        return;
    }
    if (target == SLOT_NONE || !daemon_judge_has_places(daemon)) {
        /* Without a target, or a place for each part, there is nothing to plan. Installations do not get
         * here: they were refused before. */
        daemon_judge_offer(daemon, true);
        return;
    }
    struct carry_settings carried;
    find_carried(daemon, &carried);
    installer_start(daemon->installer,
                    &(struct installer_request){
                        .carried = &carried,
                        .http = daemon->http,
                        .release = checker_release(daemon->checker),
                        .offered = offered,
                        .name = *offered->version ? offered->version : url_shown(daemon->config->url),
                        .slots = slots,
                        .slot = target,
                        .plan_only = plan_only,
                        .ignore_etag = checker_ignores_etag(daemon->checker),
                        .connections = daemon->config->connections,
                        .max_bytes = daemon->config->max_bytes_per_update,
                    });
    daemon_report_publish(daemon, false);
}
