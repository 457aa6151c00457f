/* SPDX-License-Identifier: MIT */
/* One clone from the server into the target, or only its plan: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/sinter/table_room.h"

enum { PROGRESS_INTERVAL_MS = 250 };

/* The engine's phases as the status spells them. */
static const char *phase_name(enum clone_phase phase)
{
    switch (phase) {
    case CLONE_PHASE_PREPARING:
    case CLONE_PHASE_SCANNING:
        return "scanning";
    case CLONE_PHASE_TRANSFERRING:
    case CLONE_PHASE_SYNCING:
        return "transferring";
    case CLONE_PHASE_VERIFYING:
        return "verifying";
    case CLONE_PHASE_CLOSING:
    case CLONE_PHASE_FINISHED:
        return NULL;
    }
    return NULL;
}

static void on_phase(void *owner, enum clone_phase phase)
{
    struct daemon *daemon = owner;
    const char *name = phase_name(phase);

    /* What comes after the last one is told by the change of state. */
    if (!name || name == daemon->phase)
        return;
    daemon->phase = name;
    daemon->progress = *clone_progress(daemon->clone);
    daemon_report_publish(daemon, false);
}

static void on_planned(void *owner, const struct plan *plan)
{
    struct daemon *daemon = owner;
    char kept[16], copied[16], patched[16], fetched[16];

    daemon->planned = true;
    daemon->plan = *plan_totals(plan);
    daemon->plan_release = daemon->installing;
    daemon->plan_s = daemon_now_s();
    log_info("the plan: keep %s, copy %s, patch %s, download %s",
             text_format_bytes(kept, sizeof(kept), daemon->plan.bytes_kept),
             text_format_bytes(copied, sizeof(copied), daemon->plan.bytes_copied),
             text_format_bytes(patched, sizeof(patched), daemon->plan.bytes_patched),
             text_format_bytes(fetched, sizeof(fetched), plan_download_bytes(&daemon->plan)));
}

/* All that ever moves in a clone: what does not grow stands still. */
static uint64_t count_moved(const struct clone_progress *progress)
{
    return progress->scan_bytes + progress->bytes_kept + progress->bytes_copied + progress->bytes_received +
           progress->bytes_written + progress->bytes_verified;
}

static void on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    struct daemon *daemon = owner;
    struct status_waiting *waiting = &daemon->waiting;
    uint64_t now_s = daemon_now_s();
    char wait[32];

    /* Others may wait already. The last answer says most, and the first to try again ends it. */
    if (!waiting->kind)
        *waiting = (struct status_waiting){.since_s = now_s, .until_s = UINT64_MAX};
    waiting->kind = error->kind;
    if (waiting->until_s <= now_s || now_s + wait_ms / 1000 < waiting->until_s)
        waiting->until_s = now_s + wait_ms / 1000;
    record_copy_text(waiting->why, sizeof(waiting->why), error->message);
    daemon->waiting_moved = count_moved(clone_progress(daemon->clone));
    log_debug("tried again in %s: %s", text_format_duration(wait, sizeof(wait), wait_ms), error->message);
}

static void on_seed_skipped(void *owner, const char *path, const struct error *error)
{
    log_info("%s does not serve as a seed, or not all of it does: %s", path, error->message);
}

static void on_pack_skipped(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    record_copy_text(daemon->pack_why, sizeof(daemon->pack_why), error->message);
    log_warning("what the pack has for the release at hand cannot be used, so more is downloaded: %s",
                error->message);
}

static void on_table_skipped(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    record_copy_text(daemon->table_why, sizeof(daemon->table_why), error->message);
    log_warning("the table of chunks cannot be had, so fixed chunks serve and more is downloaded: %s",
                error->message);
}

static void on_read_back_cached(void *owner, const struct error *why)
{
    log_warning("%s", why->message);
}

