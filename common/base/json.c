/* SPDX-License-Identifier: MIT */
#include "common/base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/utf8.h"

enum { JSON_DEPTH_MAX = 16 };

void json_put_pointer(struct json_object **object)
{
    json_object_put(*object);
}

/* What the text holds, counted before anything is built from it. */
struct json_census {
    size_t values;
    size_t members;
    bool has_single_quote; /* outside strings: json-c takes it for one around names, even when it is strict */
};

/* Counts the marks outside strings of which each value and each member of an object needs one. Exact for
 * JSON, and an upper bound on what a parser would build from anything else. */
static struct json_census json_take_census(const char *text, size_t size)
{
    struct json_census census = {0};
    bool in_string = false;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && c == '\'')
            census.has_single_quote = true;
        else if (!in_string && c == ':')
            census.members++;
        else if (!in_string && (c == '{' || c == '[' || c == ','))
            census.values++;
    }
    return census;
}

/* The members left in `value` and below it: of two with the same name json-c keeps the last. */
static size_t json_count_members(struct json_object *value)
{
    size_t members = 0;

    if (json_object_is_type(value, json_type_object)) {
        struct json_object_iter member;
        json_object_object_foreachC(value, member) members += 1 + json_count_members(member.val);
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            members += json_count_members(json_object_array_get_idx(value, i));
    }
    return members;
}

static bool json_is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!text[i] || !strchr(" \t\r\n", text[i]))
            return false;
    return true;
}

enum { NUL_ESCAPE_SIZE = 6 };

static bool is_nul_escape(const char *text, size_t left)
{
    return left >= NUL_ESCAPE_SIZE && memcmp(text, "\\u0000", NUL_ESCAPE_SIZE) == 0;
}

/* Where the string ends that begins behind text[start]: its closing quote, or `size`. *ret_has_nul: it has a
 * zero byte by an escape. */
static size_t json_find_string_end(const char *text, size_t size, size_t start, bool *ret_has_nul)
{
    size_t i = start + 1;

    *ret_has_nul = false;
    for (; i < size && text[i] != '"'; i++) {
        *ret_has_nul = *ret_has_nul || is_nul_escape(text + i, size - i);
        i += text[i] == '\\';
    }
    return i < size ? i : size;
}

/* json-c ends names at a zero byte, so that "file_size\u0000" would count as "file_size". Such names get
 * U+FFFD in that byte's place: they are others, and none of ours. */
static void json_rename_nuls(char *text, size_t size)
{
    bool has_nul;

    for (size_t i = 0, end; i < size; i = end + 1) {
        end = i;
        if (text[i] != '"')
            continue;
        end = json_find_string_end(text, size, i, &has_nul);
        size_t next = end < size ? end + 1 : size;
        while (has_nul && next < size && json_is_blank(text + next, 1))
            next++;
        if (!has_nul || next == size || text[next] != ':')
            continue;
        for (size_t at = i + 1; at < end; at += text[at] == '\\' ? 2 : 1)
            if (is_nul_escape(text + at, end - at))
                memcpy(text + at, "\\ufffd", NUL_ESCAPE_SIZE);
    }
}

enum {
    /* A code point past U+FFFF, of four bytes in UTF-8, is a pair of escapes. */
    ESCAPE_SIZE = 6,
    ESCAPES_SIZE_MAX = 2 * ESCAPE_SIZE,
    /* How many times the size a text in UTF-8 can have as ASCII: two bytes, or four, become six, or twelve.
     */
    PLAIN_GROWTH_MAX = 3,
};

/* Writes one character, which is not ASCII, as JSON's escapes; returns their size. */
static size_t json_write_escapes(int32_t point, char escapes[ESCAPES_SIZE_MAX + 1])
{
    if (point <= 0xffff)
        return (size_t)snprintf(escapes, ESCAPES_SIZE_MAX + 1, "\\u%04x", (unsigned)point);
    unsigned high = 0xd800 + ((unsigned)(point - 0x10000) >> 10);
    unsigned low = 0xdc00 + ((unsigned)(point - 0x10000) & 0x3ff);
    return (size_t)snprintf(escapes, ESCAPES_SIZE_MAX + 1, "\\u%04x\\u%04x", high, low);
}

