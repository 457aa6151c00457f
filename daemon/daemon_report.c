/* SPDX-License-Identifier: MIT */
/* What API clients and the service manager see, and what clients may ask for. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/timestamp.h"
#include "common/base/version.h"

/* Adds a block unless the verdict has that reason already: both verdicts may hold for the same one, such as a
 * boot selection that cannot be read. */
static void add_once(struct policy_verdict *verdict, const struct policy_block *block)
{
    for (size_t i = 0; i < verdict->count; i++)
        if (strcmp(verdict->blocks[i].what, block->what) == 0 && strstr(verdict->blocks[i].why, block->why))
            return;
    if (verdict->count < POLICY_BLOCKS_MAX)
        verdict->blocks[verdict->count++] = *block;
}

/* What holds the update back now; which verdict counts depends on the state. */
static void find_blocks(const struct daemon *daemon, struct policy_verdict *ret_verdict)
{
    const struct policy_verdict *install = &daemon->install_verdict,
                                *reboot = rebooter_verdict(daemon->rebooter);
    const char *missing = trial_runner_describe(daemon->trial_runner);
    char why[256];

    ret_verdict->count = 0;
    switch (daemon->update.state) {
    case UPDATE_STATE_REBOOT_PENDING:
        *ret_verdict = *reboot;
        for (size_t i = 0; i < install->count; i++)
            add_once(ret_verdict, &install->blocks[i]);
        return;
    case UPDATE_STATE_HELD:
    case UPDATE_STATE_CHECKING:
        *ret_verdict = *install;
        return;
    case UPDATE_STATE_TRIAL:
        snprintf(why, sizeof(why),
                 "the running slot is on trial, so the other slot may be the only good one%s%.160s",
                 missing ? "; not passed yet: " : "", missing ? missing : "");
        policy_hold(ret_verdict, "running-slot-not-good", why);
        return;
    case UPDATE_STATE_IDLE:
    case UPDATE_STATE_INSTALLING:
    case UPDATE_STATE_ACTIVATING:
    case UPDATE_STATE_STOPPING:
    case UPDATE_STATE_COUNT:
        return;
    }
}

static void fill_progress(const struct daemon *daemon, struct status_progress *ret_progress)
{
    const struct installer_view *view = installer_view(daemon->installer);
    const struct clone_progress *progress = &view->progress;
    uint64_t left = progress->bytes_planned > progress->bytes_received
                        ? progress->bytes_planned - progress->bytes_received
                        : 0;

    *ret_progress = (struct status_progress){
        .percent = view->percent,
        .bytes_kept = progress->bytes_kept,
        .bytes_copied = progress->bytes_copied,
        .bytes_patched = progress->bytes_patched,
        .bytes_downloaded = progress->bytes_received,
        .bytes_to_download = progress->bytes_planned,
        .bytes_written = progress->bytes_written,
        .bytes_verified = progress->bytes_verified,
        .rate_bytes_per_s = view->rate_bytes_per_s,
        .eta_s = view->rate_bytes_per_s ? left / view->rate_bytes_per_s : 0,
        .requests = progress->requests,
        .retries = progress->retries,
    };
}

/* Storage for texts that a snapshot points at. */
struct report_texts {
    struct policy_verdict verdict;
    char trust[512];
    struct status_waiting waiting;
    const char *shown_url; /* of Url=; NULL = not shown */
};

/* If nothing is recorded of the running slot, as after the machine's first boot, its own os-release tells;
 * else NULL. */
static const char *find_os_version(const struct daemon *daemon, enum slot slot)
{
    const struct record_release *known = &daemon->record->slots[slot].release;

    if (slot != daemon->view->running || *known->version || *known->sha256 || *known->manifest_sha256 ||
        !*daemon->os_version)
        return NULL;
    return daemon->os_version;
}

/* What lies in the places of the parts, as far as it is recorded. */
static void fill_slot_parts(const struct daemon *daemon, enum slot slot, struct status_parts *ret_parts)
{
    const struct slots *slots = daemon->view->slots;

    ret_parts->count = slots->part_count;
    for (unsigned i = 0; i < slots->part_count; i++) {
        const struct record_part *kept = record_slot_part(&daemon->record->slots[slot], slots->parts[i].name);
        struct status_part *part = &ret_parts->list[i];
        *part =
            (struct status_part){.name = slots->parts[i].name, .path = slots->parts[i].devices[slot].path};
        if (kept)
            memcpy(part->sha256, kept->sha256, sizeof(part->sha256));
    }
}

/* Of a part with an image for each slot, that of the slot which an update would be written to. */
static void fill_update_parts(const struct daemon *daemon, const struct release *release,
                              struct status_parts *ret_parts)
{
    enum slot target = slots_target(daemon->view->slots);

