/* SPDX-License-Identifier: MIT */
/*
 * Addresses: what they may be, where a reference in a manifest leads to (the part of RFC 3986 that published
 * files need, on http and https only), and how they reach people. An address may hold secrets: a password
 * before its host, tokens in its query. So it is carried as a `struct url`, whose text for messages, logs,
 * records and outputs is url_shown(), without them. url_text_to_send() has them and is for requests alone;
 * tests/unit/test_includes.py names the few places that may call it. Fetching is common/io/http.h's. Pure;
 * any thread.
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

/* NULL where `text` is the URL of an image: absolute, http or https, with a host and a path, of bytes that a
 * URL may contain. Else why not, as half a sentence that goes on after the URL. */
const char *url_check(const char *text);

/* A URL that url_check() takes. The message of an error shows it without secrets. */
bool url_new(const char *text, struct url **ret_url, struct error *error);

/* Another one of its own; NULL of NULL. */
struct url *url_copy(const struct url *url);

/* NULL is fine. Returns NULL. */
struct url *url_free(struct url *url);

/* As people may see it: without user and password, and without its query, in which tokens and signatures
 * stand. As long as `url` lives. */
const char *url_shown(const struct url *url);

/* With its secrets, for a request; see above. As long as `url` lives. */
const char *url_text_to_send(const struct url *url);

/* Whether both are the same, to the byte and with their secrets. */
bool url_is_equal(const struct url *url, const struct url *other);

/* Whether it is https. */
bool url_is_secure(const struct url *url);

/* Of the whole of it, secrets included: to know it again without keeping it. */
void url_get_sha256(const struct url *url, uint8_t ret_digest[DIGEST_SHA256_SIZE]);

/* The file that lies beside the one at `url` and whose name has `suffix` after it: the query stays, the
 * fragment goes. Owned by the caller. */
struct url *url_append_to_path(const struct url *url, const char *suffix);

/* Resolves `reference` against `base`. The result has no fragment and no dot segments, and is owned by the
 * caller. A reference that names no host and has no query of its own gets the base's: the tokens that Url=
 * was given are for every file there, and for no other server. Refused are other schemes, going from https to
 * http, an empty reference, and bytes that no URL contains. */
bool url_refer(const struct url *base, const char *reference, struct url **ret_url, struct error *error);

/* The relative reference that leads to a file called `name` in the base's own folder, whatever bytes the name
 * contains; owned by the caller. */
char *url_reference_of_name(const char *name);

/* `text` as url_shown() would show it, for what came from a user or a server and need not be a URL at all;
 * owned by the caller. */
char *url_for_display(const char *text);

/* NULL where `authority` begins with [USER[:PASSWORD]@]HOST[:PORT] as a URL has it; else why not, as half a
 * sentence. */
const char *url_check_authority(const char *authority);