/* Writes into `copy`, where it is given, what `text`, well-formed UTF-8, is in ASCII, at most `limit` bytes,
 * and their count into *ret_size. Returns how many bytes of `text` these are.
 *
 * json-c 0.18, where it is strict, takes each byte of a character that is not ASCII for a control character,
 * and refuses the text; escapes are the same to every version. What stands behind a backslash stays as it is:
 * it is no JSON, and an escape in its place would make JSON of it. */
static size_t json_write_ascii(const char *text, size_t size, size_t limit, char *copy, size_t *ret_size)
{
    size_t at = 0, written = 0;
    bool escaped = false;

    while (at < size) {
        char escapes[ESCAPES_SIZE_MAX + 1];
        const char *end = text + at, *ascii = text + at;
        int32_t point = utf8_take(&end);
        size_t taken = (size_t)(end - text) - at, ascii_size = taken;
        if (point >= 0x80 && !escaped) {
            ascii_size = json_write_escapes(point, escapes);
            ascii = escapes;
        }
        if (ascii_size > limit - written)
            break;
        if (copy)
            memcpy(copy + written, ascii, ascii_size);
        escaped = !escaped && point == '\\';
        at += taken;
        written += ascii_size;
    }
    *ret_size = written;
    return at;
}

/* The text as json-c is to read it: in ASCII, and without names that end at a zero byte. The caller's; NULL
 * where there is no memory for it. */
static char *json_make_plain(const char *text, size_t size, size_t *ret_size)
{
    json_write_ascii(text, size, SIZE_MAX, NULL, ret_size);
    char *plain = malloc(*ret_size ? *ret_size : 1);
    if (plain) {
        json_write_ascii(text, size, SIZE_MAX, plain, ret_size);
        json_rename_nuls(plain, *ret_size);
    }
    return plain;
}

/* What a text is instead, by how it begins; NULL where that says nothing. A parser would only tell of a byte.
 */
