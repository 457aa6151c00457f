/* SPDX-License-Identifier: MIT */
/*
 * Signatures and keys in minisign's format: Ed25519 over the BLAKE2b-512 of a file's exact bytes, and a
 * second signature over the first one and a trusted comment. Files written by minisign itself can be read
 * here, and the other way round; its legacy form, which signs the file itself, is refused. All input is
 * treated as hostile: parsing is bounded and strict, and allocates nothing by numbers in the input. The only
 * user of libcrypto besides common/base/digest.h. Pure; never blocks, but hashing megabytes takes
 * milliseconds. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
    /* Bytes of a line that minisign 0.11 reads, its line feed included: COMMENTMAXBYTES and
       TRUSTEDCOMMENTMAXBYTES of its source. */
    MINISIGN_COMMENT_LINE_MAX = 1024,
    MINISIGN_TRUSTED_LINE_MAX = 8192,
    /* Bytes of a signature file: both comments, and two lines of base64. */
    MINISIGN_SIGNATURE_SIZE_MAX = 10 * 1024,
    /* Bytes of a key file, public or secret. */
    MINISIGN_KEY_SIZE_MAX = 2 * 1024,
    MINISIGN_ID_SIZE = 8,       /* bytes of a key's number */
    MINISIGN_ID_TEXT_SIZE = 17, /* in hex as minisign shows it, with its terminating zero */
};

/* What a .pub file holds. */
struct minisign_key {
    uint8_t id[MINISIGN_ID_SIZE];
    uint8_t bytes[32];
};

/* What an unencrypted .key file holds. The owner wipes it with minisign_secret_key_finish(). */
struct minisign_secret_key {
    struct minisign_key key;
    uint8_t seed[32];
};

/* Reads the `size` bytes of a .pub file. */
bool minisign_parse_key(const char *text, size_t size, struct minisign_key *ret_key, struct error *error);

/* Reads the `size` bytes of a .key file. One with a password is refused: only minisign itself asks for it. */
bool minisign_parse_secret_key(const char *text, size_t size, struct minisign_secret_key *ret_key,
                               struct error *error);

/* Overwrites the key in memory. */
void minisign_secret_key_finish(struct minisign_secret_key *key);

/* The key's number as minisign shows it. */
char *minisign_key_id(const struct minisign_key *key, char ret_text[MINISIGN_ID_TEXT_SIZE]);

/* Whether the `signature_size` bytes of a .minisig file sign `data` and their own trusted comment with one of
 * `keys`. On success *ret_comment is that comment (owned by the caller; any bytes but zeroes and line feeds,
 * so clean it before it is shown) and *ret_key the key's place in `keys`. The error's kind is FORMAT if it is
 * no .minisig file, REFUSED if none of `keys` made it or it has the legacy form, MISMATCH if it signs
 * something else. */
bool minisign_verify(const struct minisign_key *keys, size_t key_count, const void *data, size_t size,
                     const char *signature, size_t signature_size, char **ret_comment, size_t *ret_key,
                     struct error *error);

/* The text of a .minisig file, owned by the caller. `comment` is the trusted comment: one line that
 * minisign_check_comment() accepts. Reproducible: Ed25519 uses no random numbers. */
char *minisign_sign(const struct minisign_secret_key *key, const void *data, size_t size,
                    const char *comment);

/* Whether `comment` can be a trusted comment. */
bool minisign_check_comment(const char *comment, struct error *error);
