/* SPDX-License-Identifier: MIT */
/*
 * Manifests as texts that are accepted or refused, for tests of the parsers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/image/manifest.h"

#define ZEROS64 "0000000000000000000000000000000000000000000000000000000000000000"
#define SHA64   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The value of "moonsinter" with `members` after the required ones. */
#define OURS(members) "{\"format\":1,\"sha256\":\"" ZEROS64 "\"," members "}"

/* The value of "moonsinter" whose member "chunks" has `members`. */
#define CHUNKS(members) OURS("\"chunks\":{" members "}")

/* Parses a copy without a zero byte after it, so that a sanitizer finds a read past the end. */
bool manifest_text_parse(const char *text, size_t size, struct manifest **ret_manifest, struct error *error);

/* Parses a manifest, which must succeed. The caller frees it. */
struct manifest *manifest_text_must_parse(const char *text);

/* Fails unless the text is refused with an error that contains `words`. */
void assert_manifest_refused(const char *text, const char *words);

/* The manifest of an image of 10 bytes whose "moonsinter" has `members`; the caller frees the text. */
char *manifest_text_ours(const char *members);

/* Fails unless manifest_text_ours() is refused with an error that contains `words`. */
void assert_ours_refused(const char *members, const char *words);