static const char *json_name_other(const char *text, size_t size)
{
    static const struct {
        const char *begin, *what;
    } others[] = {
        {"\xef\xbb\xbf", "it begins with a byte order mark; write it without, as plain UTF-8"},
        {"\xff\xfe", "it is UTF-16, and has to be UTF-8"},
        {"\xfe\xff", "it is UTF-16, and has to be UTF-8"},
        {"\x1f\x8b", "it is compressed by gzip; publish it as it is"},
        {"\x28\xb5\x2f\xfd", "it is compressed by zstd; publish it as it is"},
        {"\xfd"
         "7zXZ",
         "it is compressed by xz; publish it as it is"},
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (size >= strlen(others[i].begin) && memcmp(text, others[i].begin, strlen(others[i].begin)) == 0)
            return others[i].what;
    return NULL;
}

bool json_parse_object(const char *text, size_t size, const char *what, struct json_object **ret_object,
                       struct error *error)
{
    const char *other = json_name_other(text, size);

    if (size > INT32_MAX / PLAIN_GROWTH_MAX)
        return error_set(error, ERROR_FORMAT, "%s is too large to be JSON of ours", what);
    if (other)
        return error_set(error, ERROR_FORMAT, "%s is not JSON: %s", what, other);
    struct json_census census = json_take_census(text, size);
    if (census.has_single_quote)
        return error_set(error, ERROR_FORMAT, "%s is not JSON: it has a single quote outside strings", what);
    if (census.values > JSON_VALUES_MAX)
        return error_set(error, ERROR_FORMAT, "%s has more than the %d values allowed", what,
                         JSON_VALUES_MAX);

    size_t invalid = utf8_find_invalid(text, size);
    if (invalid < size)
        return error_set(error, ERROR_FORMAT, "%s is not JSON: invalid UTF-8 at byte %zu", what, invalid);

    size_t plain_size, consumed_size;
    CLEANUP_FREE char *plain = json_make_plain(text, size, &plain_size);
    struct json_tokener *tokener = plain ? json_tokener_new_ex(JSON_DEPTH_MAX) : NULL;
    if (!tokener)
        return error_set_errno(error, ENOMEM, "cannot parse %s", what);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *object = json_tokener_parse_ex(tokener, plain, (int)plain_size);
    enum json_tokener_error status = json_tokener_get_error(tokener);
    size_t end = json_write_ascii(text, size, json_tokener_get_parse_end(tokener), NULL, &consumed_size);
    json_tokener_free(tokener);

    if (status == json_tokener_continue)
        error_set(error, ERROR_FORMAT, "%s is not JSON: it ends in the middle", what);
    else if (status != json_tokener_success)
        error_set(error, ERROR_FORMAT, "%s is not JSON: %s at byte %zu", what,
                  json_tokener_error_desc(status), end);
    else if (!json_object_is_type(object, json_type_object))
        error_set(error, ERROR_FORMAT, "%s is JSON, but not an object", what);
    else if (!json_is_blank(text + end, size - end))
        error_set(error, ERROR_FORMAT, "%s has more bytes after its JSON object, at byte %zu", what, end);
    else if (json_count_members(object) != census.members)
        error_set(error, ERROR_FORMAT, "%s has two members with the same name", what);
    else {
        *ret_object = object;
        return true;
    }
    json_object_put(object);
    return false;
}

static enum json_member json_find(struct json_object *object, const char *name,
                                  struct json_object **ret_value)
{
    if (!json_object_object_get_ex(object, name, ret_value) || !*ret_value)
        return JSON_MEMBER_ABSENT;
    return JSON_MEMBER_OK;
}

enum json_member json_get_u64(struct json_object *object, const char *name, uint64_t max, uint64_t *ret_value)
{
    struct json_object *value;

    if (json_find(object, name, &value) == JSON_MEMBER_ABSENT)
        return JSON_MEMBER_ABSENT;
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
        return JSON_MEMBER_BAD;
    /* json-c saturates what does not fit, so the largest value itself is taken as too large. */
    uint64_t number = json_object_get_uint64(value);
    if (number > max || number == UINT64_MAX)
        return JSON_MEMBER_BAD;
    *ret_value = number;
    return JSON_MEMBER_OK;
}

enum json_member json_get_string(struct json_object *object, const char *name, const char **ret_value)
{
    struct json_object *value;

    if (json_find(object, name, &value) == JSON_MEMBER_ABSENT)
        return JSON_MEMBER_ABSENT;
    if (!json_object_is_type(value, json_type_string))
        return JSON_MEMBER_BAD;
    const char *text = json_object_get_string(value);
    if (strlen(text) != (size_t)json_object_get_string_len(value))
        return JSON_MEMBER_BAD;
    *ret_value = text;
    return JSON_MEMBER_OK;
}

enum json_member json_get_bool(struct json_object *object, const char *name, bool *ret_value)
{
    struct json_object *value;

    if (json_find(object, name, &value) == JSON_MEMBER_ABSENT)
        return JSON_MEMBER_ABSENT;
    if (!json_object_is_type(value, json_type_boolean))
        return JSON_MEMBER_BAD;
    *ret_value = json_object_get_boolean(value);
    return JSON_MEMBER_OK;
}

static enum json_member json_get_typed(struct json_object *object, const char *name, enum json_type type,
                                       struct json_object **ret_value)
{
    struct json_object *value;

    if (json_find(object, name, &value) == JSON_MEMBER_ABSENT)
        return JSON_MEMBER_ABSENT;
    if (!json_object_is_type(value, type))
        return JSON_MEMBER_BAD;
    *ret_value = value;
    return JSON_MEMBER_OK;
}

enum json_member json_get_object(struct json_object *object, const char *name, struct json_object **ret_value)
{
    return json_get_typed(object, name, json_type_object, ret_value);
}

enum json_member json_get_array(struct json_object *object, const char *name, struct json_object **ret_value)
{
    return json_get_typed(object, name, json_type_array, ret_value);
}

void json_add_string(struct json_object *object, const char *name, const char *value)
{
    CLEANUP_FREE char *text = value ? utf8_replace_invalid(value) : NULL;

    json_object_object_add(object, name, text ? json_object_new_string(text) : NULL);
}

void json_add_u64(struct json_object *object, const char *name, uint64_t value)
{
    json_object_object_add(object, name, json_object_new_uint64(value));
}
