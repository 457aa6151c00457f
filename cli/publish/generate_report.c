/* SPDX-License-Identifier: MIT */
#include "cli/publish/generate_report.h"

#include "cli/event_line.h"
#include "common/base/alloc.h"

static void write_done(const struct generate_settings *settings, const struct generate_result *result)
{
    struct json_object *event = event_line_new("done");
    char sha256[DIGEST_SHA256_HEX_SIZE];

    json_add_u64(event, "chunk_count", result->chunk_count);
    json_add_u64(event, "chunk_size", settings->chunk_size);
    json_add_u64(event, "file_hash", result->file_hash);
    json_add_u64(event, "file_size", result->file_size);
    digest_sha256_to_hex(result->sha256, sha256);
    json_add_string(event, "sha256", sha256);
    json_add_u64(event, "table_chunk_count", result->table_count);
    json_add_u64(event, "table_size", result->table_size_bytes);
    json_add_u64(event, "manifest_size", result->manifest_size_bytes);
    if (settings->sign_key) {
        char id[MINISIGN_ID_TEXT_SIZE];
        json_add_string(event, "key", minisign_key_id(&settings->sign_key->key, id));
    }
    if (result->pack_size_bytes > 0)
        json_add_u64(event, "pack_size", result->pack_size_bytes);
    if (settings->with_pack)
        json_add_u64(event, "frames_size", result->pack.frame_bytes);
    event_line_write(event);
}

/* Writes a line for a base: what a device that holds it would fetch. */
static void write_base(const char *path, const struct pack_base_result *result)
{
    struct json_object *event = event_line_new("base");

    json_add_string(event, "path", path);
    json_add_u64(event, "patches", result->patch_count);
    json_add_u64(event, "patches_size", result->patch_bytes);
    json_add_u64(event, "patched_bytes", result->covered_bytes);
    json_add_u64(event, "index_size", result->index_bytes);
    json_add_u64(event, "chunks_to_fetch_size", result->missing_bytes);
    event_line_write(event);
}

static void write_warning(const char *verb, const struct generate_warning *warning)
{
    struct json_object *event = event_line_new("warning");

    json_add_string(event, "what", warning->what);
    json_add_string(event, "message", warning->text);
    event_line_write(event);
    event_line_tell(verb, warning->text);
}

/* It is usual to sign afterwards, with a key that is kept elsewhere; if that is forgotten, no device can
 * update. */
static void tell_outdated_signature(const char *verb, const char *image_path)
{
    CLEANUP_FREE char *path = alloc_printf("%s.json.minisig", image_path);

    CLEANUP_FREE char *text = alloc_printf(
        "%s is of the former manifest, and devices that demand a signature refuse this one with it; sign before "
        "you publish: minisign -S -m %s.json, or generate with --sign",
        path, image_path);

    event_line_write_text("signature_outdated", path);
    event_line_tell(verb, text);
}

void generate_report_write(const char *verb, const struct generate_settings *settings,
                           const struct generate_result *result)
{
    for (uint32_t i = 0; i < settings->base_count; i++)
        write_base(settings->base_paths[i], &result->pack.bases[i]);
    for (uint32_t i = 0; i < result->warning_count; i++)
        write_warning(verb, &result->warnings[i]);
    if (result->signature_outdated)
        tell_outdated_signature(verb, settings->image_path);
    write_done(settings, result);
}
