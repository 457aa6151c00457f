/* SPDX-License-Identifier: MIT */
/*
 * URLs: which ones are allowed, where a reference in a manifest leads to (the part of RFC 3986 that published
 * files need, for http and https only), and how URLs are shown. A URL may hold secrets: a password before its
 * host, tokens in its query. So it is passed around as a `struct url`. url_shown() gives its text without
 * secrets, for messages, logs, records and outputs. url_text_to_send() gives it with secrets, only for
 * requests; tests/unit/test_includes.py names the few places that may call it. common/io/http.h fetches.
 * Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"

enum {
    URL_SIZE_MAX = 4096, /* bytes of a URL or reference */
};

/* An absolute http or https URL; constant. */
struct url;

/* NULL if `text` can be the URL of an image: absolute, http or https, with a host and a path, only of bytes
 * that a URL may contain. Else why not, as half a sentence that goes on after the URL. */
const char *url_check(const char *text);

/* Makes a URL of text that url_check() accepts. An error's message shows the text without secrets. */
bool url_new(const char *text, struct url **ret_url, struct error *error);

/* A copy, owned by the caller; NULL for NULL. */
struct url *url_copy(const struct url *url);

/* Frees; NULL is fine. Returns NULL. */
struct url *url_free(struct url *url);

/* The text that people may see: without user, password and query, which may hold tokens or signatures. Valid
 * as long as `url`. */
const char *url_shown(const struct url *url);

/* The text with its secrets, only for a request; see above. Valid as long as `url`. */
const char *url_text_to_send(const struct url *url);

/* Whether both are the same, to the byte and with their secrets. */
bool url_is_equal(const struct url *url, const struct url *other);

/* Whether it is https. */
bool url_is_secure(const struct url *url);

/* The SHA-256 of the whole URL with its secrets, to recognise it without storing it. */
void url_get_sha256(const struct url *url, uint8_t ret_digest[DIGEST_SHA256_SIZE]);

/* The URL with `suffix` appended to its path; the query stays, the fragment goes. Owned by the caller. */
struct url *url_append_to_path(const struct url *url, const char *suffix);

/* Resolves `reference` against `base`. The result has no fragment and no dot segments, and is owned by the
 * caller. A reference without a host and a query gets the base's query: tokens in Url= are for every file on
 * that server, and for no other server. Refused are other schemes, a step from https to http, an empty
 * reference, and bytes that no URL contains. */
bool url_refer(const struct url *base, const char *reference, struct url **ret_url, struct error *error);

/* The relative reference to a file `name` in the base's folder, whatever bytes the name contains; owned by
 * the caller. */
char *url_reference_of_name(const char *name);

/* The name of the file beside the one that refers to it: what url_reference_of_name() made the reference of.
 * NULL if it leads elsewhere, or to no file. Owned by the caller. */
char *url_name_of_reference(const char *reference);

/* `text` as url_shown() would show it; for text from a user or a server that may not be a URL at all. Owned
 * by the caller. */
char *url_for_display(const char *text);

/* NULL if `authority` begins with [USER[:PASSWORD]@]HOST[:PORT] as in a URL; else why not, as half a
 * sentence. */
const char *url_check_authority(const char *authority);