/* Armed once more after somebody's plain reboot, each night maybe: the entry that is there says it all. */
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
    struct record_entry entry = {
        .result = result,
        .time_s = daemon_now_s(),
        .slot = daemon->target,
        .bytes_downloaded = daemon->progress.bytes_received,
        .bytes_written = daemon->progress.bytes_written,
        .seconds = (daemon_now_ms() - daemon->begun_ms) / 1000,
    };

    record_copy_text(entry.reason, sizeof(entry.reason), reason);
    if (daemon->view.running != SLOT_NONE)
        memcpy(entry.from, daemon->record->slots[daemon->view.running].release.version, sizeof(entry.from));
    memcpy(entry.to, daemon->installing.version, sizeof(entry.to));
    if (!is_told(daemon->record, &entry))
        record_add_history(daemon->record, &entry);
}

static void end_plan(struct daemon *daemon, const struct error *error, bool overtaken)
{
    if (!error) {
        daemon_judge_offer(daemon, true);
        return;
    }
    daemon->image_changed = daemon->image_changed || overtaken;
    daemon->has_result = true;
    daemon->schedule_result =
        error->kind == ERROR_CANCELLED ? SCHEDULE_RESULT_ANSWERED : SCHEDULE_RESULT_CHECK_FAILED;
    daemon->retry_after_ms = error->kind == ERROR_CANCELLED ? 0 : http_wish_ms(daemon->http);
    if (error->kind != ERROR_CANCELLED)
        snprintf(daemon->record->check_result, sizeof(daemon->record->check_result), "failed");
    daemon_post_failure(daemon, UPDATE_EVENT_CHECK_FAILED, error);
}

/* Ended by us and not by the server or the medium: a rule's word, or an operator's. */
static void explain_cancel(const struct daemon *daemon, struct error *error)
{
    char received[16], limit[16];

    if (error->kind != ERROR_CANCELLED)
        return;
    if (daemon->over_budget)
        error_set(error, ERROR_REFUSED,
                  "the update has downloaded %s already and MaxBytesPerUpdate= allows %s",
                  text_format_bytes(received, sizeof(received), daemon->progress.bytes_received),
                  text_format_bytes(limit, sizeof(limit), daemon->config->max_bytes_per_update));
    else if (daemon->cancelled)
        error_set(error, ERROR_CANCELLED, "cancelled by an operator");
}

static void install_failed(struct daemon *daemon, const struct error *clone_error, bool overtaken)
{
    struct error error = *clone_error;

    explain_cancel(daemon, &error);
    daemon->has_result = true;
    daemon->retry_after_ms = error.kind == ERROR_CANCELLED ? 0 : http_wish_ms(daemon->http);
    daemon->schedule_result = SCHEDULE_RESULT_INSTALL_FAILED;
    if (error.kind == ERROR_MISMATCH)
        daemon->keep_verified_only = true;
    if (overtaken) {
        /* The server has something newer; looking again is all it takes. */
        daemon->image_changed = true;
        daemon->schedule_result = SCHEDULE_RESULT_OVERTAKEN;
    }
    if (error.kind == ERROR_CANCELLED) {
        daemon->schedule_result = SCHEDULE_RESULT_ANSWERED;
        if (daemon->cancelled)
            daemon->record->cancelled = daemon->installing;
    }
    if (error.kind == ERROR_REFUSED || error.kind == ERROR_CANCELLED) {
        daemon->install_verdict.count = 0;
        policy_add_block(&daemon->install_verdict,
                         error.kind == ERROR_CANCELLED ? "cancelled"
                         : daemon->over_budget         ? "max-bytes"
                                                       : "target",
                         error.kind == ERROR_REFUSED
                             ? error.message
                             : "this release was cancelled; a newer one or moonsinter install goes on");
    }
    /* A daemon that is told to end goes on after its next start; that is no outcome. */
    if (daemon->update.state != UPDATE_STATE_STOPPING)
        daemon_install_remember(
            daemon, error.kind == ERROR_CANCELLED ? RECORD_RESULT_CANCELLED : RECORD_RESULT_FAILED,
            error.message);
    daemon_post_failure(daemon, UPDATE_EVENT_INSTALL_FAILED, &error);
}

