/* SPDX-License-Identifier: MIT */
/* What is shown of a run: how far it is, how fast, what it waits for. See daemon/parts/installer_private.h.
 */
#include "daemon/parts/installer_private.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "common/io/timer.h"

enum { RATE_INTERVAL_MS = 200 /* a shorter interval is too short for a rate */ };

/* --- what the clone tells --- */

/* The phases of the clone as the status spells them. */
const char *installer_phase_name(enum clone_phase phase)
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

void installer_on_phase(void *owner, enum clone_phase phase)
{
    struct installer *installer = owner;
    const char *name = installer_phase_name(phase);

    /* The last phases have no name: the end of the run is reported by its event. */
    if (!name || name == installer->view.phase)
        return;
    installer->view.phase = name;
    installer->view.progress = *clone_set_progress(installer->clone);
    installer->events->changed(installer->owner);
}

void installer_on_planned(void *owner, const struct plan_totals *totals)
{
    struct installer *installer = owner;
    char kept[16], copied[16], patched[16], fetched[16];

    installer->has_plan = true;
    installer->plan = (struct installer_plan){
        .totals = *totals,
        .release = installer->view.release,
        .slot = installer->slot,
        .made_s = wall_clock_now_s(),
    };
    log_info("the plan: keep %s, copy %s, patch %s, download %s",
             text_format_bytes(kept, sizeof(kept), totals->bytes_kept),
             text_format_bytes(copied, sizeof(copied), totals->bytes_copied),
             text_format_bytes(patched, sizeof(patched), totals->bytes_patched),
             text_format_bytes(fetched, sizeof(fetched), plan_download_bytes(totals)));
}

/* The sum of everything that a run moves: while it does not grow, the run stands still. */
static uint64_t count_moved(const struct installer *installer)
{
    const struct clone_progress *progress = &installer->view.progress;

    return progress->scan_bytes + progress->bytes_kept + progress->bytes_copied + progress->bytes_received +
           progress->bytes_written + progress->bytes_verified + installer->carry_moved;
}

void installer_on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    struct installer *installer = owner;
    struct installer_waiting *waiting = &installer->view.waiting;
    uint64_t now_s = wall_clock_now_s();
    char wait[32];

    /* Other requests may be waiting too: show the newest reason and the earliest next try. */
    if (!waiting->kind)
        *waiting = (struct installer_waiting){.since_s = now_s, .until_s = UINT64_MAX};
    waiting->kind = error->kind;
    if (waiting->until_s <= now_s || now_s + wait_ms / 1000 < waiting->until_s)
        waiting->until_s = now_s + wait_ms / 1000;
    record_copy_text(waiting->why, sizeof(waiting->why), error->message);
    installer->view.progress = *clone_set_progress(installer->clone);
    installer->waiting_moved = count_moved(installer);
    log_debug("tried again in %s: %s", text_format_duration(wait, sizeof(wait), wait_ms), error->message);
}

void installer_on_seed_skipped(void *owner, const char *path, const struct error *error)
{
    log_info("%s does not serve as a seed, or not all of it does: %s", path, error->message);
}

/* The sentence of one image, which has its name in front where there are several. */
static void set_why(struct installer *installer, char *ret_why, const char *name, const struct error *error)
{
    struct error named = *error;

    if (installer->view.image_count > 1)
        error_prefix(&named, "%s", name);
    record_copy_text(ret_why, RECORD_TEXT_SIZE, named.message);
}

void installer_on_pack_skipped(void *owner, const char *name, const struct error *error)
{
    struct installer *installer = owner;

    set_why(installer, installer->view.pack_why, name, error);
    log_warning("what the pack has for the release at hand cannot be used, so more is downloaded: %s",
                installer->view.pack_why);
}

void installer_on_table_skipped(void *owner, const char *name, const struct error *error)
{
    struct installer *installer = owner;

    set_why(installer, installer->view.table_why, name, error);
    log_warning("the table of chunks cannot be had, so fixed chunks serve and more is downloaded: %s",
                installer->view.table_why);
}

void installer_on_read_back_cached(void *owner, const struct error *why)
{
    log_warning("%s", why->message);
}

void installer_on_carry_progress(void *owner, const struct carry_progress *progress)
{
    struct installer *installer = owner;

    installer->carry_moved = progress->bytes_checked + progress->bytes_copied + progress->bytes_verified;
}

/* --- while it runs --- */

static void update_rate(struct installer *installer, uint64_t now_ms)
{
    struct installer_view *view = &installer->view;
    uint64_t elapsed_ms = now_ms - installer->rate_ms;

    if (elapsed_ms < RATE_INTERVAL_MS)
        return;
    uint64_t rate = (view->progress.bytes_received - installer->rate_bytes) * 1000 / elapsed_ms;
    /* A mean over the last seconds, because the rate of one interval jumps with each range that ends. */
    view->rate_bytes_per_s = (view->rate_bytes_per_s * 7 + rate) / 8;
    installer->rate_bytes = view->progress.bytes_received;
    installer->rate_ms = now_ms;
}

static void update_percent(struct installer_view *view, double percent)
{
    /* How much is left may turn out to be more while it runs, but the percentage never goes back. */
    if (percent > view->percent)
        view->percent = percent < 99.9 ? percent : 99.9;
}

/* The loop goes on even if the medium hangs, so it has to notice when nothing moves any more. */
static void watch_for_stall(struct installer *installer, uint64_t now_ms)
{
    struct installer_view *view = &installer->view;
    uint64_t moved = count_moved(installer);
    char waited[32];

    if (moved != installer->waiting_moved)
        view->waiting.kind = ERROR_NONE;
    if (moved != installer->moved) {
        installer->moved = moved;
        installer->moved_ms = now_ms;
        view->stall_why[0] = 0;
        return;
    }
    if (now_ms - installer->moved_ms < installer->deps.silence_ms)
        return;
    text_format_duration(waited, sizeof(waited), now_ms - installer->moved_ms);
    if (!view->stall_why[0])
        log_warning("%s: nothing was read, written or received for %s%s%s",
                    view->phase ? view->phase : "installing", waited, view->waiting.kind ? ": " : "",
                    view->waiting.kind ? view->waiting.why : "");
    snprintf(view->stall_why, sizeof(view->stall_why), "nothing was read, written or received for %s; %.400s",
             waited, view->waiting.kind ? view->waiting.why : "the medium or the server does not answer");
}

void installer_on_progress_timer(void *owner)
{
    struct installer *installer = owner;
    const struct clone_progress *progress = &installer->view.progress;
    uint64_t now_ms = wall_clock_boot_ms();

    if (installer->clone) {
        installer->view.progress = *clone_set_progress(installer->clone);
        update_percent(&installer->view, clone_set_percent(installer->clone));
    }
    update_rate(installer, now_ms);
    watch_for_stall(installer, now_ms);
    if (installer->max_bytes && installer->state == INSTALLER_INSTALLING && !installer->over_budget &&
        progress->bytes_received > installer->max_bytes) {
        installer->over_budget = true;
        installer_cancel(installer);
    }
    installer->events->changed(installer->owner);
    timer_start(installer->progress_timer, INSTALLER_PROGRESS_MS);
}
