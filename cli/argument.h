/* SPDX-License-Identifier: MIT */
/*
 * Reads the arguments that several verbs share; each error is the sentence that the user gets. Pure, except
 * argument_check_access(). The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* CHUNK_SIZE: bytes with K, M or G, 1 to MANIFEST_CHUNK_SIZE_MAX. */
bool argument_parse_chunk_size(const char *text, uint32_t *ret_bytes, struct error *error);

/* --average: bytes with K, a power of two that chunker_init() takes. */
bool argument_parse_average(const char *text, uint32_t *ret_bytes, struct error *error);

/* A time, as "2026-01-31T12:00:00Z" or as "@" and Unix seconds. */
bool argument_parse_time(const char *option, const char *text, uint64_t *ret_seconds, struct error *error);

/* Text that a manifest may contain. */
bool argument_check_text(const char *option, const char *text, struct error *error);

/* For getopt_long() that returned '?' or ':' with opterr = 0 and a leading ':' in its short options: what is
 * wrong with the option before argv[optind]. Returns false. */
bool argument_set_option_error(int result, char **argv, struct error *error);

/* Whether a file may be read; if not, writes the ancestor's event as well. */
bool argument_check_access(const char *path, struct error *error);
