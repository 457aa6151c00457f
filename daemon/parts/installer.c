/* SPDX-License-Identifier: MIT */
#include "daemon/parts/installer_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "common/io/timer.h"

/* Runs on a pool thread; `slots` and `slot` do not change while a run is under way. */
static bool check_target(void *owner, const char *name, int fd, struct error *error)
{
    const struct installer *installer = owner;

    return slots_target_check_opened(installer->slots, installer->slot, name, fd, error);
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
    for (unsigned i = 0; i < installer->settings.count; i++) {
        struct installer_image *image = &installer->view.images[i];
        if (clone_set_get_sha256(installer->clone, i, sha256))
            digest_sha256_to_hex(sha256, image->read_back);
        targets_add(installer->verified, image->name, clone_set_take_target(installer->clone, i),
                    image->bytes);
    }
}

/* What was carried over is what is recorded, or it had failed. */
static void hold_carried(struct installer *installer)
{
    for (unsigned i = installer->settings.count; i < installer->view.image_count; i++) {
        struct installer_image *image = &installer->view.images[i];
        memcpy(image->read_back, image->sha256, sizeof(image->read_back));
    }
    carry_take_targets(installer->carry, installer->verified);
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
    for (unsigned i = 0; i < installer->images.count; i++)
        release_forget_stock(installer->images.list[i].release);
}

/* Tells how the run ended. */
static void report_end(struct installer *installer)
{
    bool planning = installer->state == INSTALLER_PLANNING;
    struct installer_end end = {.overtaken = installer->overtaken};
    struct error error = installer->error;

    end_view(&installer->view);
    timer_stop(installer->progress_timer);
    installer->state = INSTALLER_IDLE;
    if (installer->failed) {
        end.over_budget = explain_budget(installer, &error);
        end.error = &error;
        installer->keep_verified_only |= !planning && error.kind == ERROR_MISMATCH;
    } else if (!planning) {
        installer->view.percent = 100;
        installer->keep_verified_only = false;
        installer->state = INSTALLER_VERIFIED;
    }
    if (planning)
        installer->events->planned(installer->owner, &end);
    else
        installer->events->installed(installer->owner, &end);
}

static void run_close(struct pool_job *job)
{
    struct installer *installer = container_of(job, struct installer, job);

    installer->verified = targets_close(installer->verified);
}

static void closed(struct pool_job *job)
{
    report_end(container_of(job, struct installer, job));
}

/* Nothing is under way any more. What is whole does not count if something else failed; closing it may block.
 */
static void end_run(struct installer *installer)
{
    if (!installer->failed || !installer->verified) {
        report_end(installer);
        return;
    }
    installer->job = (struct pool_job){.run = run_close, .done = closed};
    pool_submit(installer->deps.pool, &installer->job);
}

static void note_failure(struct installer *installer, const struct error *error)
{
    if (installer->failed)
        return;
    installer->failed = true;
    installer->error = *error;
}

static void on_carried(void *owner, const struct error *error)
{
    struct installer *installer = owner;

    if (error)
        note_failure(installer, error);
    else
        hold_carried(installer);
    installer->carry = carry_free(installer->carry);
    end_run(installer);
}

/* The clone is over. What was fetched for the plan stays with the release, for the next run, until an
 * installation has succeeded. After a mismatch the next run trusts no chunk in place by its XXH3 alone. */
static void on_cloned(void *owner, const struct error *error)
{
    struct installer *installer = owner;
    bool planning = installer->state == INSTALLER_PLANNING;

    /* A missing file does not prove a newer release; the next check will tell. */
    installer->overtaken =
        clone_set_was_overtaken(installer->clone) && !clone_set_lacks_file(installer->clone);
    installer->view.progress = *clone_set_progress(installer->clone);
    if (error)
        note_failure(installer, error);
    else if (!planning)
        hold_targets(installer);
    if (error || planning)
        clone_set_leave_stock(installer->clone);
    installer->clone = clone_set_free(installer->clone);
    if (!error && !planning)
        forget_stock(installer);
    if (!installer->carry) {
        end_run(installer);
    } else if (error) {
        carry_cancel(installer->carry);
    } else {
        installer->view.phase = installer_phase_name(CLONE_PHASE_TRANSFERRING);
        carry_go_on(installer->carry);
    }
}

