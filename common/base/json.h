/* SPDX-License-Identifier: MIT */
/*
 * JSON by json-c, with the bounds and the strictness that hostile input needs. The only includer of json-c;
 * others include this header and use json-c's own builders (json_object_new_..., json_object_object_add) for
 * output. Never blocks, but parsing takes time in proportion to the input: large input belongs on a pool
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "common/base/error.h"

/* Drops the reference it stands on when the variable goes out of scope. */
#define CLEANUP_JSON __attribute__((cleanup(json_put_pointer)))

/* For CLEANUP_JSON only. */
void json_put_pointer(struct json_object **object);

enum {
    /* Values of all kinds in one text. Each costs json-c up to some 400 bytes, so that a few megabytes of
     * "[],[],..." would cost a small device all its memory. */
    JSON_VALUES_MAX = 16384,
};

/* Parses exactly one JSON object of `size` bytes (which need not be zero-terminated): nesting at most 16
 * deep, at most JSON_VALUES_MAX values, no two members of one object with the same name (two readers could
 * each believe another), nothing but blanks after it. A zero byte in a name reads as U+FFFD. The caller puts
 * *ret_object. `what` names the input in the error ("the manifest", "the state file"). */
bool json_parse_object(const char *text, size_t size, const char *what, struct json_object **ret_object,
                       struct error *error);

/* How a member was found. */
enum json_member {
    JSON_MEMBER_ABSENT, /* not there, or null */
    JSON_MEMBER_BAD,    /* there, but of another type or out of range */
    JSON_MEMBER_OK,
};

/* An integer of 0 to `max`; a fraction, a negative or a larger number is JSON_MEMBER_BAD. */
enum json_member json_get_u64(struct json_object *object, const char *name, uint64_t max,
                              uint64_t *ret_value);

/* A string without embedded zero bytes, valid as long as `object`. */
enum json_member json_get_string(struct json_object *object, const char *name, const char **ret_value);

/* A boolean. */
enum json_member json_get_bool(struct json_object *object, const char *name, bool *ret_value);

/* An object, valid as long as its parent. */
enum json_member json_get_object(struct json_object *object, const char *name,
                                 struct json_object **ret_value);

/* An array, valid as long as its parent. */
enum json_member json_get_array(struct json_object *object, const char *name, struct json_object **ret_value);

/* Adds a string member, or null for NULL; bytes that are no UTF-8 become question marks. */
void json_add_string(struct json_object *object, const char *name, const char *value);

/* Adds an unsigned integer member. */
void json_add_u64(struct json_object *object, const char *name, uint64_t value);