    ret_parts->count = release->manifest->parts.count;
    for (unsigned i = 0; i < ret_parts->count; i++) {
        const struct manifest_part *named = &release->manifest->parts.list[i];
        struct status_part *part = &ret_parts->list[i];
        *part = (struct status_part){.name = named->name};
        if (named->per_slot && target == SLOT_NONE)
            continue;
        const struct manifest *manifest =
            release_part(release, i, named->per_slot ? (unsigned)target : 0)->manifest;
        digest_sha256_to_hex(manifest->sha256, part->sha256);
        part->bytes = manifest->file_size;
    }
}

/* The snapshot points into `texts`, which has to live as long. */
static void fill_snapshot(const struct daemon *daemon, struct status_snapshot *ret_snapshot,
                          struct report_texts *texts)
{
    const struct boot_view *view = daemon->view;
    const struct installer_view *work = installer_view(daemon->installer);
    const struct release *release = checker_release(daemon->checker);
    const struct record_release *offered = checker_offered(daemon->checker);
    const struct trust_verdict *signature = release ? &release->verdict : NULL;

    find_blocks(daemon, &texts->verdict);
    daemon_trust_describe(daemon, texts->trust, sizeof(texts->trust));
    texts->waiting = (struct status_waiting){
        .since_s = work->waiting.since_s,
        .until_s = work->waiting.until_s,
        .kind = work->waiting.kind,
        .why = work->waiting.why,
    };
    *ret_snapshot = (struct status_snapshot){
        .daemon_version = version_text(),
        .pid = getpid(),
        .started_s = daemon->started_s,
        .state = daemon->update.state,
        .phase = work->phase,
        .since_s = daemon->since_s,
        .blocked_by = &texts->verdict,
        .boot_backend = config_backend_name(daemon->fixed->backend),
        .boot_next = *daemon->view->look_why ? SLOT_NONE : view->boot.next,
        .boot_trial = view->running != SLOT_NONE && view->boot.trial == view->running,
        .boot_tries_left = view->boot.tries_left,
        .boot_note = *daemon->view->look_why ? daemon->view->look_why
                     : *view->boot.note      ? view->boot.note
                                             : NULL,
        .shown_url = texts->shown_url,
        .update = release ? offered : NULL,
        .update_size_bytes = release ? release->manifest->file_size : 0,
        .next_check_s = poller_next_s(daemon->poller),
        .next_check_why = poller_next_why(daemon->poller),
        .signature_required = daemon_trust(daemon).demanded,
        .key_count = trust_keys_count(daemon->config->keys),
        .trust_why = texts->trust,
        .key_id = signature && signature->is_signed ? signature->key_id : NULL,
        .trusted_comment = signature ? signature->comment : NULL,
        .record = daemon->record,
        .waiting = work->waiting.kind ? &texts->waiting : NULL,
        .stall_why = *work->stall_why ? work->stall_why : job_watch_why(daemon->job_watch),
    };
    if (release)
        fill_update_parts(daemon, release, &ret_snapshot->update_parts);
    for (int i = 0; i < SLOT_COUNT; i++) {
        ret_snapshot->slots[i] = (struct status_slot){
            .device = view->slots->devices[i].path,
            .active = view->running == (enum slot)i,
            .state = daemon_slot_health(daemon, (enum slot)i),
            .release = &daemon->record->slots[i].release,
            .os_version = find_os_version(daemon, (enum slot)i),
        };
        fill_slot_parts(daemon, (enum slot)i, &ret_snapshot->slots[i].parts);
    }
    fill_progress(daemon, &ret_snapshot->progress);
    /* The installer tells of the release that was planned last, which is not always the one on offer. */
    if (release && record_release_is_same(&work->release, offered)) {
        ret_snapshot->table_skipped = *work->table_why ? work->table_why : NULL;
        ret_snapshot->pack_skipped = *work->pack_why ? work->pack_why : NULL;
    }
}

struct json_object *daemon_report_status(const struct daemon *daemon)
{
    struct status_snapshot snapshot;
    struct report_texts texts = {.shown_url = url_shown(daemon->config->url)};

    fill_snapshot(daemon, &snapshot, &texts);
    return status_json(&snapshot);
}

/* --- the service manager --- */

void daemon_report_send_status(void *owner)
{
    struct daemon *daemon = owner;
    struct status_snapshot snapshot;
    struct report_texts texts = {.shown_url = NULL};
    char sentence[512];

    fill_snapshot(daemon, &snapshot, &texts);
    service_manager_tell_status(daemon->service_manager,
                                status_sentence(sentence, sizeof(sentence), &snapshot));
}

void daemon_report_publish(struct daemon *daemon, bool state_changed)
{
    if (daemon->api && api_server_count_streams(daemon->api)) {
        struct json_object *status = daemon_report_status(daemon);
        api_server_publish(daemon->api, status);
        json_object_put(status);
    }
    service_manager_note_change(daemon->service_manager, state_changed);
}

/* --- the API --- */

