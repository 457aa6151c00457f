/* SPDX-License-Identifier: MIT */
/*
 * What went wrong: a kind for the state machine to judge by, an errno value if there is one, and one sentence
 * for an operator to read. Functions that fail for reasons that an operator may read about return bool and
 * take a `struct error *` last, which may be NULL; leaf functions return 0 or -errno. An error is set once,
 * where it is first known, and prefixed on the way up. A function that fails leaves its outputs untouched.
 *
 * A message never has the secrets of an address in it: all functions here pass it to text_hide_secrets(). It
 * is cut off if it is too long. Never blocks; any thread, one error each.
 */
#pragma once

#include <stdbool.h>

/* By the kind the daemon decides whether trying again can help. */
enum error_kind {
    ERROR_NONE,
    ERROR_NETWORK,   /* no answer, reset, stalled, name not found: it may work later */
    ERROR_REMOTE,    /* the server answered, but not with what was asked for */
    ERROR_FORMAT,    /* what was read cannot be understood */
    ERROR_MISMATCH,  /* data does not have the digest that it should have */
    ERROR_REFUSED,   /* a rule of moonsinter forbids it: a slot in use, an image too large, a usage error */
    ERROR_SYSTEM,    /* the kernel, the medium or this machine's memory failed */
    ERROR_CANCELLED, /* it was asked to stop */
};

struct error {
    enum error_kind kind;
    int code; /* errno value, or 0 */
    char message[512];
};

/* Sets the error, with code 0. Returns false, so that a function can fail by `return error_set(...)`. */
bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets an ERROR_SYSTEM whose message ends in ": " and the text of `code`, an errno value, positive or
 * negative. Returns false. */
bool error_set_errno(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Hands on an error that was set before, where somebody wants one. Returns false. */
bool error_pass(struct error *error, const struct error *cause);

/* Puts the formatted text and ": " before the message. Returns false. */
bool error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The kind as docs/api.md spells it: "network", "remote", ...; "none" for ERROR_NONE. */
const char *error_kind_name(enum error_kind kind);
