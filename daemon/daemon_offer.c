/* SPDX-License-Identifier: MIT */
/* The part of the server's offer that is kept over a restart. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/sinter/release_parts.h"

const char *daemon_offer_name(const struct daemon *daemon)
{
    const struct record_release *offered = checker_offered(daemon->checker);

    return *offered->version ? offered->version : "without a version";
}

void daemon_offer_forget(struct daemon *daemon)
{
    checker_forget(daemon->checker);
    record_store_drop_manifest(daemon->record_store);
    memset(&daemon->record->manifest, 0, sizeof(daemon->record->manifest));
    /* The server that is asked from now on has not been asked yet. */
    daemon->record->check_result[0] = 0;
    daemon->record->check_time_s = 0;
}

/* Keeps a server's text only if it fits and is stored unchanged: anything that is not UTF-8 would make the
 * whole record unreadable at the next start. Without it the next answer is larger, nothing else. */
static void keep_text(char *kept, size_t size, const char *text)
{
    record_copy_text(kept, size, text);
    if (text && strcmp(kept, text) != 0)
        *kept = 0;
}

static void hash_url(const struct url *url, char ret_hex[DIGEST_SHA256_HEX_SIZE])
{
    uint8_t digest[DIGEST_SHA256_SIZE];

    url_get_sha256(url, digest);
    digest_sha256_to_hex(digest, ret_hex);
}

/* Of each image of each part. */
typedef bool (*each_part_fn)(struct daemon *daemon, struct release *set, uint32_t part, unsigned slot,
                             void *argument);

/* Calls `fn` for the images of all parts, until it returns false; returns whether it never did. */
static bool each_part(struct daemon *daemon, struct release *set, each_part_fn fn, void *argument)
{
    const struct manifest_parts *parts = &set->manifest->parts;

    for (uint32_t i = 0; i < parts->count; i++)
        for (unsigned slot = 0; slot < (parts->list[i].per_slot ? 2 : 1); slot++)
            if (!fn(daemon, set, i, slot, argument))
                return false;
    return true;
}

static enum manifest_part_slot slot_of(const struct manifest_part *part, unsigned slot)
{
    return !part->per_slot ? MANIFEST_PART_OF_BOTH : slot ? MANIFEST_PART_OF_B : MANIFEST_PART_OF_A;
}

static bool keep_part(struct daemon *daemon, struct release *set, uint32_t part, unsigned slot,
                      void *argument)
{
    const struct manifest_part *named = &set->manifest->parts.list[part];
    const struct release *release = set->parts[part][slot];
    struct kept_parts *kept = argument;
    struct kept_part *next = &kept->list[kept->count++];

    /* Borrowed: the store makes its own copy. */
    *next = (struct kept_part){
        .slot = slot_of(named, slot), .text = release->manifest_text, .size = release->manifest_size};
    memcpy(next->name, named->name, sizeof(next->name));
    return true;
}

static void keep_manifest(struct daemon *daemon, struct release *release)
{
    struct record_store_manifest manifest = {
        .text = release->manifest_text,
        .size = release->manifest_size,
        .signature = release->verdict.is_signed ? release->signature_text : NULL,
        .signature_size = release->signature_size,
    };

    each_part(daemon, release, keep_part, &manifest.parts);
    record_store_keep_manifest(daemon->record_store, &manifest);
}

void daemon_offer_keep(struct daemon *daemon)
{
    struct release *release = checker_release(daemon->checker);
    const struct record_release *offered = checker_offered(daemon->checker);
    struct record_manifest *kept = &daemon->record->manifest;

    hash_url(daemon->config->url, kept->url_sha256);
    keep_text(kept->etag, sizeof(kept->etag), release->etag);
    keep_text(kept->last_modified, sizeof(kept->last_modified), release->last_modified);
    if (strcmp(kept->sha256, offered->manifest_sha256) != 0) {
        memcpy(kept->sha256, offered->manifest_sha256, sizeof(kept->sha256));
        keep_manifest(daemon, release);
    }
}

static bool load_part(struct daemon *daemon, struct release *set, uint32_t part, unsigned slot,
                      void *argument)
{
    const struct manifest_part *named = &set->manifest->parts.list[part];
    struct error *error = argument;
    char *text;
    size_t size;

    if (!record_store_read_part(daemon->record_store, named->name, slot_of(named, slot), &text, &size, error))
        return false;
    if (release_add_part(set, part, slot, text, size, error))
        return true;
    free(text);
    return false;
}

/* Makes a release of the kept files, checked like one that was fetched; NULL with the reason. */
static struct release *load_kept(struct daemon *daemon, struct error *error)
{
    struct trust trust = daemon_trust(daemon);
    struct release *release = NULL;
    struct record_store_manifest kept;

    if (!record_store_read_manifest(daemon->record_store, trust_looks_at_signatures(&trust), &kept, error))
        return NULL;
    if (release_from_text(daemon->config->url, kept.text, kept.size, kept.signature, kept.signature_size,
                          &trust, &release, error)) {
        if (each_part(daemon, release, load_part, error) && release_check_sum(release, error))
            return release;
        return release_free(release);
    }
    free(kept.text);
    free(kept.signature);
    return NULL;
}

void daemon_offer_load(struct daemon *daemon)
{
    struct record_manifest *kept = &daemon->record->manifest;
    struct record_release offered;
    struct release *release;
    struct error error;
    char url_sha256[DIGEST_SHA256_HEX_SIZE];

    hash_url(daemon->config->url, url_sha256);
    if (strcmp(kept->url_sha256, url_sha256) != 0 || !record_store_has_manifest(daemon->record_store)) {
        memset(kept, 0, sizeof(*kept));
        return;
    }
    release = load_kept(daemon, &error);
    if (release) {
        record_release_from(&offered, release);
        if (strcmp(offered.manifest_sha256, kept->sha256) == 0) {
            release->etag = *kept->etag ? alloc_string(kept->etag) : NULL;
            release->last_modified = *kept->last_modified ? alloc_string(kept->last_modified) : NULL;
            checker_restore(daemon->checker, release);
            return;
        }
        /* The files do not belong to this record (power was cut between the two, say): the next check fetches
         * the manifest whole. */
        release_free(release);
    } else {
        log_warning("the manifest kept from before cannot be used and is fetched again: %s", error.message);
    }
    memset(kept, 0, sizeof(*kept));
}