static struct json_object *api_status(void *owner)
{
    daemon_boot_look_if_asked(owner);
    return daemon_report_status(owner);
}

static struct json_object *api_plan(void *owner)
{
    const struct daemon *daemon = owner;
    const struct installer_plan *made = installer_plan(daemon->installer);
    char time[TIMESTAMP_TEXT_SIZE];

    if (!made)
        return NULL;
    const struct plan_totals *plan = &made->totals;
    struct json_object *object = json_object_new_object();
    json_add_string(object, "time", timestamp_format(time, made->made_s));
    json_add_string(object, "version", *made->release.version ? made->release.version : NULL);
    if (made->release.has_serial)
        json_add_u64(object, "serial", made->release.serial);
    json_add_string(object, "sha256", *made->release.sha256 ? made->release.sha256 : NULL);
    json_add_u64(object, "image_bytes", plan->image_bytes);
    json_add_u64(object, "bytes_to_download", plan_download_bytes(plan));
    json_add_u64(object, "bytes_kept", plan->bytes_kept);
    json_add_u64(object, "bytes_copied", plan->bytes_copied);
    json_add_u64(object, "bytes_patched", plan->bytes_patched);
    json_add_u64(object, "bytes_fetched", plan->bytes_fetched);
    json_add_u64(object, "chunk_bytes", plan->chunk_bytes);
    json_add_u64(object, "patch_bytes", plan->patch_bytes);
    json_add_u64(object, "gap_bytes", plan->gap_bytes);
    json_add_u64(object, "section_bytes", plan->section_bytes);
    json_add_u64(object, "table_bytes", plan->table_bytes);
    json_add_u64(object, "manifest_bytes", plan->manifest_bytes);
    json_add_u64(object, "chunks_kept", plan->chunks_kept);
    json_add_u64(object, "chunks_copied", plan->chunks_copied);
    json_add_u64(object, "chunks_patched", plan->chunks_patched);
    json_add_u64(object, "chunks_fetched", plan->chunks_fetched);
    json_add_u64(object, "requests", plan->requests);
    json_add_u64(object, "requests_before", plan->requests_before);
    return object;
}

static struct json_object *api_history(void *owner)
{
    const struct daemon *daemon = owner;

    return record_history_json(daemon->record);
}

static void add_setting(void *owner, const struct config_setting *setting)
{
    struct json_object *list = owner, *object = json_object_new_object();

    json_add_string(object, "section", setting->section);
    json_add_string(object, "key", setting->key);
    json_add_string(object, "value", setting->value);
    json_add_string(object, "origin", setting->origin);
    json_object_array_add(list, object);
}

static struct json_object *api_config(void *owner)
{
    const struct daemon *daemon = owner;
    struct json_object *object = json_object_new_object(), *list = json_object_new_array();

    config_each_setting(daemon->config, add_setting, list);
    json_object_object_add(object, "settings", list);
    return object;
}

static char *api_metrics(void *owner)
{
    const struct daemon *daemon = owner;
    struct status_snapshot snapshot;
    struct report_texts texts = {.shown_url = NULL};

    fill_snapshot(daemon, &snapshot, &texts);
    return status_metrics(&snapshot);
}

static bool api_request(void *owner, enum api_action action, struct api_error *ret_error)
{
    static const enum update_event_kind kinds[] = {
        [API_ACTION_CHECK] = UPDATE_EVENT_CHECK_REQUESTED,
        [API_ACTION_INSTALL] = UPDATE_EVENT_INSTALL_REQUESTED,
        [API_ACTION_CANCEL] = UPDATE_EVENT_CANCEL_REQUESTED,
        [API_ACTION_REBOOT] = UPDATE_EVENT_REBOOT_REQUESTED,
        [API_ACTION_MARK_GOOD] = UPDATE_EVENT_MARK_GOOD_REQUESTED,
        [API_ACTION_MARK_BAD] = UPDATE_EVENT_MARK_BAD_REQUESTED,
        [API_ACTION_ROLLBACK] = UPDATE_EVENT_ROLLBACK_REQUESTED,
    };
    struct daemon *daemon = owner;
    enum slot running = daemon->view->running, other = slot_other(running);
    struct update_event event = {
        .kind = kinds[action],
        .running_known = running != SLOT_NONE,
        .other_good = other != SLOT_NONE && daemon_slot_health(daemon, other) == BOOT_HEALTH_GOOD,
    };
    struct update_orders orders;

    if (daemon_request(daemon, &event, &orders))
        return true;
    return api_error_set(ret_error, 409, orders.refusal_code, "%s is refused: %s", api_action_name(action),
                         orders.refusal);
}

struct api_backend daemon_report_backend(struct daemon *daemon)
{
    return (struct api_backend){
        .owner = daemon,
        .status = api_status,
        .plan = api_plan,
        .history = api_history,
        .config = api_config,
        .metrics = api_metrics,
        .request = api_request,
    };
}
