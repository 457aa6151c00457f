/* SPDX-License-Identifier: MIT */
#include "cli/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/event_line.h"
#include "cli/output.h"
#include "cli/plain_text.h"
#include "cli/tell.h"
#include "common/base/alloc.h"
#include "common/base/text.h"

void report_init(struct report *report, bool quiet, bool json, bool is_set)
{
    *report = (struct report){.events = json || !isatty(STDOUT_FILENO), .is_set = is_set};
    report->people = !quiet && isatty(STDERR_FILENO);
    meter_init(&report->meter, "clone", quiet);
}

/* A sentence for people on stderr; dropped if stderr takes no more. */
__attribute__((format(printf, 2, 3))) static void report_note(struct report *report, const char *format, ...)
{
    char text[1024]; /* an error's sentence and a path before it */
    va_list args;

    if (!report->people)
        return;
    meter_clear(&report->meter);
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    CLEANUP_FREE char *plain = plain_text_new(text);
    CLEANUP_FREE char *line = alloc_printf("%s\n", plain);
    tell_now(STDERR_FILENO, line, strlen(line));
}

static void report_event(struct report *report, struct json_object *event)
{
    if (report->events)
        event_line_write(event);
    else
        json_object_put(event);
}

/* An event whose only member says something. */
static void report_text(struct report *report, const char *name, const char *value)
{
    struct json_object *event = event_line_new(name);

    json_add_string(event, "value", value);
    report_event(report, event);
}

void report_manifest_start(struct report *report)
{
    report_event(report, event_line_new("dl_manifest_start"));
}

/* Reports why and how long something is waited for. */
static void report_wait(struct report *report, struct json_object *event, const struct error *error,
                        uint64_t wait_ms)
{
    char wait[32];

    json_add_string(event, "value", error->message);
    json_add_u64(event, "retry_ms", wait_ms);
    report_event(report, event);
    report_note(report, "%s; trying again in %s", error->message,
                text_format_duration(wait, sizeof(wait), wait_ms));
}

void report_manifest_retry(struct report *report, const struct error *error, uint64_t wait_ms)
{
    report_wait(report, event_line_new("dl_manifest_retry"), error, wait_ms);
    report->earlier_retries++;
}

void report_manifest_failed(struct report *report, const struct error *error)
{
    report_text(report, "dl_manifest_failed", error->message);
}

void report_manifest_end(struct report *report, const struct release *release)
{
    struct json_object *event = event_line_new("dl_manifest_end");
    if (release->verdict.is_signed) {
        json_add_string(event, "key", release->verdict.key_id);
        json_add_string(event, "trusted_comment", release->verdict.comment);
        report_note(report, "signed by key %s: %s", release->verdict.key_id, release->verdict.comment);
    }
    report_event(report, event);
}

static void report_on_image(void *owner, const struct clone_set_image *image, struct clone *clone)
{
    struct report *report = owner;

    report->image = image;
    report->clone = clone;
    report->phase = CLONE_PHASE_PREPARING;
    if (!report->is_set)
        return;
    report_text(report, "part", image->name);
    report_note(report, "%s into %s", image->name, image->target_path);
}

static void report_on_phase(void *owner, enum clone_phase phase)
{
    struct report *report = owner;
    bool scanning = phase == CLONE_PHASE_SCANNING;

    report->phase = phase;
    report->meter.label = clone_phase_name(phase);
    if (scanning && report->image->seed_paths[0])
        report_event(report, event_line_new("seed_file_hash_start"));
    if (scanning || phase == CLONE_PHASE_VERIFYING)
        report_event(report, event_line_new("output_file_hash_start"));
}

