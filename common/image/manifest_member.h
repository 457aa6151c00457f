/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing single members of the manifest, with the error sentences for wrong ones. Only for
 * common/image/manifest*.c. `where` is "" or the object's name with a dot. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/base/json.h"

enum {
    MANIFEST_URL_MAX = 2048, /* bytes of a reference */
};

/* A whole number that must be there. */
bool manifest_need_number(struct json_object *object, const char *where, const char *name, uint64_t min,
                          uint64_t max, uint64_t *ret_value, struct error *error);

/* A string that must be there, valid as long as `object`. */
bool manifest_need_string(struct json_object *object, const char *where, const char *name,
                          const char **ret_text, struct error *error);

/* The member "sha256", which must be there. */
bool manifest_need_sha256(struct json_object *object, const char *where,
                          uint8_t ret_sha256[DIGEST_SHA256_SIZE], struct error *error);

/* The member "url", which must be there; a copy, owned by the caller. */
bool manifest_need_url(struct json_object *object, const char *where, char **ret_url, struct error *error);

/* Adds the member "sha256". */
void manifest_add_sha256(struct json_object *object, const uint8_t sha256[DIGEST_SHA256_SIZE]);
