/* SPDX-License-Identifier: MIT */
#include "common/base/digest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <xxhash.h>

#include "common/base/alloc.h"

uint32_t digest_xxh32(const void *data, size_t size)
{
    return XXH32(data, size, 0);
}

uint64_t digest_xxh3(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

void digest_sha256(const void *data, size_t size, uint8_t ret_digest[DIGEST_SHA256_SIZE])
{
    unsigned length = 0;
    int ok = EVP_Digest(data, size, ret_digest, &length, EVP_sha256(), NULL);
    assert(ok == 1 && length == DIGEST_SHA256_SIZE);
}

void digest_sha256_to_hex(const uint8_t digest[DIGEST_SHA256_SIZE], char ret_hex[DIGEST_SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < DIGEST_SHA256_SIZE; i++) {
        ret_hex[2 * i] = digits[digest[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_hex[DIGEST_SHA256_HEX_SIZE - 1] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int digest_sha256_from_hex(const char *hex, uint8_t ret_digest[DIGEST_SHA256_SIZE])
{
    uint8_t digest[DIGEST_SHA256_SIZE];

    if (strnlen(hex, DIGEST_SHA256_HEX_SIZE) != DIGEST_SHA256_HEX_SIZE - 1)
        return -EINVAL;
    for (size_t i = 0; i < DIGEST_SHA256_SIZE; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_digest, digest, sizeof(digest));
    return 0;
}

struct digest_stream {
    EVP_MD_CTX *sha256;   /* NULL = not asked for */
    XXH32_state_t *xxh32; /* NULL = not asked for */
};

struct digest_stream *digest_stream_new(bool with_sha256, bool with_xxh32)
{
    struct digest_stream *stream = alloc_zeroed(sizeof(*stream));

    if (with_sha256) {
        stream->sha256 = EVP_MD_CTX_new();
        int ok = stream->sha256 && EVP_DigestInit_ex(stream->sha256, EVP_sha256(), NULL);
        assert(ok);
    }
    if (with_xxh32) {
        stream->xxh32 = XXH32_createState();
        assert(stream->xxh32);
        XXH32_reset(stream->xxh32, 0);
    }
    return stream;
}

struct digest_stream *digest_stream_free(struct digest_stream *stream)
{
    if (!stream)
        return NULL;
    EVP_MD_CTX_free(stream->sha256);
    XXH32_freeState(stream->xxh32);
    free(stream);
    return NULL;
}

void digest_stream_update(struct digest_stream *stream, const void *data, size_t size)
{
    if (stream->sha256) {
        int ok = EVP_DigestUpdate(stream->sha256, data, size);
        assert(ok == 1);
    }
    if (stream->xxh32)
        XXH32_update(stream->xxh32, data, size);
}

void digest_stream_final(struct digest_stream *stream, uint8_t *ret_sha256, uint32_t *ret_xxh32)
{
    assert(!ret_sha256 == !stream->sha256 && !ret_xxh32 == !stream->xxh32);
    if (ret_sha256) {
        int ok = EVP_DigestFinal_ex(stream->sha256, ret_sha256, NULL);
        assert(ok == 1);
    }
    if (ret_xxh32)
        *ret_xxh32 = XXH32_digest(stream->xxh32);
}
