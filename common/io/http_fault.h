/* SPDX-License-Identifier: MIT */
/*
 * Turns curl's failures into a sentence and an outcome: names that do not resolve, refused connections,
 * stalls, TLS without trust, redirects that are not followed. Only for common/io/http*.c. Never blocks; the
 * loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include <curl/curl.h>

#include "common/base/error.h"
#include "common/io/http.h"

/* The URL for messages: the last one that was reached, without user and password, cut short, and which URL
 * redirected there. Owned by the caller. */
char *http_fault_where(CURL *easy, const char *url);

/* Judges a transfer that failed with `code` before there was an answer to judge. `reason` is the text of
 * curl's error buffer; `secure`: some hop was encrypted. */
enum http_outcome http_fault_judge(CURL *easy, CURLcode code, const char *reason, const char *where,
                                   bool secure, struct error *error);
