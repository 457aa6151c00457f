/* SPDX-License-Identifier: MIT */
/*
 * What the strings in struct http_settings may be: header lines, the file they may stand in, pinned keys.
 * Knows no curl, so that settings can be judged where no request is made. Reading a file may block on the
 * medium; the rest is pure.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

enum {
    HTTP_SETTINGS_HEADERS_MAX = 16,            /* lines, wherever they come from */
    HTTP_SETTINGS_HEADER_SIZE_MAX = 4096,      /* bytes of one; servers commonly take 8 KB for all */
    HTTP_SETTINGS_HEADER_FILE_MAX = 16 * 1024, /* bytes */
    HTTP_SETTINGS_PINS_MAX = 8,                /* keys */
};

/* Whether `line` can be sent as a header: "Name: value", one line, and none that moonsinter sends itself or
 * that decides which bytes come back. Returns NULL, or half a sentence that goes on after the header's name
 * and does not repeat its value. */
const char *http_settings_check_header(const char *line);

/* Adds to `lines`, which is NULL-terminated and has room for HTTP_SETTINGS_HEADERS_MAX and the NULL: the
 * header `text`, or where it begins with @ the lines of the file behind it, which must be its owner's alone
 * (file_read_secret()). Blank lines there, and those that begin with #, do not count. `root` is put before
 * the file's path; "" but in tests. No sentence repeats a header's value; on failure nothing is added. */
bool http_settings_add_headers(char **lines, const char *root, const char *text, struct error *error);

/* Frees the lines and empties the list. */
void http_settings_clear_headers(char **lines);

/* A copy of `argument`, an element of argv with a URL in it; the element itself, which every user may read in
 * the list of processes, keeps what url_for_display() shows. Owned by the caller. */
char *http_settings_take_url_argument(char *argument);

/* Likewise for one with a header, of which the name stays; all of it where it is the name of a file. */
char *http_settings_take_header_argument(char *argument);

/* Whether `text` names public keys in curl's form: "sha256//" and the SHA-256 of the key (its
 * SubjectPublicKeyInfo, DER) in base64, or several of them with ; between. Returns NULL, or half a sentence
 * that goes on after the text. */
const char *http_settings_check_pins(const char *text);
