/* SPDX-License-Identifier: MIT */
#include "common/image/minisign.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "common/base/alloc.h"

enum {
    MINISIGN_HASH_SIZE = 64,      /* BLAKE2b-512 */
    MINISIGN_SIGNATURE_SIZE = 64, /* Ed25519 */
    /* Bytes that each kind of base64 line decodes to. */
    MINISIGN_KEY_BLOB_SIZE = 2 + MINISIGN_ID_SIZE + 32,
    MINISIGN_SIGNATURE_BLOB_SIZE = 2 + MINISIGN_ID_SIZE + MINISIGN_SIGNATURE_SIZE,
    /* Three algorithms, salt, two limits of the key derivation, number, seed and public key, checksum. */
    MINISIGN_SECRET_BLOB_SIZE = 3 * 2 + 32 + 2 * 8 + MINISIGN_ID_SIZE + 64 + 32,
    BASE64_DATA_MAX = 162, /* the first multiple of 3 that has room for each of these */
};

static const char untrusted_prefix[] = "untrusted comment: ";
static const char trusted_prefix[] = "trusted comment: ";

/* The rest of a file that is read line by line. */
struct lines {
    const char *text;
    size_t size;
};

/* Takes the next line, without its line feed; false if there is none or it is longer than `max` bytes. */
static bool take_line(struct lines *lines, size_t max, const char **ret_line, size_t *ret_size)
{
    const char *end = memchr(lines->text, '\n', lines->size < max ? lines->size : max);
    size_t whole = end ? (size_t)(end - lines->text) + 1 : lines->size, size = end ? whole - 1 : whole;

    if (whole == 0 || whole > max)
        return false;
    while (size > 0 && lines->text[size - 1] == '\r')
        size--;
    *ret_line = lines->text;
    *ret_size = size;
    lines->text += whole;
    lines->size -= whole;
    return true;
}

static bool take_comment(struct lines *lines, const char *prefix, size_t max, const char **ret_comment,
                         size_t *ret_size)
{
    const char *line;
    size_t size, length = strlen(prefix);

    if (!take_line(lines, max, &line, &size) || size < length || memcmp(line, prefix, length) != 0)
        return false;
    *ret_comment = line + length;
    *ret_size = size - length;
    return true;
}

static bool is_blank(const struct lines *lines)
{
    for (size_t i = 0; i < lines->size; i++)
        if (!strchr(" \t\r\n", lines->text[i]) || lines->text[i] == 0)
            return false;
    return true;
}

/* Takes a line of base64 that decodes to exactly `size` bytes, in the one canonical spelling: OpenSSL's
 * decoder alone would accept blanks and wrong padding, so what it made is encoded again and compared. */
static bool take_base64(struct lines *lines, uint8_t *ret_data, size_t size)
{
    unsigned char data[BASE64_DATA_MAX], text[BASE64_DATA_MAX / 3 * 4 + 1];
    size_t length = (size + 2) / 3 * 4, line_size;
    const char *line;

    assert(size <= BASE64_DATA_MAX);
    if (!take_line(lines, length + 2, &line, &line_size) || line_size != length)
        return false;
    bool ok = EVP_DecodeBlock(data, (const unsigned char *)line, (int)length) >= (int)size &&
              EVP_EncodeBlock(text, data, (int)size) == (int)length && memcmp(text, line, length) == 0;
    if (ok)
        memcpy(ret_data, data, size);
    OPENSSL_cleanse(data, sizeof(data)); /* it may be a secret key */
    OPENSSL_cleanse(text, sizeof(text));
    return ok;
}

bool minisign_parse_key(const char *text, size_t size, struct minisign_key *ret_key, struct error *error)
{
    struct lines lines = {text, size};
    uint8_t blob[MINISIGN_KEY_BLOB_SIZE];
    const char *comment;
    size_t comment_size;

    if (size > MINISIGN_KEY_SIZE_MAX ||
        !take_comment(&lines, untrusted_prefix, MINISIGN_COMMENT_LINE_MAX, &comment, &comment_size) ||
        !take_base64(&lines, blob, sizeof(blob)) || !is_blank(&lines) || memcmp(blob, "Ed", 2) != 0)
        return error_set(error, ERROR_FORMAT,
                         "it is no public key of minisign's; that is a line of comment and a line of 56 "
                         "letters that begins with RW");
    memcpy(ret_key->id, blob + 2, MINISIGN_ID_SIZE);
    memcpy(ret_key->bytes, blob + 2 + MINISIGN_ID_SIZE, sizeof(ret_key->bytes));
    return true;
}

static EVP_PKEY *new_private_key(const struct minisign_secret_key *key)
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, sizeof(key->seed));
}

/* An unencrypted key file has no checksum, but its public half can be computed from the secret one. */
static bool halves_fit(const struct minisign_secret_key *key)
{
    uint8_t bytes[sizeof(key->key.bytes)];
    size_t size = sizeof(bytes);
    EVP_PKEY *private_key = new_private_key(key);
    bool ok = private_key && EVP_PKEY_get_raw_public_key(private_key, bytes, &size) == 1 &&
              size == sizeof(bytes) && memcmp(bytes, key->key.bytes, sizeof(bytes)) == 0;

    EVP_PKEY_free(private_key);
    return ok;
}

