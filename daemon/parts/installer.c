/* SPDX-License-Identifier: MIT */
#include "daemon/parts/installer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "common/io/timer.h"
#include "common/sinter/table_room.h"

enum {
    PROGRESS_INTERVAL_MS = 250,
    RATE_INTERVAL_MS = 200, /* a shorter interval is too short for a rate */
};

struct installer {
    struct installer_deps deps;
    const struct installer_events *events;
    void *owner;
    enum installer_state state;
    struct timer *progress_timer;
    struct installer_view view;
    struct installer_plan plan;
    bool has_plan;
    bool keep_verified_only; /* the last installation did not read back what it wrote */

    /* the run under way: */
    struct clone_set *clone;
    const char *seeds[CLONE_SET_IMAGES_MAX][2]; /* of each image, NULL-terminated */
    struct release *release;
    const struct slots *slots;
    enum slot slot;
    uint64_t max_bytes;
    bool over_budget;
    uint64_t rate_bytes, rate_ms;
    uint64_t moved, moved_ms; /* what had moved at the last change, and when that was; to notice a stall */
    uint64_t waiting_moved;   /* what had moved when the waiting began */

    struct targets *verified; /* while INSTALLER_VERIFIED */
};

/* --- what the clone tells --- */

/* The phases of the clone as the status spells them. */
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
    struct installer *installer = owner;
    const char *name = phase_name(phase);

    /* The last phases have no name: the end of the run is reported by its event. */
    if (!name || name == installer->view.phase)
        return;
    installer->view.phase = name;
    installer->view.progress = *clone_set_progress(installer->clone);
    installer->events->changed(installer->owner);
}

static void on_planned(void *owner, const struct plan_totals *totals)
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

/* The sum of everything that a clone moves: while it does not grow, the clone stands still. */
static uint64_t count_moved(const struct clone_progress *progress)
{
    return progress->scan_bytes + progress->bytes_kept + progress->bytes_copied + progress->bytes_received +
           progress->bytes_written + progress->bytes_verified;
}

static void on_retry(void *owner, const struct error *error, uint64_t wait_ms)
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
    installer->waiting_moved = count_moved(clone_set_progress(installer->clone));
    log_debug("tried again in %s: %s", text_format_duration(wait, sizeof(wait), wait_ms), error->message);
}

static void on_seed_skipped(void *owner, const char *path, const struct error *error)
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

static void on_pack_skipped(void *owner, const char *name, const struct error *error)
{
    struct installer *installer = owner;

    set_why(installer, installer->view.pack_why, name, error);
    log_warning("what the pack has for the release at hand cannot be used, so more is downloaded: %s",
                installer->view.pack_why);
}

static void on_table_skipped(void *owner, const char *name, const struct error *error)
{
    struct installer *installer = owner;

    set_why(installer, installer->view.table_why, name, error);
    log_warning("the table of chunks cannot be had, so fixed chunks serve and more is downloaded: %s",
                installer->view.table_why);
}

static void on_read_back_cached(void *owner, const struct error *why)
{
    log_warning("%s", why->message);
}

/* Runs on a pool thread; `slots` and `slot` do not change while a run is under way. */
static bool check_target(void *owner, const char *name, int fd, struct error *error)
{
    const struct installer *installer = owner;

    return slots_target_check_part(installer->slots, installer->slot, name, fd, error);
}

/* --- how a run ends --- */

/* Nothing moves any more, and nothing is waited for. */
static void end_view(struct installer_view *view)
{
    view->phase = NULL;
    view->rate_bytes_per_s = 0;
    view->stall_why[0] = 0;
    view->waiting.kind = ERROR_NONE;
}

static void hold_targets(struct installer *installer)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];

    installer->verified = targets_new();
    for (unsigned i = 0; i < installer->view.image_count; i++) {
        struct installer_image *image = &installer->view.images[i];
        if (clone_set_get_sha256(installer->clone, i, sha256))
            digest_sha256_to_hex(sha256, image->read_back);
        targets_add(installer->verified, image->name, clone_set_take_target(installer->clone, i),
                    image->bytes);
    }
    installer->view.percent = 100;
    installer->keep_verified_only = false;
    installer->state = INSTALLER_VERIFIED;
}

