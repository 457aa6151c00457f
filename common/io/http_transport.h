/* SPDX-License-Identifier: MIT */
/*
 * How requests are made: the settings of one http with their defaults, and the options of curl that follow
 * from them. Part of common/io/http.c. Never blocks; the loop's thread only.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#include "common/base/error.h"
#include "common/io/http.h"
#include "common/io/rate_limit.h"

enum {
    HTTP_TRANSPORT_REDIRECTS_MAX = 5,
};

/* Sets an option of a CURL *. curl refuses only options it was built without, and http_new() has checked for
 * those. */
#define HTTP_TRANSPORT_SET(easy, option, value)                                                              \
    do {                                                                                                     \
        CURLcode set_code_ = curl_easy_setopt(easy, option, value);                                          \
        assert(set_code_ == CURLE_OK);                                                                       \
    } while (0)

struct http_transport {
    unsigned connections;
    struct rate_limit rate_limit; /* of all requests together */
    uint64_t pauses;              /* how many pauses the rate limit made so far */
    uint64_t stall_timeout_ms;
    char *proxy, *ca_file, *client_certificate, *client_key, *pinned_public_key;
    struct curl_slist *fields; /* the user's */
    char *fields_for;          /* the URL whose server gets `fields`; NULL = the server of each request */
    uint64_t received_bytes;   /* by all requests */
    uint64_t requests_made;    /* by all requests */
};

/* Copies the settings; false with an error if they contain what cannot be sent. Must be finished in either
 * case. */
bool http_transport_init(struct http_transport *transport, const struct http_settings *settings,
                         struct error *error);

void http_transport_finish(struct http_transport *transport);

/* Sets the options that all requests have in common; `secure`: the URL is https. */
void http_transport_apply(const struct http_transport *transport, CURL *easy, bool secure);

/* See http_deadline_ms(). */
uint64_t http_transport_deadline_ms(const struct http_transport *transport, uint64_t bytes);

/* Appends one "Name: value" line; aborts where there is no memory. */
void http_transport_append(struct curl_slist **lines, const char *line);

/* Whether both URLs have the same scheme, host and port. */
bool http_transport_is_same_origin(const char *url, const char *other);

/* Whether a text may go into a header: it must not contain the beginning of another line. */
bool http_transport_is_field_text(const char *text);
