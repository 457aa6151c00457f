/* SPDX-License-Identifier: MIT */
/*
 * Why curl gave up, in a sentence and an outcome: names that do not resolve, connections refused, stalls, TLS
 * that does not trust, redirects that are not followed. Part of common/io/http.c, which is its only caller;
 * with it the only user of curl. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include <curl/curl.h>

#include "common/base/error.h"
#include "common/io/http.h"

/* The URL as messages show it: the one that was reached last, without user and password, clipped, and where
 * it was led there from. Owned by the caller. */
char *http_fault_where(CURL *easy, const char *url);

/* Judges a transfer that failed with `code` before there was an answer to judge. `reason` is what curl's
 * error buffer says; `secure` means that some hop was encrypted. */
enum http_outcome http_fault_judge(CURL *easy, CURLcode code, const char *reason, const char *where,
                                   bool secure, struct error *error);