/* If the budget was the reason for cancelling, replaces the error by one that says so. */
static bool explain_budget(const struct installer *installer, struct error *error)
{
    char received[16], limit[16];

    if (error->kind != ERROR_CANCELLED || !installer->over_budget)
        return false;
    error_set(error, ERROR_REFUSED, "the update has downloaded %s already and MaxBytesPerUpdate= allows %s",
              text_format_bytes(received, sizeof(received), installer->view.progress.bytes_received),
              text_format_bytes(limit, sizeof(limit), installer->max_bytes));
    return true;
}

static void forget_stock(struct installer *installer)
{
    release_forget_stock(installer->release);
    for (uint32_t i = 0; i < installer->release->manifest->parts.count; i++)
        release_forget_stock(release_part(installer->release, i, (unsigned)installer->slot));
}

/* Ends a run. What was fetched for the plan stays with the release, for the next run, until an installation
 * has succeeded. After a mismatch the next run trusts no chunk in place by its XXH3 alone. */
static void on_done(void *owner, const struct error *done_error)
{
    struct installer *installer = owner;
    bool planning = installer->state == INSTALLER_PLANNING;
    struct installer_end end = {
        /* A missing file does not prove a newer release; the next check will tell. */
        .overtaken = clone_set_was_overtaken(installer->clone) && !clone_set_lacks_file(installer->clone),
    };
    struct error error;

    installer->view.progress = *clone_set_progress(installer->clone);
    end_view(&installer->view);
    timer_stop(installer->progress_timer);
    installer->state = INSTALLER_IDLE;
    if (done_error) {
        /* The error belongs to the clone, which is freed below. */
        error = *done_error;
        end.over_budget = explain_budget(installer, &error);
        end.error = &error;
        installer->keep_verified_only |= !planning && error.kind == ERROR_MISMATCH;
    } else if (!planning) {
        hold_targets(installer);
    }
    if (done_error || planning)
        clone_set_leave_stock(installer->clone);
    installer->clone = clone_set_free(installer->clone);
    if (!done_error && !planning)
        forget_stock(installer);
    if (planning)
        installer->events->planned(installer->owner, &end);
    else
        installer->events->installed(installer->owner, &end);
}

static const struct clone_set_events clone_events = {
    .phase = on_phase,
    .planned = on_planned,
    .retry = on_retry,
    .seed_skipped = on_seed_skipped,
    .pack_skipped = on_pack_skipped,
    .table_skipped = on_table_skipped,
    .read_back_cached = on_read_back_cached,
    .done = on_done,
};

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
    uint64_t moved = count_moved(&view->progress);
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

static void on_progress_timer(void *owner)
{
    struct installer *installer = owner;
    const struct clone_progress *progress = &installer->view.progress;
    uint64_t now_ms = wall_clock_boot_ms();

    installer->view.progress = *clone_set_progress(installer->clone);
    update_rate(installer, now_ms);
    update_percent(&installer->view, clone_set_percent(installer->clone));
    watch_for_stall(installer, now_ms);
    if (installer->max_bytes && installer->state == INSTALLER_INSTALLING && !installer->over_budget &&
        progress->bytes_received > installer->max_bytes) {
        installer->over_budget = true;
        clone_set_cancel(installer->clone);
    }
    installer->events->changed(installer->owner);
    timer_start(installer->progress_timer, PROGRESS_INTERVAL_MS);
}

/* --- what others ask of it --- */

struct installer *installer_new(const struct installer_deps *deps, const struct installer_events *events,
                                void *owner)
{
    struct installer *installer = alloc_zeroed(sizeof(*installer));

    installer->deps = *deps;
    installer->events = events;
    installer->owner = owner;
    installer->progress_timer = timer_new(deps->base, on_progress_timer, installer);
    return installer;
}

struct installer *installer_free(struct installer *installer)
{
    if (!installer)
        return NULL;
    targets_close(installer->verified);
    timer_free(installer->progress_timer);
    free(installer);
    return NULL;
}

