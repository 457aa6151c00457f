/* SPDX-License-Identifier: MIT */
/*
 * Manifests as texts, accepted or refused, for the tests of what parses them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/image/manifest.h"

#define ZEROS64 "0000000000000000000000000000000000000000000000000000000000000000"
#define SHA64   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* "moonsinter" with `members` beside what must be there. */
#define OURS(members) "{\"format\":1,\"sha256\":\"" ZEROS64 "\"," members "}"

/* The same for a member `chunks` that has `members`. */
#define CHUNKS(members) OURS("\"chunks\":{" members "}")

/* Parses an exact copy, without a zero behind it, so that a sanitizer sees a read past the end. */
bool manifest_text_parse(const char *text, size_t size, struct manifest **ret_manifest, struct error *error);

/* The manifest is the caller's. */
struct manifest *manifest_text_must_parse(const char *text);

/* It is no manifest, and the sentence has `words` in it. */
void assert_manifest_refused(const char *text, const char *words);

/* A small image of ours (10 bytes), with `members` in "moonsinter"; the text is the caller's. */
char *manifest_text_ours(const char *members);

/* The same, refused. */
void assert_ours_refused(const char *members, const char *words);