/* `what` is in front of the sentence. */
static void report_plan(struct report *report, const char *name, const struct plan_totals *totals,
                        const char *what)
{
    struct json_object *event = event_line_new(name);
    char kept[16], copied[16], patched[16], fetched[16], sum[16];

    json_add_u64(event, "image_bytes", totals->image_bytes);
    json_add_u64(event, "bytes_kept", totals->bytes_kept);
    json_add_u64(event, "bytes_copied", totals->bytes_copied);
    json_add_u64(event, "bytes_patched", totals->bytes_patched);
    json_add_u64(event, "bytes_fetched", totals->bytes_fetched);
    json_add_u64(event, "chunk_bytes", totals->chunk_bytes);
    json_add_u64(event, "patch_bytes", totals->patch_bytes);
    json_add_u64(event, "gap_bytes", totals->gap_bytes);
    json_add_u64(event, "section_bytes", totals->section_bytes);
    json_add_u64(event, "table_bytes", totals->table_bytes);
    json_add_u64(event, "manifest_bytes", totals->manifest_bytes);
    json_add_u64(event, "download_bytes", plan_download_bytes(totals) + totals->manifest_bytes);
    json_add_u64(event, "chunks_kept", totals->chunks_kept);
    json_add_u64(event, "chunks_copied", totals->chunks_copied);
    json_add_u64(event, "chunks_patched", totals->chunks_patched);
    json_add_u64(event, "chunks_fetched", totals->chunks_fetched);
    json_add_u64(event, "requests", totals->requests);
    json_add_u64(event, "requests_before", totals->requests_before);
    json_add_u64(event, "cycles_broken", totals->cycles_broken);
    report_event(report, event);
    report_note(report, "%s%s kept, %s copied, %s patched, %s fetched: %s to download", what,
                text_format_bytes(kept, sizeof(kept), totals->bytes_kept),
                text_format_bytes(copied, sizeof(copied), totals->bytes_copied),
                text_format_bytes(patched, sizeof(patched), totals->bytes_patched),
                text_format_bytes(fetched, sizeof(fetched), totals->bytes_fetched),
                text_format_bytes(sum, sizeof(sum), plan_download_bytes(totals) + totals->manifest_bytes));
}

static void report_on_image_planned(void *owner, const struct plan *plan)
{
    struct report *report = owner;
    const struct plan_totals *totals = plan_totals(plan);
    struct json_object *event = event_line_new("total_chunks");

    json_add_u64(event, "value",
                 totals->chunks_kept + totals->chunks_copied + totals->chunks_patched +
                     totals->chunks_fetched);
    report_event(report, event);
    report_plan(report, "plan", totals, "");
}

static void report_on_planned(void *owner, const struct plan_totals *sum)
{
    struct report *report = owner;

    report->image_bytes = sum->image_bytes;
    report->planned_bytes = plan_download_bytes(sum) + sum->manifest_bytes;
    if (report->is_set)
        report_plan(report, "plan_sum", sum, "all images: ");
}

/* One event a chunk, as the ancestor does; there may be tens of thousands, so they are written in one go. */
static void report_on_chunks(void *owner, enum clone_fate fate, uint32_t first, uint32_t count,
                             uint64_t bytes)
{
    static const char *const names[] = {
        [CLONE_FATE_KEPT] = "skip_chunk",
        [CLONE_FATE_COPIED] = "cp_chunk",
        [CLONE_FATE_PATCHED] = "patch_chunk",
        [CLONE_FATE_FETCHED] = "dl_chunk",
    };
    struct report *report = owner;
    char line[96], size[32] = "";

    if (fate == CLONE_FATE_FETCHED)
        report->chunks_fetched += count;
    if (!report->events)
        return;
    for (uint32_t i = first + 1; i <= first + count; i++) {
        if (fate == CLONE_FATE_FETCHED)
            snprintf(size, sizeof(size), ",\"size\":%" PRIu32,
                     chunk_table_size(clone_table(report->clone), i - 1));
        int length = snprintf(line, sizeof(line), "{\"event\":\"%s\",\"value\":%" PRIu32 "%s}\n", names[fate],
                              i, size);
        output_add_line(line, (size_t)length);
    }
    output_flush();
}

static void report_on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    struct report *report = owner;
    struct json_object *event = event_line_new("dl_chunk_failed");

    json_add_u64(event, "index", (uint64_t)chunk + 1);
    report_wait(report, event, error, wait_ms);
}

/* The target's old content is a source, too, so the path may be the target's. */
static void report_on_seed_skipped(void *owner, const char *path, const struct error *error)
{
    struct report *report = owner;
    bool is_target = strcmp(path, report->image->target_path) == 0;
    struct json_object *event = event_line_new(is_target ? "output_file_hash_error" : "seed_file_hash_error");

    if (!is_target)
        json_add_string(event, "seed", path);
    json_add_string(event, "value", error->message);
    report_event(report, event);
    report_note(report, "%s %s: %s", is_target ? "output" : "seed", path, error->message);
}

static void report_on_pack_skipped(void *owner, const char *name, const struct error *error)
{
    struct report *report = owner;

    report_text(report, "pack_skipped", error->message);
    report_note(report, "%s; going on without the pack's patches", error->message);
}

static void report_on_table_skipped(void *owner, const char *name, const struct error *error)
{
    struct report *report = owner;

    report_text(report, "table_skipped", error->message);
    report_note(report, "%s; going on with fixed chunks", error->message);
}

