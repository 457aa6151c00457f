/* SPDX-License-Identifier: MIT */
/*
 * --key and --require-signature, which several verbs take. Reads small local files.
 */
#pragma once

#include "common/sinter/trust.h"

#define TRUST_OPTIONS_HELP                                                                                   \
    "  --key FILE              trust this minisign .pub file, or all of a folder, and demand a\n"            \
    "                          signature; may stand several times\n"                                         \
    "  --require-signature     demand a signature by a key of /etc/moonsinter/keys.d, where no\n"            \
    "                          --key is given\n"

struct trust_options {
    struct trust_keys *keys; /* NULL = no --key so far */
    bool required;
};

/* --key, for a table of options: takes a file, or a folder of *.pub, into a struct trust_options. */
bool trust_options_take_key(const char *option, char *value, void *member, struct error *error);

/* To be called after the last option: what to ask of manifests. Fails if the keys of /etc/moonsinter/keys.d
 * are needed, but there are none or others than root may write one. */
bool trust_options_get(struct trust_options *options, struct trust *ret_trust, struct error *error);

/* Frees the keys. */
void trust_options_finish(struct trust_options *options);
