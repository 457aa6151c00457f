/* SPDX-License-Identifier: MIT */
/*
 * Who may publish: the public keys that are trusted here, and the one place where a manifest is parsed, after
 * its bytes have been judged by them. tests/unit/test_includes.py sees to it that nobody else parses one.
 * Pure, but it hashes the manifest, so it belongs on a pool thread; reading keys blocks on local files. Any
 * thread, nothing is changed once the keys are read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/image/minisign.h"

enum { TRUST_KEYS_MAX = 64 };

struct trust_keys;

/* None. */
struct trust_keys *trust_keys_new(void);

/* Frees; NULL is fine. Returns NULL. */
struct trust_keys *trust_keys_free(struct trust_keys *keys);

/* Adds the key of a .pub file. */
bool trust_keys_add_file(struct trust_keys *keys, const char *path, struct error *error);

/* Adds the keys of all *.pub in a folder, in the order of their names. One that cannot be read is an error:
 * to go on without it could mean to trust somebody else. `ignored` (may be NULL) is told of the other files.
 */
bool trust_keys_add_folder(struct trust_keys *keys, const char *folder,
                           void (*ignored)(void *owner, const char *path), void *owner, struct error *error);

/* Whether nobody but root, or who runs this, may put a key into the folder, or write one of its *.pub; else
 * false, and *error names what others may write. */
bool trust_keys_check_owners(const char *folder, struct error *error);

/* NULL counts as none. */
size_t trust_keys_count(const struct trust_keys *keys);

/* Their numbers as minisign shows them, with ", " between; cut where there is no room. "" for none. */
char *trust_keys_list_ids(const struct trust_keys *keys, char *ret_text, size_t size);

/* Whether both hold the same keys in the same order. */
bool trust_keys_equal(const struct trust_keys *keys, const struct trust_keys *other);

/* What is asked of a manifest. All zero: nothing, the server is trusted. */
struct trust {
    const struct trust_keys *keys; /* the caller's; NULL = none */
    bool demanded;                 /* a signature by one of them is a must */
};

/* Whether IMAGE.json.minisig is worth asking for. */
bool trust_looks_at_signatures(const struct trust *trust);

/* The bytes as they came. */
struct trust_input {
    const char *manifest;
    size_t manifest_size;
    const char *signature; /* IMAGE.json.minisig; NULL where there is none */
    size_t signature_size;
    const char *no_signature; /* why not, half a sentence; may be NULL */
};

/* What the signature was found to be. */
struct trust_verdict {
    bool is_signed;                     /* by a key of ours, over these very bytes */
    char key_id[MINISIGN_ID_TEXT_SIZE]; /* of that key */
    char *comment;     /* the trusted one, printable; NULL where not signed. The owner frees it */
    char why_not[256]; /* half a sentence where it is not signed and somebody looked; "" else */
    /* A signature was demanded and is there: nothing but what the manifest proves by SHA-256 may be written.
     */
    bool sha256_only;
};

/* The gate. Judges a manifest's bytes by their signature, and parses them where nothing speaks against it.
 * Where a signature is demanded, it fails unless there is a good one (REFUSED, MISMATCH or FORMAT as
 * minisign_verify() has it, *ret_distrusted set) and the manifest names SHA-256 of the image and of the table
 * of chunks. Where none is demanded, the verdict says what it is worth. *ret_distrusted is set in either
 * case, the others on success only. */
bool trust_parse_manifest(const struct trust *trust, const struct trust_input *input,
                          struct trust_verdict *ret_verdict, struct manifest **ret_manifest,
                          bool *ret_distrusted, struct error *error);
