/* SPDX-License-Identifier: MIT */
/*
 * The digests of the manifest: XXH32 (the ancestor's), XXH3-64 (by which chunks are found) and SHA-256 (by
 * which they are proved). The only user of xxHash. If a library has no memory, the program aborts. Never
 * blocks; any thread, but each stream belongs to one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DIGEST_SHA256_SIZE = 32,     /* bytes */
    DIGEST_SHA256_HEX_SIZE = 65, /* lower-case hex with its terminating zero */
};

/* XXH32 with seed 0 of `size` bytes. */
uint32_t digest_xxh32(const void *data, size_t size);

/* XXH3-64 without seed and secret (XXH3_64bits) of `size` bytes. */
uint64_t digest_xxh3(const void *data, size_t size);

/* SHA-256 of `size` bytes into `ret_digest`. */
void digest_sha256(const void *data, size_t size, uint8_t ret_digest[DIGEST_SHA256_SIZE]);

/* Writes a SHA-256 as lower-case hex with a terminating zero. */
void digest_sha256_to_hex(const uint8_t digest[DIGEST_SHA256_SIZE], char ret_hex[DIGEST_SHA256_HEX_SIZE]);

/* Reads a SHA-256 of exactly 64 hex digits (either case); returns 0 or -EINVAL. */
int digest_sha256_from_hex(const char *hex, uint8_t ret_digest[DIGEST_SHA256_SIZE]);

/* Computes the digests of bytes that come in pieces. */
struct digest_stream;

/* Begins a SHA-256, an XXH32, or both; freed by digest_stream_free(). */
struct digest_stream *digest_stream_new(bool with_sha256, bool with_xxh32);

/* Frees the stream; NULL is fine. Returns NULL. */
struct digest_stream *digest_stream_free(struct digest_stream *stream);

/* Takes the next `size` bytes. */
void digest_stream_update(struct digest_stream *stream, const void *data, size_t size);

/* Gives the digests of all bytes; only digest_stream_free() may follow. An output that was not asked for when
 * the stream was made must be NULL, and any other must not. */
void digest_stream_final(struct digest_stream *stream, uint8_t *ret_sha256, uint32_t *ret_xxh32);
