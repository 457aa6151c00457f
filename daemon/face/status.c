/* SPDX-License-Identifier: MIT */
#include "daemon/face/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/base/timestamp.h"

/* A Unix time as RFC 3339, 0 as null. */
static void add_time(struct json_object *object, const char *name, uint64_t time_s)
{
    char text[TIMESTAMP_TEXT_SIZE];

    json_add_string(object, name, time_s ? timestamp_format(text, time_s) : NULL);
}

/* Adds a text that may hold parts from a server or a file name; "" becomes null. */
static void add_text(struct json_object *object, const char *name, const char *text)
{
    char clean[2048];

    record_copy_text(clean, sizeof(clean), text);
    json_add_string(object, name, *clean ? clean : NULL);
}

static void add_serial(struct json_object *object, const struct record_release *release)
{
    if (release && release->has_serial)
        json_add_u64(object, "serial", release->serial);
    else
        json_object_object_add(object, "serial", NULL);
}

static void add_release(struct json_object *object, const struct record_release *release)
{
    add_text(object, "version", release ? release->version : NULL);
    add_serial(object, release);
    add_text(object, "sha256", release ? release->sha256 : NULL);
}

static struct json_object *daemon_json(const struct status_snapshot *snapshot)
{
    struct json_object *object = json_object_new_object();

    json_add_string(object, "version", snapshot->daemon_version);
    json_object_object_add(object, "pid", json_object_new_int(snapshot->pid));
    add_time(object, "started", snapshot->started_s);
    return object;
}

static struct json_object *blocked_by_json(const struct policy_verdict *verdict)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; verdict && i < verdict->count; i++) {
        struct json_object *object = json_object_new_object();
        json_add_string(object, "what", verdict->blocks[i].what);
        add_time(object, "until", verdict->blocks[i].until_s);
        add_text(object, "why", verdict->blocks[i].why);
        json_object_array_add(list, object);
    }
    return list;
}

/* Where there are no parts, nothing is told of them. */
static void add_parts(struct json_object *object, const struct status_parts *parts)
{
    if (!parts->count)
        return;
    struct json_object *members = json_object_new_object();
    for (unsigned i = 0; i < parts->count; i++) {
        const struct status_part *part = &parts->list[i];
        struct json_object *member = json_object_new_object();
        if (part->path)
            add_text(member, "path", part->path);
        add_text(member, "sha256", part->sha256);
        if (!part->path)
            json_add_u64(member, "bytes", part->bytes);
        json_object_object_add(members, part->name, member);
    }
    json_object_object_add(object, "parts", members);
}

static struct json_object *slots_json(const struct status_snapshot *snapshot)
{
    struct json_object *slots = json_object_new_object();

    for (int i = 0; i < SLOT_COUNT; i++) {
        const struct status_slot *slot = &snapshot->slots[i];
        struct json_object *object = json_object_new_object();
        add_text(object, "device", slot->device);
        json_add_string(object, "role", slot->active ? "active" : "inactive");
        json_add_string(object, "state", boot_health_name(slot->state));
        add_release(object, slot->release);
        if (slot->os_version)
            add_text(object, "version", slot->os_version);
        json_add_string(object, "version_from",
                        slot->os_version                           ? "os-release"
                        : slot->release && *slot->release->version ? "release"
                                                                   : NULL);
        add_parts(object, &slot->parts);
        json_object_object_add(slots, slot_name((enum slot)i), object);
    }
    return slots;
}

static struct json_object *boot_json(const struct status_snapshot *snapshot)
{
    struct json_object *object = json_object_new_object();

    json_add_string(object, "backend", snapshot->boot_backend);
    json_add_string(object, "next", snapshot->boot_next == SLOT_NONE ? NULL : slot_name(snapshot->boot_next));
    json_object_object_add(object, "trial", json_object_new_boolean(snapshot->boot_trial));
    json_add_u64(object, "tries_left", snapshot->boot_tries_left);
    if (snapshot->boot_note)
        json_add_string(object, "note", snapshot->boot_note);
    return object;
}

static struct json_object *progress_json(const struct status_progress *progress)
{
    struct json_object *object = json_object_new_object();
    char percent[16];

