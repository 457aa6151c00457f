/* SPDX-License-Identifier: MIT */
#include "common/sinter/trust.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/base/folder.h"
#include "common/base/text.h"
#include "common/base/utf8.h"

struct trust_keys {
    struct minisign_key keys[TRUST_KEYS_MAX];
    size_t count;
};

struct trust_keys *trust_keys_new(void)
{
    return alloc_zeroed(sizeof(struct trust_keys));
}

struct trust_keys *trust_keys_free(struct trust_keys *keys)
{
    free(keys);
    return NULL;
}

bool trust_keys_add_file(struct trust_keys *keys, const char *path, struct error *error)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    if (keys->count == TRUST_KEYS_MAX)
        return error_set(error, ERROR_REFUSED, "%s is one key too many; %d are allowed", path,
                         TRUST_KEYS_MAX);
    if (!file_read(path, MINISIGN_KEY_SIZE_MAX, &text, &size, error))
        return false;
    if (!minisign_parse_key(text, size, &keys->keys[keys->count], error))
        return error_prefix(error, "%s", path);
    keys->count++;
    return true;
}

bool trust_keys_add_folder(struct trust_keys *keys, const char *folder,
                           void (*ignored)(void *owner, const char *path), void *owner, struct error *error)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    bool ok = true;

    if (count < 0)
        return error_set_errno(error, errno, "cannot list %s", folder);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, name);
        if (text_has_suffix(name, ".pub"))
            ok = ok && trust_keys_add_file(keys, path, error);
        else if (ignored && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            ignored(owner, path);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static bool check_owner(const char *path, struct error *error)
{
    struct stat status;

    if (file_status(path, &status) < 0)
        return error_set_errno(error, errno, "%s cannot be looked at", path);
    return file_status_check_owner(path, &status, error);
}

bool trust_keys_check_owners(const char *folder, struct error *error)
{
    CLEANUP_FOLDER DIR *stream = opendir(folder);
    struct dirent *entry;

    if (!stream)
        return error_set_errno(error, errno, "cannot list %s", folder);
    bool safe = check_owner(folder, error);
    while (safe && (entry = readdir(stream))) {
        CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, entry->d_name);
        safe = !text_has_suffix(entry->d_name, ".pub") || check_owner(path, error);
    }
    return safe;
}

size_t trust_keys_count(const struct trust_keys *keys)
{
    return keys ? keys->count : 0;
}

char *trust_keys_list_ids(const struct trust_keys *keys, char *ret_text, size_t size)
{
    char id[MINISIGN_ID_TEXT_SIZE];
    size_t used = 0;

    *ret_text = 0;
    for (size_t i = 0; i < trust_keys_count(keys) && used < size; i++)
        used += (size_t)snprintf(ret_text + used, size - used, "%s%s", i ? ", " : "",
                                 minisign_key_id(&keys->keys[i], id));
    return ret_text;
}

bool trust_keys_equal(const struct trust_keys *keys, const struct trust_keys *other)
{
    size_t count = trust_keys_count(keys);

    return count == trust_keys_count(other) &&
           (count == 0 || memcmp(keys->keys, other->keys, count * sizeof(keys->keys[0])) == 0);
}

bool trust_looks_at_signatures(const struct trust *trust)
{
    return trust->demanded || trust_keys_count(trust->keys) > 0;
}

/* A signed comment may still contain bytes that must not reach a terminal: replaces them. */
static void make_printable(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    if (*text && !utf8_is_printable(text, MINISIGN_TRUSTED_LINE_MAX))
        for (char *c = text; *c; c++)
            if ((unsigned char)*c >= 0x80)
                *c = '?';
}

/* True if there is a good signature by one of the keys; else false with an error. */
static bool verify_signature(const struct trust *trust, const struct trust_input *input,
                             struct trust_verdict *verdict, struct error *error)
{
    size_t key;

    if (trust_keys_count(trust->keys) == 0)
        return error_set(error, ERROR_REFUSED,
                         "a signature is demanded and no key is trusted here; install the publisher's");
    if (!input->signature)
        return error_set(error, ERROR_REFUSED, "it is not signed%s%s", input->no_signature ? ": " : "",
                         input->no_signature ? input->no_signature : "");
    if (!minisign_verify(trust->keys->keys, trust->keys->count, input->manifest, input->manifest_size,
                         input->signature, input->signature_size, &verdict->comment, &key, error))
        return false;
    minisign_key_id(&trust->keys->keys[key], verdict->key_id);
    make_printable(verdict->comment);
    verdict->is_signed = true;
    return true;
}

/* A signature proves the image only if the manifest names the image's SHA-256 and its table's. */
static bool proves_all(const struct manifest *manifest, struct error *error)
{
    if (manifest->has_sha256 && manifest->chunks.present)
        return true;
    return error_set(
        error, ERROR_REFUSED,
        "it is signed, but without SHA-256 of the image and its chunks that proves nothing; generate it "
        "with moonsinter and sign it again");
}

/* Whether these are the bytes that the set names. */
static bool check_part(const struct manifest_part_file *part, const struct trust_input *input,
                       struct error *error)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];

    digest_sha256(input->manifest, input->manifest_size, sha256);
    return (input->manifest_size == part->size_bytes && memcmp(sha256, part->sha256, sizeof(sha256)) == 0) ||
           error_set(error, ERROR_MISMATCH, "it is not the manifest that the set names; %s",
                     TRUST_OTHER_PART);
}

/* What a manifest has to say that was found to be the part's. */
static bool check_part_says(const struct manifest *manifest, struct error *error)
{
    const char *why = manifest_check_part(manifest);

    return !why || error_set(error, ERROR_REFUSED, "as the manifest of a part it %s", why);
}

bool trust_parse_manifest(const struct trust *trust, const struct trust_input *input,
                          struct trust_verdict *ret_verdict, struct manifest **ret_manifest,
                          bool *ret_distrusted, struct error *error)
{
    struct trust_verdict verdict = {.sha256_only = trust->demanded || trust->part_sha256_only};
    struct manifest *manifest = NULL;
    struct error problem = {0};

    *ret_distrusted = trust->part && !check_part(trust->part, input, error);
    if (*ret_distrusted)
        return false;
    if (trust_looks_at_signatures(trust) && !verify_signature(trust, input, &verdict, &problem)) {
        if (trust->demanded) {
            *ret_distrusted = true;
            if (error)
                *error = problem;
            return false;
        }
        snprintf(verdict.why_not, sizeof(verdict.why_not), "%.250s", problem.message);
    }
    if (!manifest_parse(input->manifest, input->manifest_size, &manifest, error) ||
        (trust->demanded && !proves_all(manifest, error)) ||
        (trust->part && !check_part_says(manifest, error))) {
        manifest_free(manifest);
        free(verdict.comment);
        return false;
    }
    *ret_verdict = verdict;
    *ret_manifest = manifest;
    return true;
}
