/* SPDX-License-Identifier: MIT */
/*
 * Reads the arguments that several verbs share; each error is the sentence that the user gets. Pure, except
 * argument_check_access(). The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

/* Reads the value of an option into `member`; `option` is what was typed, such as "--average", for sentences.
 */
typedef bool (*argument_take_fn)(const char *option, char *value, void *member, struct error *error);

/* One option of a verb. A verb has a table of these, and the last row is all zero. --quiet may be written -q
 * as well; --help and -h need no row. */
struct argument_option {
    const char *name;
    argument_take_fn take; /* NULL: the option has no value, and sets a bool */
    size_t offset;         /* of the member that it is for, in the verb's structure */
};

/* Reads the options of the verb argv[0] into its structure `owner`; optind is then the first of the other
 * arguments. --help ends the reading, as nothing else matters then: it prints `help`, and returns false with
 * ERROR_NONE. */
bool argument_parse_options(const struct argument_option *options, const char *help, int argc, char **argv,
                            void *owner, struct error *error);

/* For a verb whose arguments could not be read, or which has printed its help: tells of the error, if there
 * is one. Returns the exit status. */
int argument_end(const char *verb, const struct error *error);

/* The value as it is, into a `const char *`. */
bool argument_take_text(const char *option, char *value, void *member, struct error *error);

/* Text that a manifest may contain, into a `char *`. */
bool argument_take_printable(const char *option, char *value, void *member, struct error *error);

/* A time, as "2026-01-31T12:00:00Z" or as "@" and Unix seconds, into a uint64_t of seconds. */
bool argument_take_time(const char *option, char *value, void *member, struct error *error);

/* A duration such as 30s, which is not zero, into a uint64_t of milliseconds. */
bool argument_take_duration(const char *option, char *value, void *member, struct error *error);

/* --average: bytes with K, a power of two that chunker_init() takes, into a uint32_t. */
bool argument_take_average(const char *option, char *value, void *member, struct error *error);

/* CHUNK_SIZE: bytes with K, M or G, 1 to MANIFEST_CHUNK_SIZE_MAX. */
bool argument_parse_chunk_size(const char *text, uint32_t *ret_bytes, struct error *error);

/* Whether a file may be read; if not, writes the ancestor's event as well. */
bool argument_check_access(const char *path, struct error *error);