    snprintf(percent, sizeof(percent), "%.1f", progress->percent);
    json_object_object_add(object, "percent", json_object_new_double_s(progress->percent, percent));
    json_add_u64(object, "bytes_kept", progress->bytes_kept);
    json_add_u64(object, "bytes_copied", progress->bytes_copied);
    json_add_u64(object, "bytes_patched", progress->bytes_patched);
    json_add_u64(object, "bytes_downloaded", progress->bytes_downloaded);
    json_add_u64(object, "bytes_to_download", progress->bytes_to_download);
    json_add_u64(object, "bytes_written", progress->bytes_written);
    json_add_u64(object, "bytes_verified", progress->bytes_verified);
    json_add_u64(object, "rate_bytes_per_s", progress->rate_bytes_per_s);
    json_add_u64(object, "eta_s", progress->eta_s);
    json_add_u64(object, "requests", progress->requests);
    json_add_u64(object, "retries", progress->retries);
    return object;
}

static struct json_object *waiting_json(const struct status_waiting *waiting)
{
    if (!waiting)
        return NULL;

    struct json_object *object = json_object_new_object();
    add_time(object, "since", waiting->since_s);
    add_time(object, "until", waiting->until_s);
    json_add_string(object, "kind", error_kind_name(waiting->kind));
    add_text(object, "why", waiting->why);
    return object;
}

static struct json_object *update_json(const struct status_snapshot *snapshot)
{
    struct json_object *object = json_object_new_object();

    add_text(object, "url", snapshot->shown_url);
    add_release(object, snapshot->update);
    if (snapshot->update)
        json_add_u64(object, "size_bytes", snapshot->update_size_bytes);
    else
        json_object_object_add(object, "size_bytes", NULL);
    add_parts(object, &snapshot->update_parts);
    add_text(object, "signed_by", snapshot->key_id);
    add_text(object, "trusted_comment", snapshot->trusted_comment);
    add_text(object, "table_skipped", snapshot->table_skipped);
    add_text(object, "pack_skipped", snapshot->pack_skipped);
    json_object_object_add(object, "progress", progress_json(&snapshot->progress));
    json_object_object_add(object, "waiting", waiting_json(snapshot->waiting));
    return object;
}

static struct json_object *trust_json(const struct status_snapshot *snapshot)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "signature_required",
                           json_object_new_boolean(snapshot->signature_required));
    json_add_u64(object, "keys", snapshot->key_count);
    add_text(object, "why", snapshot->trust_why);
    return object;
}

static struct json_object *last_check_json(const struct status_snapshot *snapshot)
{
    struct json_object *object = json_object_new_object();

    add_time(object, "time", snapshot->record->check_time_s);
    add_text(object, "result", snapshot->record->check_result);
    add_time(object, "next", snapshot->next_check_s);
    add_text(object, "why", snapshot->next_check_s ? snapshot->next_check_why : NULL);
    return object;
}

static struct json_object *last_error_json(const struct record *record)
{
    if (!record->error_time_s)
        return NULL;

    struct json_object *object = json_object_new_object();
    add_time(object, "time", record->error_time_s);
    json_add_string(object, "kind", error_kind_name(record->error_kind));
    add_text(object, "message", record->error_message);
    return object;
}

struct json_object *status_json(const struct status_snapshot *snapshot)
{
    struct json_object *root = json_object_new_object();
    const struct record_entry *last = record_last_update(snapshot->record);

    json_object_object_add(root, "daemon", daemon_json(snapshot));
    json_add_string(root, "state", update_state_name(snapshot->state));
    json_add_string(root, "phase", snapshot->phase);
    add_time(root, "since", snapshot->since_s);
    json_object_object_add(root, "blocked_by", blocked_by_json(snapshot->blocked_by));
    json_object_object_add(root, "slots", slots_json(snapshot));
    json_object_object_add(root, "boot", boot_json(snapshot));
    json_object_object_add(root, "update", update_json(snapshot));
    json_object_object_add(root, "trust", trust_json(snapshot));
    json_object_object_add(root, "last_check", last_check_json(snapshot));
    json_object_object_add(root, "last_error", last_error_json(snapshot->record));
    json_object_object_add(root, "last_update", last ? record_entry_json(last) : NULL);
    if (snapshot->stall_why)
        add_text(root, "stalled", snapshot->stall_why);
    return root;
}

/* --- Prometheus --- */

static void put_metric(FILE *stream, const char *name, const char *type, const char *help)
{
    fprintf(stream, "# HELP moonsinter_%s %s\n# TYPE moonsinter_%s %s\n", name, help, name, type);
}

static void put_number(FILE *stream, const char *name, const char *type, const char *help, uint64_t value)
{
    put_metric(stream, name, type, help);
    fprintf(stream, "moonsinter_%s %" PRIu64 "\n", name, value);
}