static void report_hash(struct report *report, const char *name, const char *seed, uint32_t xxh32)
{
    const struct manifest *manifest = report->image->release->manifest;
    struct json_object *event;

    for (int i = 0; i < (xxh32 == manifest->file_hash ? 2 : 1); i++) {
        char full[48];
        snprintf(full, sizeof(full), "%s_file_hash_%s", name, i ? "match" : "end");
        event = event_line_new(full);
        if (seed)
            json_add_string(event, "seed", seed);
        json_add_u64(event, "local_hash", xxh32);
        json_add_u64(event, "remote_hash", manifest->file_hash);
        report_event(report, event);
    }
}

static void report_on_source_hashed(void *owner, const char *path, uint32_t xxh32)
{
    report_hash(owner, path ? "seed" : "output", path, xxh32);
}

static void report_on_read_back_cached(void *owner, const struct error *why)
{
    struct report *report = owner;

    report_text(report, "read_back_cached", why->message);
    report_note(report, "%s", why->message);
}

static void report_on_read_back(void *owner, uint32_t xxh32)
{
    struct report *report = owner;

    report_hash(report, "output", NULL, xxh32);
    if (xxh32 != report->image->release->manifest->file_hash) {
        struct json_object *event = event_line_new("output_file_hash_bad");
        json_add_u64(event, "value", xxh32);
        report_event(report, event);
    }
}

const struct clone_set_events report_clone_events = {
    .image = report_on_image,
    .phase = report_on_phase,
    .image_planned = report_on_image_planned,
    .planned = report_on_planned,
    .chunks = report_on_chunks,
    .retry = report_on_retry,
    .seed_skipped = report_on_seed_skipped,
    .pack_skipped = report_on_pack_skipped,
    .table_skipped = report_on_table_skipped,
    .source_hashed = report_on_source_hashed,
    .read_back_cached = report_on_read_back_cached,
    .read_back = report_on_read_back,
};

/* If anything is to be downloaded, that takes the longest, so its rate gives the time left. */
static void report_transfer(struct report *report, const struct clone_progress *progress)
{
    double share = clone_progress_transfer_share(progress);

    if (progress->bytes_received < progress->bytes_planned) {
        report->meter.label = "downloading";
        meter_show_share(&report->meter, share, progress->bytes_received, progress->bytes_planned);
    } else {
        report->meter.label = "copying";
        meter_show_share(&report->meter, share,
                         progress->bytes_kept + progress->bytes_copied + progress->bytes_patched +
                             progress->bytes_fetched,
                         progress->image_bytes);
    }
}

void report_progress(struct report *report)
{
    const struct clone_progress *progress = clone_progress(report->clone);

    switch (report->phase) {
    case CLONE_PHASE_SCANNING:
        meter_show(&report->meter, progress->scan_bytes, progress->scan_total);
        return;
    case CLONE_PHASE_TRANSFERRING:
        report_transfer(report, progress);
        return;
    case CLONE_PHASE_VERIFYING:
        meter_show(&report->meter, progress->bytes_verified, progress->image_bytes);
        return;
    case CLONE_PHASE_SYNCING:
    case CLONE_PHASE_CLOSING:
        meter_show(&report->meter, progress->image_bytes, progress->image_bytes);
        return;
    case CLONE_PHASE_PREPARING:
    case CLONE_PHASE_FINISHED:
        return;
    }
}

void report_clone_again(struct report *report, const struct error *error)
{
    report_text(report, "clone_again", error->message);
    report_note(report, "%s; looking at each chunk of the output once more", error->message);
}

void report_clone_end(struct report *report, struct clone_set *clone)
{
    const struct clone_progress *progress = clone_set_progress(clone);

    report->earlier_written += progress->bytes_written;
    report->earlier_retries += progress->retries;
}

void report_done(struct report *report, const struct http *http, bool plan_only)
{
    struct json_object *event = event_line_new("done");
    char downloaded[16], size[16];

    meter_clear(&report->meter);
    if (plan_only) {
        json_add_u64(event, "download_bytes", report->planned_bytes);
    } else {
        uint64_t total = http_received_bytes(http);
        json_add_u64(event, "total_bytes_downloaded", total);
        json_add_u64(event, "total_chunks_downloaded", report->chunks_fetched);
        json_add_u64(event, "total_bytes_written", report->earlier_written);
        json_add_u64(event, "requests", http_requests_made(http));
        json_add_u64(event, "retries", report->earlier_retries);
        report_note(report, "done: %s downloaded for %s of images",
                    text_format_bytes(downloaded, sizeof(downloaded), total),
                    text_format_bytes(size, sizeof(size), report->image_bytes));
    }
    report_event(report, event);
}

int report_failure(struct report *report, const char *verb, const struct error *error)
{
    meter_clear(&report->meter);
    return report->events ? event_line_write_failure(verb, error) : event_line_tell_failure(verb, error);
}
