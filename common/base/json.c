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

/* What a text has in it, counted before anything is built from it. */
struct json_census {
    size_t values;
    size_t members;
    bool has_single_quote; /* outside strings: json-c accepts it around names, even if it is to be strict */
};

/* Counts values and members of objects by the punctuation outside strings that each needs. That is exact for
 * JSON; for any other text it is the most that a parser could build from it. */
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

/* Counts the members in `value` and below it. There are fewer than in the text if two had the same name, as
 * json-c keeps the last of them. */
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

/* Finds the closing quote of the string whose opening quote is text[start]; `size` if there is none.
 * *ret_has_nul tells whether the string has the escape of a zero byte. */
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

/* json-c ends a name at a zero byte, so that it would take "file_size\u0000" for "file_size". This puts
 * U+FFFD in place of the zero bytes in names, so that such a name is none that anybody asks for. */
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
    ESCAPE_SIZE = 6,                    /* "\u0000" */
    ESCAPES_SIZE_MAX = 2 * ESCAPE_SIZE, /* two escapes for a code point past U+FFFF */
    /* How many times longer a text gets at most: two bytes may become six, and four may become twelve. */
    PLAIN_GROWTH_MAX = 3,
};

/* Writes the escapes of one character with a zero byte after them; returns their size. */
static size_t json_write_escapes(int32_t point, char escapes[ESCAPES_SIZE_MAX + 1])
{
    if (point <= 0xffff)
        return (size_t)snprintf(escapes, ESCAPES_SIZE_MAX + 1, "\\u%04x", (unsigned)point);
    unsigned high = 0xd800 + ((unsigned)(point - 0x10000) >> 10);
    unsigned low = 0xdc00 + ((unsigned)(point - 0x10000) & 0x3ff);
    return (size_t)snprintf(escapes, ESCAPES_SIZE_MAX + 1, "\\u%04x\\u%04x", high, low);
}

/* Writes `text`, which is well-formed UTF-8, as ASCII into `copy` (NULL = only counts), with escapes for all
 * other characters. Stops before it would write more than `limit` bytes. *ret_size gets the bytes written;
 * returns how many bytes of `text` they stand for.
 *
 * Escapes are for json-c 0.18: if it is to be strict, it takes each byte of a character that is not ASCII for
 * a control character and refuses the text. A character after a backslash is left as it is: such a text is
 * not JSON, and with an escape in its place it could become JSON. */
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

/* The text as json-c gets it: in ASCII, and with no zero byte in any name. Owned by the caller; NULL if there
 * is no memory for it. */
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

/* Recognises by its first bytes what is often published in place of JSON, and says what to do; NULL for
 * anything else. The parser's own error would only name a byte. */
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

/* The text is checked first for what json-c would accept, or take too much memory for. json-c itself does not
 * report two members with the same name: afterwards it has fewer members than were counted in the text. */
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

static enum json_member json_find(struct json_object *object, const char *name, enum json_type type,
                                  struct json_object **ret_value)
{
    struct json_object *value;

    if (!json_object_object_get_ex(object, name, &value) || !value)
        return JSON_MEMBER_ABSENT;
    if (!json_object_is_type(value, type))
        return JSON_MEMBER_BAD;
    *ret_value = value;
    return JSON_MEMBER_OK;
}

enum json_member json_get_u64(struct json_object *object, const char *name, uint64_t max, uint64_t *ret_value)
{
    struct json_object *value = NULL;
    enum json_member found = json_find(object, name, json_type_int, &value);

    if (found != JSON_MEMBER_OK)
        return found;
    /* json-c turns a number that is too large into UINT64_MAX, so that value is refused as well. */
    uint64_t number = json_object_get_uint64(value);
    if (json_object_get_int64(value) < 0 || number > max || number == UINT64_MAX)
        return JSON_MEMBER_BAD;
    *ret_value = number;
    return JSON_MEMBER_OK;
}

enum json_member json_get_string(struct json_object *object, const char *name, const char **ret_value)
{
    struct json_object *value = NULL;
    enum json_member found = json_find(object, name, json_type_string, &value);

    if (found != JSON_MEMBER_OK)
        return found;
    const char *text = json_object_get_string(value);
    if (strlen(text) != (size_t)json_object_get_string_len(value))
        return JSON_MEMBER_BAD;
    *ret_value = text;
    return JSON_MEMBER_OK;
}

enum json_member json_get_bool(struct json_object *object, const char *name, bool *ret_value)
{
    struct json_object *value = NULL;
    enum json_member found = json_find(object, name, json_type_boolean, &value);

    if (found == JSON_MEMBER_OK)
        *ret_value = json_object_get_boolean(value);
    return found;
}

enum json_member json_get_object(struct json_object *object, const char *name, struct json_object **ret_value)
{
    return json_find(object, name, json_type_object, ret_value);
}

enum json_member json_get_array(struct json_object *object, const char *name, struct json_object **ret_value)
{
    return json_find(object, name, json_type_array, ret_value);
}

struct json_object *json_inner(struct json_object *object, const char *name)
{
    struct json_object *inner = NULL;

    if (object)
        json_get_object(object, name, &inner);
    return inner;
}

uint64_t json_number(struct json_object *object, const char *name)
{
    uint64_t number = 0;

    if (object)
        json_get_u64(object, name, UINT64_MAX, &number);
    return number;
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

void json_add_bool(struct json_object *object, const char *name, bool value)
{
    json_object_object_add(object, name, json_object_new_boolean(value));
}

const char *json_to_text(struct json_object *object)
{
    return json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}