static void on_done(void *owner, const struct error *done_error)
{
    struct daemon *daemon = owner;
    bool planning = daemon->planning;
    struct error error = {0};

    /* A file that is not to be had is no newer release: the next look will tell. */
    bool overtaken = clone_was_overtaken(daemon->clone) && !clone_lacks_file(daemon->clone);
    /* The error is the clone's, which ends here. */
    if (done_error)
        error = *done_error;
    daemon->progress = *clone_progress(daemon->clone);
    daemon->phase = NULL;
    daemon->stall_why[0] = 0;
    daemon->waiting.kind = ERROR_NONE;
    event_del(daemon->progress_timer);
    if (!done_error && !planning) {
        uint8_t sha256[DIGEST_SHA256_SIZE];
        if (clone_get_sha256(daemon->clone, sha256))
            digest_sha256_to_hex(sha256, daemon->read_back);
        daemon->verified = clone_take_target(daemon->clone);
        daemon->percent = 100;
        daemon->keep_verified_only = false;
    }
    daemon->clone = clone_free(daemon->clone);
    if (!done_error && !planning)
        release_forget_stock(daemon->release);
    if (planning)
        end_plan(daemon, done_error ? &error : NULL, overtaken);
    else if (done_error)
        install_failed(daemon, &error, overtaken);
    else
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_INSTALLED}, NULL);
    daemon_settle(daemon);
}

static const struct clone_events clone_events = {
    .phase = on_phase,
    .planned = on_planned,
    .retry = on_retry,
    .seed_skipped = on_seed_skipped,
    .pack_skipped = on_pack_skipped,
    .table_skipped = on_table_skipped,
    .read_back_cached = on_read_back_cached,
    .done = on_done,
};

/* On a pool thread. The view is not replaced meanwhile: no task of the boot selection runs beside a clone. */
static bool check_target(void *owner, int fd, struct error *error)
{
    const struct daemon *daemon = owner;

    return slots_target_check_opened(daemon->view.slots, daemon->target, fd, error);
}

static void reset_progress(struct daemon *daemon)
{
    memset(&daemon->progress, 0, sizeof(daemon->progress));
    daemon->percent = 0;
    daemon->rate_bytes_per_s = daemon->rate_bytes = 0;
    daemon->begun_ms = daemon->rate_ms = daemon->moved_ms = daemon_now_ms();
    daemon->moved = 0;
    daemon->stall_why[0] = 0;
    daemon->waiting.kind = ERROR_NONE;
}

void daemon_install_start(struct daemon *daemon, bool plan_only)
{
    const struct slots *slots = daemon->view.slots;
    enum slot target = slots_target(slots);
    struct error error;

    if (daemon->cancelled && !plan_only) {
        /* While the target was being invalidated, when there was no clone yet. */
        reset_progress(daemon);
        daemon->installing = daemon->offered;
        error_set(&error, ERROR_CANCELLED, "cancelled");
        install_failed(daemon, &error, false);
        return;
    }
    if (target == SLOT_NONE) {
        /* Nothing to plan for; installs do not come here, they were refused before. */
        daemon_judge_offer(daemon, true);
        return;
    }
    const char *seeds[] = {slots->devices[slot_other(target)].path, NULL};
    struct clone_settings settings = {
        .release = daemon->release,
        .target_path = slots->devices[target].path,
        .seed_paths = seeds,
        /* A slot that is not there is a mistake, or a disk that is not there yet; a new file would hide it.
         */
        .create_target = false,
        .check_target = check_target,
        .plan_only = plan_only,
        .keep_stock = true,
        .keep_verified_only = daemon->keep_verified_only,
        .ignore_etag = daemon->ignore_etag,
        .chunks_max = table_room_chunks_max(daemon->release->manifest->file_size, table_room_memory_bytes()),
        .connections = daemon->config->connections,
    };
    reset_progress(daemon);
    daemon->table_why[0] = daemon->pack_why[0] = 0;
    daemon->target = target;
    daemon->planning = plan_only;
    daemon->installing = daemon->offered;
    daemon->read_back[0] = 0;
    daemon->phase = phase_name(CLONE_PHASE_PREPARING);
    if (!plan_only)
        log_notice("installing %s into slot %s (%s)",
                   *daemon->offered.version ? daemon->offered.version : url_shown(daemon->config->url),
                   slot_name(target), settings.target_path);
    daemon->http_used = true;
    daemon->clone = clone_new(daemon->base, daemon->http, daemon->pool, &settings, &clone_events, daemon);
    clone_start(daemon->clone);
    daemon_arm_timer(daemon->progress_timer, PROGRESS_INTERVAL_MS);
    daemon_report_publish(daemon, false);
}