static bool take_secret_blob(const uint8_t *blob, struct minisign_secret_key *key, struct error *error)
{
    const uint8_t *numbers = blob + (3 * 2 + 32 + 2 * 8);

    if (memcmp(blob, "Ed", 2) != 0)
        return error_set(error, ERROR_FORMAT, "it is no secret key of minisign's");
    if (memcmp(blob + 2, "\0\0", 2) != 0)
        return error_set(error, ERROR_REFUSED,
                         "the secret key has a password; sign with minisign -S, which asks for it, or use a "
                         "key made by minisign -G -W");
    memcpy(key->key.id, numbers, MINISIGN_ID_SIZE);
    memcpy(key->seed, numbers + MINISIGN_ID_SIZE, sizeof(key->seed));
    memcpy(key->key.bytes, numbers + MINISIGN_ID_SIZE + sizeof(key->seed), sizeof(key->key.bytes));
    if (!halves_fit(key))
        return error_set(error, ERROR_FORMAT, "the secret key is damaged: its two halves do not fit");
    return true;
}

bool minisign_parse_secret_key(const char *text, size_t size, struct minisign_secret_key *ret_key,
                               struct error *error)
{
    struct lines lines = {text, size};
    struct minisign_secret_key key;
    uint8_t blob[MINISIGN_SECRET_BLOB_SIZE];
    const char *comment;
    size_t comment_size;
    bool ok;

    if (size > MINISIGN_KEY_SIZE_MAX ||
        !take_comment(&lines, untrusted_prefix, MINISIGN_COMMENT_LINE_MAX, &comment, &comment_size) ||
        !take_base64(&lines, blob, sizeof(blob)) || !is_blank(&lines))
        ok = error_set(error, ERROR_FORMAT, "it is no secret key of minisign's");
    else
        ok = take_secret_blob(blob, &key, error);
    if (ok)
        *ret_key = key;
    OPENSSL_cleanse(blob, sizeof(blob));
    minisign_secret_key_finish(&key);
    return ok;
}

void minisign_secret_key_finish(struct minisign_secret_key *key)
{
    OPENSSL_cleanse(key, sizeof(*key));
}

static char *format_id(const uint8_t id[MINISIGN_ID_SIZE], char ret_text[MINISIGN_ID_TEXT_SIZE])
{
    uint64_t number = 0;

    for (size_t i = MINISIGN_ID_SIZE; i-- > 0;)
        number = number << 8 | id[i];
    snprintf(ret_text, MINISIGN_ID_TEXT_SIZE, "%" PRIX64, number);
    return ret_text;
}

char *minisign_key_id(const struct minisign_key *key, char ret_text[MINISIGN_ID_TEXT_SIZE])
{
    return format_id(key->id, ret_text);
}

static void hash(const void *data, size_t size, uint8_t ret_hash[MINISIGN_HASH_SIZE])
{
    unsigned length = 0;
    int ok = EVP_Digest(data, size, ret_hash, &length, EVP_blake2b512(), NULL);

    assert(ok == 1 && length == MINISIGN_HASH_SIZE);
}

/* Whether `key` made this signature of `data`. */
static bool is_signed_by(const struct minisign_key *key, const uint8_t signature[MINISIGN_SIGNATURE_SIZE],
                         const void *data, size_t size)
{
    EVP_PKEY *public_key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, sizeof(key->bytes));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    /* Only 1 means yes; 0 and negative values mean no. */
    bool ok = public_key && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1 &&
              EVP_DigestVerify(context, signature, MINISIGN_SIGNATURE_SIZE, data, size) == 1;

    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return ok;
}

/* What the second signature signs: the first one, and the trusted comment. */
static uint8_t *join_comment(const uint8_t signature[MINISIGN_SIGNATURE_SIZE], const char *comment,
                             size_t comment_size, size_t *ret_size)
{
    uint8_t *joined = alloc_zeroed(MINISIGN_SIGNATURE_SIZE + comment_size);

    memcpy(joined, signature, MINISIGN_SIGNATURE_SIZE);
    memcpy(joined + MINISIGN_SIGNATURE_SIZE, comment, comment_size);
    *ret_size = MINISIGN_SIGNATURE_SIZE + comment_size;
    return joined;
}

/* A .minisig file, taken apart; the comment lies in the file's text. */
struct signature_file {
    uint8_t id[MINISIGN_ID_SIZE];
    uint8_t signature[MINISIGN_SIGNATURE_SIZE];
    uint8_t comment_signature[MINISIGN_SIGNATURE_SIZE];
    const char *comment;
    size_t comment_size;
};