void installer_reset(struct installer *installer, const struct record_release *release)
{
    struct installer_view *view = &installer->view;

    view->release = *release;
    view->image_count = 0;
    memset(&view->progress, 0, sizeof(view->progress));
    view->percent = 0;
    end_view(view);
    view->begun_ms = installer->rate_ms = installer->moved_ms = wall_clock_boot_ms();
    installer->rate_bytes = installer->moved = 0;
}

/* Adds an image to the view and to what is cloned. The running slot's image of the same kind is its seed. */
static void add_image(struct installer *installer, struct clone_set_settings *settings,
                      const struct installer_request *request, const char *name, struct release *release)
{
    const struct manifest *manifest = release->manifest;
    const struct storage *place = slots_find_place(request->slots, name, request->slot);
    const struct storage *seed = slots_find_place(request->slots, name, slot_other(request->slot));
    unsigned number = installer->view.image_count++;
    struct installer_image *image = &installer->view.images[number];

    *image = (struct installer_image){.bytes = manifest->file_size};
    snprintf(image->name, sizeof(image->name), "%s", name);
    if (manifest->has_sha256)
        digest_sha256_to_hex(manifest->sha256, image->sha256);
    installer->seeds[number][0] = seed->path;
    settings->images[settings->count++] = (struct clone_set_image){
        .name = image->name,
        .release = release,
        .target_path = place->path,
        .seed_paths = installer->seeds[number],
        /* A slot that is missing is a mistake, or a disk that is not there yet; creating a file would hide
         * that. A part that is a file on a mounted partition is made with the first release that has it. */
        .create_target = strcmp(name, MANIFEST_MAIN_NAME) != 0 && !text_has_prefix(place->path, "/dev/"),
    };
}

void installer_start(struct installer *installer, const struct installer_request *request)
{
    const struct manifest_parts *parts = &request->release->manifest->parts;
    struct clone_set_settings settings = {
        .check_target = check_target,
        .plan_only = request->plan_only,
        .keep_stock = true,
        .keep_verified_only = installer->keep_verified_only,
        .ignore_etag = request->ignore_etag,
        .memory_bytes = table_room_memory_bytes(),
        .connections = request->connections,
    };

    assert(installer->state == INSTALLER_IDLE);
    installer_reset(installer, request->offered);
    installer->view.table_why[0] = installer->view.pack_why[0] = 0;
    installer->view.phase = phase_name(CLONE_PHASE_PREPARING);
    installer->state = request->plan_only ? INSTALLER_PLANNING : INSTALLER_INSTALLING;
    installer->release = request->release;
    installer->slots = request->slots;
    installer->slot = request->slot;
    installer->max_bytes = request->max_bytes;
    installer->over_budget = false;
    for (uint32_t i = 0; i < parts->count; i++)
        add_image(installer, &settings, request, parts->list[i].name,
                  release_part(request->release, i, (unsigned)request->slot));
    add_image(installer, &settings, request, MANIFEST_MAIN_NAME, request->release);
    if (!request->plan_only)
        log_notice("installing %s into slot %s (%s)%s", request->name, slot_name(request->slot),
                   request->slots->devices[request->slot].path, parts->count ? " and its parts" : "");
    installer->clone = clone_set_new(installer->deps.base, request->http, installer->deps.pool, &settings,
                                     &clone_events, installer);
    clone_set_start(installer->clone);
    timer_start(installer->progress_timer, PROGRESS_INTERVAL_MS);
}

void installer_cancel(struct installer *installer)
{
    if (installer->clone)
        clone_set_cancel(installer->clone);
}

enum installer_state installer_state(const struct installer *installer)
{
    return installer->state;
}

bool installer_is_running(const struct installer *installer)
{
    return installer->clone != NULL;
}

const struct installer_view *installer_view(const struct installer *installer)
{
    return &installer->view;
}

const struct installer_plan *installer_plan(const struct installer *installer)
{
    return installer->has_plan ? &installer->plan : NULL;
}

struct targets *installer_take_targets(struct installer *installer)
{
    struct targets *targets = installer->verified;

    assert(installer->state == INSTALLER_VERIFIED);
    installer->verified = NULL;
    installer->state = INSTALLER_IDLE;
    return targets;
}