/* A label's value: quotes, backslashes and line feeds are escaped as the text format wants. */
static void put_label(FILE *stream, const char *text)
{
    char clean[MANIFEST_TEXT_MAX + 1];

    record_copy_text(clean, sizeof(clean), text);
    for (const char *c = clean; *c; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', stream);
        fputc(*c, stream);
    }
}

static void put_slots(FILE *stream, const struct status_snapshot *snapshot)
{
    put_metric(stream, "slot_info", "gauge", "The two slots; always 1.");
    for (int i = 0; i < SLOT_COUNT; i++) {
        const struct status_slot *slot = &snapshot->slots[i];
        fprintf(stream, "moonsinter_slot_info{slot=\"%s\",role=\"%s\",state=\"%s\",version=\"",
                slot_name((enum slot)i), slot->active ? "active" : "inactive", boot_health_name(slot->state));
        put_label(stream, slot->os_version ? slot->os_version : slot->release ? slot->release->version : "");
        fputs("\"} 1\n", stream);
    }
}

static void put_progress(FILE *stream, const struct status_progress *progress)
{
    put_metric(stream, "update_progress_percent", "gauge", "How far the update under way is.");
    fprintf(stream, "moonsinter_update_progress_percent %.1f\n", progress->percent);
    put_metric(stream, "update_bytes", "gauge", "Bytes of the update under way, by what became of them.");
    fprintf(stream, "moonsinter_update_bytes{what=\"kept\"} %" PRIu64 "\n", progress->bytes_kept);
    fprintf(stream, "moonsinter_update_bytes{what=\"copied\"} %" PRIu64 "\n", progress->bytes_copied);
    fprintf(stream, "moonsinter_update_bytes{what=\"patched\"} %" PRIu64 "\n", progress->bytes_patched);
    fprintf(stream, "moonsinter_update_bytes{what=\"downloaded\"} %" PRIu64 "\n", progress->bytes_downloaded);
    fprintf(stream, "moonsinter_update_bytes{what=\"to_download\"} %" PRIu64 "\n",
            progress->bytes_to_download);
    fprintf(stream, "moonsinter_update_bytes{what=\"written\"} %" PRIu64 "\n", progress->bytes_written);
    fprintf(stream, "moonsinter_update_bytes{what=\"verified\"} %" PRIu64 "\n", progress->bytes_verified);
    put_number(stream, "update_rate_bytes_per_second", "gauge", "Download rate at the moment.",
               progress->rate_bytes_per_s);
    put_number(stream, "update_requests", "gauge", "Requests of the update under way.", progress->requests);
    put_number(stream, "update_retries", "gauge", "Requests of it that were tried again.", progress->retries);
}

char *status_metrics(const struct status_snapshot *snapshot)
{
    const struct record *record = snapshot->record;
    const struct record_entry *last = record_last_update(record);
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        abort();
    put_metric(stream, "info", "gauge", "The daemon; always 1.");
    fputs("moonsinter_info{version=\"", stream);
    put_label(stream, snapshot->daemon_version);
    fputs("\"} 1\n", stream);
    put_number(stream, "start_time_seconds", "gauge", "When the daemon started, Unix time.",
               snapshot->started_s);
    put_metric(stream, "state", "gauge", "1 for the state the daemon is in.");
    for (int i = 0; i < UPDATE_STATE_COUNT; i++)
        fprintf(stream, "moonsinter_state{state=\"%s\"} %d\n", update_state_name((enum update_state)i),
                snapshot->state == (enum update_state)i);
    put_number(stream, "blocked", "gauge", "Rules that hold the update back.",
               snapshot->blocked_by ? snapshot->blocked_by->count : 0);
    put_number(stream, "signature_required", "gauge",
               "1 where manifests must be signed, 0 where the server is trusted.",
               snapshot->signature_required);
    put_slots(stream, snapshot);
    put_number(stream, "boot_trial", "gauge", "1 while the running slot is on trial.", snapshot->boot_trial);
    put_number(stream, "boot_tries_left", "gauge", "Starts that an armed slot has left.",
               snapshot->boot_tries_left);
    put_progress(stream, &snapshot->progress);
    put_number(stream, "last_check_timestamp_seconds", "gauge", "When the server was asked last, Unix time.",
               record->check_time_s);
    put_number(stream, "next_check_timestamp_seconds", "gauge", "When it is asked next, Unix time.",
               snapshot->next_check_s);
    put_number(stream, "last_error_timestamp_seconds", "gauge", "When something failed last, Unix time.",
               record->error_time_s);
    put_number(stream, "last_update_timestamp_seconds", "gauge", "When the last update ended, Unix time.",
               last ? last->time_s : 0);
    put_number(stream, "last_update_success", "gauge", "1 where the last update was installed.",
               last && last->result == RECORD_RESULT_INSTALLED);
    put_number(stream, "last_update_downloaded_bytes", "gauge", "What the last update downloaded.",
               last ? last->bytes_downloaded : 0);
    put_number(stream, "update_table_skipped", "gauge",
               "1 where the release's table of chunks was not used, so that more is downloaded.",
               snapshot->table_skipped != NULL);
    put_number(stream, "update_pack_skipped", "gauge",
               "1 where what the release's pack has for releases at hand was not used.",
               snapshot->pack_skipped != NULL);
    put_number(stream, "update_waiting", "gauge",
               "1 while nothing of an update arrives and a request waits to be tried again.",
               snapshot->waiting != NULL);
    put_number(stream, "medium_stalled", "gauge", "1 while reading or writing a slot does not return.",
               snapshot->stall_why != NULL);
    fclose(stream);
    return text;
}

