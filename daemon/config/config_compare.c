/* SPDX-License-Identifier: MIT */
/* What two sets of settings have in common, for a reload: see daemon/config/config.h. */
#include "daemon/config/config_private.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/url.h"
#include "common/sinter/trust.h"

/* A bundle of all public authorities has some 300 KB. */
enum { TLS_FILE_MAX = 4 * 1024 * 1024 };

/* Both NULL, or both the same. */
static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool are_same(char *const *a, char *const *b)
{
    while (*a && *b && strcmp(*a, *b) == 0)
        a++, b++;
    return !*a && !*b;
}

/* A file that cannot be read counts as empty: curl reports it later, with the reason. */
static void add_file(struct digest_stream *stream, const char *root, const char *file)
{
    CLEANUP_FREE char *path = file ? alloc_printf("%s%s", root, file) : NULL;
    uint8_t digest[DIGEST_SHA256_SIZE] = {0};
    struct error error;
    char *text;
    size_t size;

    if (path && file_read(path, TLS_FILE_MAX, &text, &size, &error)) {
        digest_sha256(text, size, digest);
        /* A private key may stand in it. */
        explicit_bzero(text, size);
        free(text);
    }
    digest_stream_update(stream, digest, sizeof(digest));
}

void config_hash_tls_files(struct config *config, const char *root)
{
    struct digest_stream *stream = digest_stream_new(true, false);
    uint8_t digest[DIGEST_SHA256_SIZE];

    add_file(stream, root, config->ca_file);
    add_file(stream, root, config->client_certificate);
    add_file(stream, root, config->client_key);
    digest_stream_final(stream, digest, NULL);
    digest_stream_free(stream);
    digest_sha256_to_hex(digest, config->tls_files_sha256);
}

bool config_asks_alike(const struct config *a, const struct config *b)
{
    return url_is_equal(a->url, b->url) && is_same(a->proxy, b->proxy) && is_same(a->ca_file, b->ca_file) &&
           is_same(a->client_certificate, b->client_certificate) && is_same(a->client_key, b->client_key) &&
           is_same(a->pinned_public_key, b->pinned_public_key) &&
           are_same(a->header_lines, b->header_lines) &&
           strcmp(a->tls_files_sha256, b->tls_files_sha256) == 0 && config_trusts_alike(a, b);
}

bool config_trusts_alike(const struct config *a, const struct config *b)
{
    return trust_keys_equal(a->keys, b->keys) && is_same(a->keys_why, b->keys_why) &&
           a->require_signature == b->require_signature;
}

bool config_permits_alike(const struct config *a, const struct config *b)
{
    return a->mode == b->mode && is_same(a->compatible, b->compatible) &&
           a->allow_downgrade == b->allow_downgrade && a->max_bytes_per_update == b->max_bytes_per_update;
}
