/* SPDX-License-Identifier: MIT */
/*
 * Who may publish: the public keys that are trusted here, and the only place where a manifest is parsed,
 * after its bytes were judged by these keys. tests/unit/test_includes.py makes sure that nothing else parses
 * one. Pure, but it hashes the manifest, so it belongs on a pool thread; reading keys blocks on local files.
 * Any thread, nothing is changed once the keys are read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/image/minisign.h"

enum { TRUST_KEYS_MAX = 64 };

struct trust_keys;

/* A list without keys. */
struct trust_keys *trust_keys_new(void);

/* Frees; NULL is fine. Returns NULL. */
struct trust_keys *trust_keys_free(struct trust_keys *keys);

/* Adds the key of a .pub file. */
bool trust_keys_add_file(struct trust_keys *keys, const char *path, struct error *error);

/* Adds the keys of all *.pub in a folder, in the order of their names. A key that cannot be read is an error:
 * without it the wrong publisher might be trusted. `ignored` (may be NULL) is told of the other files. */
bool trust_keys_add_folder(struct trust_keys *keys, const char *folder,
                           void (*ignored)(void *owner, const char *path), void *owner, struct error *error);

/* Whether only root, or the user who runs this, may add a key to the folder or write one of its *.pub; if
 * not, *error names what others may write. */
bool trust_keys_check_owners(const char *folder, struct error *error);

/* The number of keys; 0 for NULL. */
size_t trust_keys_count(const struct trust_keys *keys);

/* The keys' numbers as minisign shows them, with ", " between them; cut to `size`. "" if there are none.
 * Returns ret_text. */
char *trust_keys_list_ids(const struct trust_keys *keys, char *ret_text, size_t size);

/* Whether both hold the same keys in the same order. */
bool trust_keys_equal(const struct trust_keys *keys, const struct trust_keys *other);

/* How a sentence goes on that says of a part's manifest that it is another one than the set's. */
#define TRUST_OTHER_PART "a publication may be under way, or a file of another release is left there"

/* What is asked of a manifest. All zero: nothing; the server is trusted. */
struct trust {
    const struct trust_keys *keys; /* the caller's; NULL = none */
    bool demanded;                 /* there must be a signature by one of the keys */
    /* The manifest is that of a part of a set, and has to have these bytes: the set's signature speaks for
     * it. The caller's; NULL = it is a release of its own. */
    const struct manifest_part_file *part;
    bool part_sha256_only; /* as it was found for the set, see struct trust_verdict */
};

/* Whether IMAGE.json.minisig is worth asking for. */
bool trust_looks_at_signatures(const struct trust *trust);

/* The files' exact bytes. */
struct trust_input {
    const char *manifest;
    size_t manifest_size;
    const char *signature; /* IMAGE.json.minisig; NULL where there is none */
    size_t signature_size;
    const char *no_signature; /* why there is no signature, half a sentence; may be NULL */
};

/* What was found out about the signature. */
struct trust_verdict {
    bool is_signed;                     /* by a trusted key, over exactly these bytes */
    char key_id[MINISIGN_ID_TEXT_SIZE]; /* of that key */
    char *comment;     /* the trusted comment, made printable; NULL if not signed. The owner frees it */
    char why_not[256]; /* if signatures were looked at and it is not signed: why, half a sentence. Else "" */
    /* A signature was demanded and is there: only what the manifest proves by SHA-256 may be written. */
    bool sha256_only;
};

/* Judges a manifest's bytes by their signature, then parses them. That of a part is judged by its SHA-256
 * instead
 * (*ret_distrusted is true where it is another one), has to name the SHA-256 of image and table, and has no
 * parts. If a signature is demanded, it fails unless there is a good one (with *ret_distrusted true and
 * REFUSED, MISMATCH or FORMAT as minisign_verify() sets it) and the manifest names the SHA-256 of the image
 * and of the table of chunks. If none is demanded, the verdict says whether there is a good one.
 * *ret_distrusted is always set, the other results on success only. */
bool trust_parse_manifest(const struct trust *trust, const struct trust_input *input,
                          struct trust_verdict *ret_verdict, struct manifest **ret_manifest,
                          bool *ret_distrusted, struct error *error);