/* --- the sentence --- */

static const char *release_name(const struct record_release *release)
{
    if (!release)
        return "an update";
    return *release->version ? release->version : "a release without a version";
}

static void idle_sentence(char *ret_text, size_t size, const struct status_snapshot *snapshot)
{
    const char *result = snapshot->record->check_result;
    char time[TIMESTAMP_TEXT_SIZE] = "";

    if (snapshot->next_check_s)
        timestamp_format(time, snapshot->next_check_s);
    snprintf(ret_text, size, "%s%s%s%s%s",
             strcmp(result, "failed") == 0       ? "Idle; the last attempt failed"
             : strcmp(result, "up-to-date") == 0 ? "Up to date"
                                                 : "Idle",
             strcmp(result, "update") == 0 ? "; on offer: " : "",
             strcmp(result, "update") == 0 ? release_name(snapshot->update) : "",
             *time ? "; next check " : "", time);
}

static void install_sentence(char *ret_text, size_t size, const struct status_snapshot *snapshot)
{
    char done[16], total[16], rate[16];
    const struct status_progress *progress = &snapshot->progress;

    snprintf(ret_text, size, "Installing %.100s: %s, %.0f %%, %s of %s downloaded, %s/s",
             release_name(snapshot->update), snapshot->phase ? snapshot->phase : "preparing",
             progress->percent, text_format_bytes(done, sizeof(done), progress->bytes_downloaded),
             text_format_bytes(total, sizeof(total), progress->bytes_to_download),
             text_format_bytes(rate, sizeof(rate), progress->rate_bytes_per_s));
}

char *status_sentence(char *ret_text, size_t size, const struct status_snapshot *snapshot)
{
    const struct policy_verdict *blocked_by = snapshot->blocked_by;
    const char *why = blocked_by && blocked_by->count ? blocked_by->blocks[0].why : NULL;
    char text[512];

    switch (snapshot->state) {
    case UPDATE_STATE_IDLE:
        idle_sentence(text, sizeof(text), snapshot);
        break;
    case UPDATE_STATE_CHECKING:
        snprintf(text, sizeof(text), "Checking for an update");
        break;
    case UPDATE_STATE_HELD:
        snprintf(text, sizeof(text), "Held: %s", why ? why : "see blocked_by");
        break;
    case UPDATE_STATE_INSTALLING:
        install_sentence(text, sizeof(text), snapshot);
        break;
    case UPDATE_STATE_ACTIVATING:
        snprintf(text, sizeof(text), "Arming %.100s for the next boot", release_name(snapshot->update));
        break;
    case UPDATE_STATE_REBOOT_PENDING:
        snprintf(text, sizeof(text), "The next boot takes slot %s%s%s",
                 snapshot->boot_next == SLOT_NONE ? "?" : slot_name(snapshot->boot_next), why ? "; " : "",
                 why ? why : "");
        break;
    case UPDATE_STATE_TRIAL:
        snprintf(text, sizeof(text), "The running slot is on trial");
        break;
    case UPDATE_STATE_STOPPING:
        snprintf(text, sizeof(text), "Stopping");
        break;
    case UPDATE_STATE_COUNT:
        text[0] = 0;
        break;
    }
    if (snapshot->waiting)
        snprintf(text, sizeof(text), "Waiting: %.400s", snapshot->waiting->why);
    if (snapshot->stall_why)
        snprintf(text, sizeof(text), "Stalled: %.400s", snapshot->stall_why);
    record_copy_text(ret_text, size, text);
    return ret_text;
}
