/* SPDX-License-Identifier: MIT */
/*
 * Parses JSON by json-c, with the limits and the strictness that hostile input needs. The only includer of
 * json-c: others include this header, and make output with json-c's own functions (json_object_new_...,
 * json_object_object_add). Never blocks, but parsing takes time in proportion to the input, so large input is
 * for a pool thread. Any thread, but each object belongs to one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "common/base/error.h"

/* Put before a pointer variable: calls json_object_put() on it when the variable goes out of scope. */
#define CLEANUP_JSON __attribute__((cleanup(json_put_pointer)))

/* For CLEANUP_JSON only. */
void json_put_pointer(struct json_object **object);

enum {
    /* The most values, of any kind, in one text. Each takes json-c up to about 400 bytes, so a few megabytes
     * of "[],[],..." would take all the memory of a small device. */
    JSON_VALUES_MAX = 16384,
};

/* Parses `size` bytes, which need no zero byte after them, as exactly one JSON object: nested at most 16
 * deep, with at most JSON_VALUES_MAX values, and only blanks after it. No object may have two members with
 * the same name, as readers differ in which of them they take. A zero byte in a name becomes U+FFFD. `what`
 * is the input's name in the error, such as "the manifest". The caller frees *ret_object by
 * json_object_put(). */
bool json_parse_object(const char *text, size_t size, const char *what, struct json_object **ret_object,
                       struct error *error);

/* What became of reading a member of an object. Its value is set only with JSON_MEMBER_OK. */
enum json_member {
    JSON_MEMBER_ABSENT, /* not there, or null */
    JSON_MEMBER_BAD,    /* there, but of another type or out of range */
    JSON_MEMBER_OK,
};

/* Reads an integer from 0 to `max`; a fraction, a negative or a larger number is JSON_MEMBER_BAD. */
enum json_member json_get_u64(struct json_object *object, const char *name, uint64_t max,
                              uint64_t *ret_value);

/* Reads a string, which is valid as long as `object`; one with a zero byte in it is JSON_MEMBER_BAD. */
enum json_member json_get_string(struct json_object *object, const char *name, const char **ret_value);

/* For readers that ignore what they do not know: the object or the number that is there, or NULL or 0 where
 * the member is missing or something else, or `object` is NULL. */
struct json_object *json_inner(struct json_object *object, const char *name);
uint64_t json_number(struct json_object *object, const char *name);

/* Reads a boolean. */
enum json_member json_get_bool(struct json_object *object, const char *name, bool *ret_value);

/* Reads an object, which is valid as long as the outer one. */
enum json_member json_get_object(struct json_object *object, const char *name,
                                 struct json_object **ret_value);

/* Reads an array, which is valid as long as `object`. */
enum json_member json_get_array(struct json_object *object, const char *name, struct json_object **ret_value);

/* Adds a copy of a string, or null for NULL; bytes that are not UTF-8 become question marks. */
void json_add_string(struct json_object *object, const char *name, const char *value);

/* Adds an integer. */
void json_add_u64(struct json_object *object, const char *name, uint64_t value);

/* Adds true or false. */
void json_add_bool(struct json_object *object, const char *name, bool value);

/* The object as text of one line, valid until the object is changed or freed. */
const char *json_to_text(struct json_object *object);
