/* SPDX-License-Identifier: MIT */
/*
 * The digests of the manifest: XXH32 (the ancestor's), XXH3-64 (finds chunks) and SHA-256 (proves them).
 * The only user of xxHash and of libcrypto's EVP in the engine. Never blocks; any thread, one context each.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    DIGEST_SHA256_SIZE = 32,     /* bytes */
    DIGEST_SHA256_HEX_SIZE = 65, /* lower-case hex with its terminating zero */
};

/* XXH32 with seed 0 of `size` bytes. */
uint32_t digest_xxh32(const void *data, size_t size);

/* XXH3-64 (XXH3_64bits, no seed, no secret) of `size` bytes. */
uint64_t digest_xxh3(const void *data, size_t size);

/* SHA-256 of `size` bytes into `ret_digest`. */
void digest_sha256(const void *data, size_t size, uint8_t ret_digest[DIGEST_SHA256_SIZE]);

/* Lower-case hex of a SHA-256, with terminating zero. */
void digest_sha256_to_hex(const uint8_t digest[DIGEST_SHA256_SIZE], char ret_hex[DIGEST_SHA256_HEX_SIZE]);

/* Reads exactly 64 hex digits (either case); returns 0 or -EINVAL, in which case ret_digest is untouched. */
int digest_sha256_from_hex(const char *hex, uint8_t ret_digest[DIGEST_SHA256_SIZE]);

/* SHA-256 and XXH32 of a stream, in pieces. */
struct digest_stream;

/* A stream that computes SHA-256 (with_sha256), XXH32 (with_xxh32) or both; freed with digest_stream_free().
 */
struct digest_stream *digest_stream_new(int with_sha256, int with_xxh32);

/* Frees the stream; NULL is fine. Returns NULL. */
struct digest_stream *digest_stream_free(struct digest_stream *stream);

/* Takes the next `size` bytes. */
void digest_stream_update(struct digest_stream *stream, const void *data, size_t size);

/* The digests of all bytes so far; ends the stream. An output not asked for at creation must be NULL. */
void digest_stream_final(struct digest_stream *stream, uint8_t *ret_sha256, uint32_t *ret_xxh32);
