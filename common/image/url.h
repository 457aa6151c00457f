/*
 * Where a reference in a manifest leads to: the part of RFC 3986 that published files need, on http and https
 * only. Fetching is common/io/http.h's. Pure; any thread.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

enum {
    URL_SIZE_MAX = 4096, /* bytes of a URL or reference */
};

/* Whether `url` is an absolute http or https URL with a host, of bytes that a URL may contain. The sentences
 * of this module do not repeat the URL, which may hold a password. */
bool url_check(const char *url, struct error *error);

/* The URL of the file that lies beside the one at `url` and whose name has `suffix` after it: the query
 * stays, the fragment goes. Owned by the caller. */
char *url_append_to_path(const char *url, const char *suffix);

/* Resolves `reference` against `base`, an absolute http or https URL whose query and fragment do not count.
 * The result is absolute, has no fragment and no dot segments, and is owned by the caller. Refused are other
 * schemes, going from https to http, an empty reference, and bytes that no URL contains. */
bool url_resolve(const char *base, const char *reference, char **ret_url, struct error *error);

/* The relative reference that leads to a file called `name` in the base's own folder, whatever bytes the name
 * contains; owned by the caller. */
char *url_reference_of_name(const char *name);