static const struct clone_set_events clone_events = {
    .phase = installer_on_phase,
    .planned = installer_on_planned,
    .retry = installer_on_retry,
    .seed_skipped = installer_on_seed_skipped,
    .pack_skipped = installer_on_pack_skipped,
    .table_skipped = installer_on_table_skipped,
    .read_back_cached = installer_on_read_back_cached,
    .done = on_cloned,
};

static void start_clone(void *owner)
{
    struct installer *installer = owner;

    installer->clone = clone_set_new(installer->deps.base, installer->http, installer->deps.pool,
                                     &installer->settings, &clone_events, installer);
    clone_set_start(installer->clone);
}

static const struct carry_events carry_events = {
    .ready = start_clone,
    .progress = installer_on_carry_progress,
    .read_back_cached = installer_on_read_back_cached,
    .done = on_carried,
};

/* --- what others ask of it --- */

struct installer *installer_new(const struct installer_deps *deps, const struct installer_events *events,
                                void *owner)
{
    struct installer *installer = alloc_zeroed(sizeof(*installer));

    installer->deps = *deps;
    installer->events = events;
    installer->owner = owner;
    installer->progress_timer = timer_new(deps->base, installer_on_progress_timer, installer);
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
    installer->rate_bytes = installer->moved = installer->carry_moved = 0;
}

/* Adds what is cloned to the view. */
static void add_images(struct installer *installer)
{
    for (unsigned i = 0; i < installer->images.count; i++) {
        const struct manifest *manifest = installer->images.list[i].release->manifest;
        struct installer_image *image = &installer->view.images[installer->view.image_count++];
        *image = (struct installer_image){.bytes = manifest->file_size};
        snprintf(image->name, sizeof(image->name), "%s", installer->images.list[i].name);
        if (manifest->has_sha256)
            digest_sha256_to_hex(manifest->sha256, image->sha256);
    }
}

/* Adds what is carried over to the view. */
static void add_carried(struct installer *installer, const struct installer_request *request)
{
    installer->carried = *request->carried;
    installer->carried.slots = request->slots;
    installer->carried.target = request->slot;
    for (unsigned i = 0; i < installer->carried.count; i++) {
        struct carry_part *part = &installer->carried.parts[i];
        struct installer_image *image = &installer->view.images[installer->view.image_count++];
        *image = (struct installer_image){.bytes = part->bytes};
        snprintf(image->name, sizeof(image->name), "%s", part->name);
        digest_sha256_to_hex(part->sha256, image->sha256);
        part->name = image->name;
    }
}

void installer_start(struct installer *installer, const struct installer_request *request)
{
    bool carries = request->carried && request->carried->count && !request->plan_only;

    assert(installer->state == INSTALLER_IDLE);
    installer_reset(installer, request->offered);
    installer->view.table_why[0] = installer->view.pack_why[0] = 0;
    installer->view.phase = installer_phase_name(CLONE_PHASE_PREPARING);
    installer->state = request->plan_only ? INSTALLER_PLANNING : INSTALLER_INSTALLING;
    installer->slots = request->slots;
    installer->slot = request->slot;
    installer->max_bytes = request->max_bytes;
    installer->over_budget = installer->failed = installer->overtaken = false;
    installer->http = request->http;
    set_images_find(request->release, request->slots, request->slot, &installer->images);
    installer->settings = set_images_settings(&installer->images);
    installer->settings.check_target = check_target;
    installer->settings.plan_only = request->plan_only;
    installer->settings.keep_stock = true;
    installer->settings.keep_verified_only = installer->keep_verified_only;
    installer->settings.ignore_etag = request->ignore_etag;
    installer->settings.connections = request->connections;
    add_images(installer);
    if (carries)
        add_carried(installer, request);
    if (!request->plan_only)
        log_notice("installing %s into slot %s (%s)%s", request->name, slot_name(request->slot),
                   request->slots->devices[request->slot].path,
                   installer->images.count > 1 ? " and its parts" : "");
    if (carries)
        installer->carry = carry_start(installer->deps.pool, &installer->carried, &carry_events, installer);
    else
        start_clone(installer);
    timer_start(installer->progress_timer, INSTALLER_PROGRESS_MS);
}

void installer_cancel(struct installer *installer)
{
    if (installer->clone)
        clone_set_cancel(installer->clone);
    else if (installer->carry)
        carry_cancel(installer->carry);
}

enum installer_state installer_state(const struct installer *installer)
{
    return installer->state;
}

bool installer_is_running(const struct installer *installer)
{
    return installer->state == INSTALLER_PLANNING || installer->state == INSTALLER_INSTALLING;
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