static bool parse_signature(const char *text, size_t size, struct signature_file *file, struct error *error)
{
    struct lines lines = {text, size};
    uint8_t blob[MINISIGN_SIGNATURE_BLOB_SIZE];
    const char *comment;
    size_t comment_size;

    if (size > MINISIGN_SIGNATURE_SIZE_MAX ||
        !take_comment(&lines, untrusted_prefix, MINISIGN_COMMENT_LINE_MAX, &comment, &comment_size) ||
        !take_base64(&lines, blob, sizeof(blob)) ||
        !take_comment(&lines, trusted_prefix, MINISIGN_TRUSTED_LINE_MAX, &file->comment,
                      &file->comment_size) ||
        memchr(file->comment, 0, file->comment_size) ||
        !take_base64(&lines, file->comment_signature, sizeof(file->comment_signature)) || !is_blank(&lines) ||
        (memcmp(blob, "Ed", 2) != 0 && memcmp(blob, "ED", 2) != 0))
        return error_set(error, ERROR_FORMAT, "it is no signature of minisign's");
    if (memcmp(blob, "Ed", 2) == 0)
        return error_set(error, ERROR_REFUSED,
                         "the signature has minisign's legacy form, which signs the file itself and not its "
                         "hash; sign with minisign 0.10 or later and without -l, or with -H before that");
    memcpy(file->id, blob + 2, MINISIGN_ID_SIZE);
    memcpy(file->signature, blob + 2 + MINISIGN_ID_SIZE, MINISIGN_SIGNATURE_SIZE);
    return true;
}

static bool comment_is_signed(const struct minisign_key *key, const struct signature_file *file)
{
    size_t size;
    CLEANUP_FREE uint8_t *joined = join_comment(file->signature, file->comment, file->comment_size, &size);

    return is_signed_by(key, file->comment_signature, joined, size);
}

bool minisign_verify(const struct minisign_key *keys, size_t key_count, const void *data, size_t size,
                     const char *signature, size_t signature_size, char **ret_comment, size_t *ret_key,
                     struct error *error)
{
    struct signature_file file;
    uint8_t digest[MINISIGN_HASH_SIZE];
    char id[MINISIGN_ID_TEXT_SIZE];
    bool known = false;

    if (!parse_signature(signature, signature_size, &file, error))
        return false;
    hash(data, size, digest);
    for (size_t i = 0; i < key_count; i++) {
        if (memcmp(keys[i].id, file.id, sizeof(file.id)) != 0)
            continue;
        known = true;
        if (!is_signed_by(&keys[i], file.signature, digest, sizeof(digest)))
            continue;
        if (!comment_is_signed(&keys[i], &file))
            return error_set(error, ERROR_MISMATCH,
                             "the trusted comment is not the one that was signed with key %s",
                             format_id(file.id, id));
        *ret_comment = alloc_printf("%.*s", (int)file.comment_size, file.comment);
        *ret_key = i;
        return true;
    }
    if (known)
        return error_set(error, ERROR_MISMATCH, "the signature by key %s is not one of these bytes",
                         format_id(file.id, id));
    return error_set(error, ERROR_REFUSED, "the signature is by key %s, which is not trusted here",
                     format_id(file.id, id));
}

static void sign(const struct minisign_secret_key *key, const void *data, size_t size,
                 uint8_t ret_signature[MINISIGN_SIGNATURE_SIZE])
{
    EVP_PKEY *private_key = new_private_key(key);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t length = MINISIGN_SIGNATURE_SIZE;
    bool ok = private_key && context && EVP_DigestSignInit(context, NULL, NULL, NULL, private_key) == 1 &&
              EVP_DigestSign(context, ret_signature, &length, data, size) == 1;

    assert(ok && length == MINISIGN_SIGNATURE_SIZE);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(private_key);
}

bool minisign_check_comment(const char *comment, struct error *error)
{
    /* minisign needs room for the line, its line feed, and a zero after it. */
    size_t max = MINISIGN_TRUSTED_LINE_MAX - strlen(trusted_prefix) - 2;

    if (strpbrk(comment, "\r\n") || strlen(comment) > max)
        return error_set(error, ERROR_REFUSED, "a trusted comment is one line of at most %zu bytes", max);
    return true;
}

char *minisign_sign(const struct minisign_secret_key *key, const void *data, size_t size, const char *comment)
{
    uint8_t digest[MINISIGN_HASH_SIZE], comment_signature[MINISIGN_SIGNATURE_SIZE];
    uint8_t blob[MINISIGN_SIGNATURE_BLOB_SIZE];
    uint8_t *signature = blob + 2 + MINISIGN_ID_SIZE;
    unsigned char blob_text[MINISIGN_SIGNATURE_BLOB_SIZE * 2], comment_text[MINISIGN_SIGNATURE_SIZE * 2];
    size_t joined_size;

    hash(data, size, digest);
    memcpy(blob, "ED", 2);
    memcpy(blob + 2, key->key.id, MINISIGN_ID_SIZE);
    sign(key, digest, sizeof(digest), signature);
    CLEANUP_FREE uint8_t *joined = join_comment(signature, comment, strlen(comment), &joined_size);
    sign(key, joined, joined_size, comment_signature);
    EVP_EncodeBlock(blob_text, blob, sizeof(blob));
    EVP_EncodeBlock(comment_text, comment_signature, sizeof(comment_signature));
    return alloc_printf("%ssignature made by moonsinter\n%s\n%s%s\n%s\n", untrusted_prefix, blob_text,
                        trusted_prefix, comment, comment_text);
}