void daemon_install_cancel(struct daemon *daemon)
{
    if (daemon->clone)
        clone_cancel(daemon->clone);
}

static void update_rate(struct daemon *daemon, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - daemon->rate_ms;

    if (elapsed_ms < 200)
        return;
    uint64_t rate = (daemon->progress.bytes_received - daemon->rate_bytes) * 1000 / elapsed_ms;
    /* A mean over the last seconds: a single interval jumps with every range that ends. */
    daemon->rate_bytes_per_s = (daemon->rate_bytes_per_s * 7 + rate) / 8;
    daemon->rate_bytes = daemon->progress.bytes_received;
    daemon->rate_ms = now_ms;
}

static void update_percent(struct daemon *daemon)
{
    double percent = clone_progress_percent(&daemon->progress);

    /* What is left is found while it runs; a bar that goes back helps nobody. */
    if (percent > daemon->percent)
        daemon->percent = percent < 99.9 ? percent : 99.9;
}

/* The loop turns whatever the medium does; it has to say so when nothing comes back from there. */
static void watch_for_stall(struct daemon *daemon, uint64_t now_ms)
{
    const struct clone_progress *progress = &daemon->progress;
    uint64_t moved = count_moved(progress);
    char waited[32];

    if (moved != daemon->waiting_moved)
        daemon->waiting.kind = ERROR_NONE;
    if (moved != daemon->moved) {
        daemon->moved = moved;
        daemon->moved_ms = now_ms;
        daemon->stall_why[0] = 0;
        return;
    }
    if (now_ms - daemon->moved_ms < DAEMON_SILENCE_MS)
        return;
    if (!daemon->stall_why[0])
        log_warning("%s: nothing was read, written or received for %s%s%s",
                    daemon->phase ? daemon->phase : "installing",
                    text_format_duration(waited, sizeof(waited), now_ms - daemon->moved_ms),
                    daemon->waiting.kind ? ": " : "", daemon->waiting.kind ? daemon->waiting.why : "");
    snprintf(daemon->stall_why, sizeof(daemon->stall_why),
             "nothing was read, written or received for %s; %.400s",
             text_format_duration(waited, sizeof(waited), now_ms - daemon->moved_ms),
             daemon->waiting.kind ? daemon->waiting.why : "the medium or the server does not answer");
}

void daemon_install_tick(struct daemon *daemon)
{
    uint64_t now_ms = daemon_now_ms(), max_bytes = daemon->config->max_bytes_per_update;

    if (!daemon->clone)
        return;
    daemon->progress = *clone_progress(daemon->clone);
    update_rate(daemon, now_ms);
    update_percent(daemon);
    watch_for_stall(daemon, now_ms);
    if (max_bytes && !daemon->planning && !daemon->over_budget &&
        daemon->progress.bytes_received > max_bytes) {
        daemon->over_budget = true;
        clone_cancel(daemon->clone);
    }
    daemon_report_publish(daemon, false);
    daemon_arm_timer(daemon->progress_timer, PROGRESS_INTERVAL_MS);
}
