/* SPDX-License-Identifier: MIT */
/*
 * What went wrong, for an operator to read and for the state machine to judge: a kind, an errno value where
 * there is one, and one sentence. Functions that may fail for reasons an operator reads about return bool and
 * take a `struct error *` last; leaf functions return 0 or -errno instead. An error is set once, where it is
 * first known, and prefixed on the way up. Outputs of a function that failed are untouched.
 * Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The kind is an input of the daemon's decisions: it says whether trying again can help. */
enum error_kind {
    ERROR_NONE,
    ERROR_NETWORK,   /* no answer, reset, stalled, name not found: time may mend it */
    ERROR_REMOTE,    /* the server answered, but not with what was asked for */
    ERROR_FORMAT,    /* what was read cannot be understood */
    ERROR_MISMATCH,  /* data that does not have the digest it should have */
    ERROR_REFUSED,   /* a rule of moonsinter forbids it: a slot in use, an image too large, a usage error */
    ERROR_SYSTEM,    /* the kernel, the medium or this machine's memory failed us */
    ERROR_CANCELLED, /* asked to stop */
};

struct error {
    enum error_kind kind;
    int code; /* errno value, or 0 */
    char message[512];
};

/* Whatever stands in a message, secrets of addresses do not: see text_hide_secrets(). */

/* Sets `error` (which may be NULL) and returns false, so that `return error_set(...)` reads well. */
bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like error_set() with ERROR_SYSTEM; appends ": " and the text of `code` (errno value, positive or
 * negative). */
bool error_set_errno(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message already there; returns false. */
bool error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The kind as the status object spells it: "network", "remote", ...; "none" for ERROR_NONE. */
const char *error_kind_name(enum error_kind kind);
