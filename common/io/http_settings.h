/* SPDX-License-Identifier: MIT */
/*
 * Checks the strings in struct http_settings: header lines, the file they may stand in, pinned keys. Does not
 * use curl, so settings can also be judged where no request is made. Reading a file may block on the medium;
 * the rest is pure.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

enum {
    HTTP_SETTINGS_HEADERS_MAX = 16,            /* lines in all, from files and arguments */
    HTTP_SETTINGS_HEADER_SIZE_MAX = 4096,      /* bytes of one; servers commonly take 8 KB for all */
    HTTP_SETTINGS_HEADER_FILE_MAX = 16 * 1024, /* bytes */
    HTTP_SETTINGS_PINS_MAX = 8,                /* keys */
};

/* Whether `line` can be sent as a header: "Name: value", one line, and none that moonsinter sends itself or
 * that decides which bytes come back. Returns NULL, or else why not, as half a sentence that goes on after
 * the header's name and does not repeat its value. */
const char *http_settings_check_header(const char *line);

/* Adds a header to `lines`, which is NULL-terminated and has room for HTTP_SETTINGS_HEADERS_MAX and the NULL.
 * `text` is the header, or "@" and the path of a file with headers, which only its owner may be able to read
 * (file_read_secret()). Blank lines in the file and lines that begin with # are ignored. `root` is put before
 * the path; "" except in tests. No error repeats a header's value; on failure nothing is added. */
bool http_settings_add_headers(char **lines, const char *root, const char *text, struct error *error);

/* Frees the lines and empties the list. */
void http_settings_clear_headers(char **lines);

/* A copy of `argument`, an element of argv that holds a URL; owned by the caller. The element itself, which
 * every user can read in the list of processes, is overwritten with what url_for_display() shows. */
char *http_settings_take_url_argument(char *argument);

/* A copy of an element of argv that holds a header; owned by the caller. In the element itself only the
 * header's name stays, or all of it if it names a file. */
char *http_settings_take_header_argument(char *argument);

/* Whether `text` names public keys in curl's form: "sha256//" and the SHA-256 of the key (its
 * SubjectPublicKeyInfo, DER) in base64, or several of them with ; between. Returns NULL, or else why not, as
 * half a sentence that goes on after the text. */
const char *http_settings_check_pins(const char *text);
