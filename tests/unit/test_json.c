/* SPDX-License-Identifier: MIT */
/* JSON from outside: one object, bounded, each member of the type and range it must have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/json.h"

/* Parses an exact copy, without a zero behind it, so that a sanitizer sees a read past the end. */
static bool parse(const char *text, size_t size, struct json_object **ret_object, struct error *error)
{
    char *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, text, size);
    bool ok = json_parse_object(copy, size, "the sample", ret_object, error);
    free(copy);
    return ok;
}

static struct json_object *must_parse(const char *text)
{
    struct json_object *object;
    struct error error;

    if (!parse(text, strlen(text), &object, &error))
        fail_msg("%s: %s", text, error.message);
    return object;
}

static void assert_refused(const char *text, size_t size, const char *words)
{
    struct json_object *object = NULL;
    struct error error = {0};

    if (parse(text, size, &object, &error))
        fail_msg("accepted: %.*s", (int)size, text);
    assert_null(object);
    assert_int_equal(error.kind, ERROR_FORMAT);
    if (!strstr(error.message, words) || strncmp(error.message, "the sample ", 11) != 0)
        fail_msg("no \"%s\" in: %s", words, error.message);
}

/* A zero byte does not end a name. */
static void test_a_name_with_a_zero_byte_is_another(void **state)
{
    static const char *const others[] = {
        "{\"size\\u0000\":1}",      "{\"size\\u0000\" :1}",
        "{\"size\\u0000\"\n\t :1}", "{\"size\\u0000more\":1,\"size\\u0000other\":2}",
        "{\"\\u0000size\":1}",      "{\"a\":\"size\",\"size\\u0000\\u0000\":1}",
    };
    uint64_t value = 0;

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        CLEANUP_JSON struct json_object *object = must_parse(others[i]);
        assert_int_equal(json_get_u64(object, "size", 10, &value), JSON_MEMBER_ABSENT);
    }
    CLEANUP_JSON struct json_object *object =
        must_parse("{\"size\\u0000\":1,\"size\":2,\"text\":\"\\u0000:\",\"back\\\\u0000\":3}");
    assert_int_equal(json_get_u64(object, "size", 10, &value), JSON_MEMBER_OK);
    assert_int_equal(value, 2);
    /* An escaped backslash, and no zero byte. */
    assert_int_equal(json_get_u64(object, "back\\u0000", 10, &value), JSON_MEMBER_OK);
    const char *text;
    assert_int_equal(json_get_string(object, "text", &text), JSON_MEMBER_BAD);
    assert_refused("{\"a\\u0000", 9, "ends in the middle");
    assert_refused("{\"a\\u0000\"", 10, "ends in the middle");
    assert_refused("{\"a\\u0000\":1,\"a\\u0000\":1}", 25, "two members with the same name");
}

static void test_one_object(void **state)
{
    static const char *const good[] = {"{}", " {} ", "\n{\"a\":{\"a\":[]}}\r\n\t "};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CLEANUP_JSON struct json_object *object = must_parse(good[i]);
        assert_non_null(object);
    }
    assert_refused("", 0, "ends in the middle");
    assert_refused("{\"a\":", 5, "ends in the middle");
    assert_refused("{\"a", 3, "ends in the middle");
    assert_refused("{\"a\\", 4, "ends in the middle");
    assert_refused("[1]", 3, "not an object");
    assert_refused("{}x", 3, "not JSON");
    assert_refused("{}\0", 3, "more bytes");
    assert_refused("{} {}", 5, "not JSON");
    /* What stands there instead, where its beginning tells. */
    assert_refused("\xef\xbb\xbf{}", 5, "byte order mark");
    assert_refused("\xff\xfe{\0}\0", 6, "UTF-16");
    assert_refused("\x1f\x8b\x08\0'", 5, "gzip");
    assert_refused("\x28\xb5\x2f\xfd", 4, "zstd");
    assert_refused("\xef\xbb", 2, "not JSON");
    assert_refused("\x1f", 1, "not JSON");
    assert_refused("{'a':1}", 7, "not JSON");
    assert_refused("{\"a\":01}", 8, "not JSON");
    assert_refused("{\"a\":1,}", 8, "not JSON");
    assert_refused("{\"a\":\"\x80\"}", 9, "not JSON");
}

/* Characters that are not ASCII, of every length, in values and in names. */
static void test_other_scripts(void **state)
{
    static const char text[] =
        "{\"g\xc3\xb6\xc3\x9f"
        "e\":7, \"text\":\"\xe2\x82\xac \xf0\x9f\x8c\x99\\n\xef\xbf\xbf\xf4\x8f\xbf\xbf\x7f\"}";
    const char *value;
    uint64_t number;

    CLEANUP_JSON struct json_object *object = must_parse(text);
    assert_int_equal(json_get_string(object, "text", &value), JSON_MEMBER_OK);
    assert_string_equal(value, "\xe2\x82\xac \xf0\x9f\x8c\x99\n\xef\xbf\xbf\xf4\x8f\xbf\xbf\x7f");
    assert_int_equal(json_get_u64(object,
                                  "g\xc3\xb6\xc3\x9f"
                                  "e",
                                  10, &number),
                     JSON_MEMBER_OK);
    assert_int_equal(number, 7);

    /* Not well-formed: cut off, a lone byte, longer than need be, half of a pair, past the last. The byte is
     * the text's. */
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"{\"a\":\"\xe2\x82\"}", "invalid UTF-8 at byte 6"},
        {"{\"a\":\"\xf0\x9f\x8c\x99\x80\"}", "invalid UTF-8 at byte 10"},
        {"{\"a\":\"\xc0\x80\"}", "invalid UTF-8 at byte 6"},
        {"{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8 at byte 6"},
        {"{\"a\":\"\xf4\x90\x80\x80\"}", "invalid UTF-8 at byte 6"},
        {"{\"a\":1}\xe2", "invalid UTF-8 at byte 7"},
        /* No escape of JSON, and not to become one. */
        {"{\"a\":\"\\\xc3\xb6\"}", "at byte 7"},
        {"{\"\xc3\xb6\":\"\xf0\x9f\x8c\x99\" 1}", "at byte 13"},
        {"{\"a\":\xc3\xb6}", "at byte 5"},
        {"{\"\xc3\xb6\":1} 2", "at byte 9"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(bad[i].text, strlen(bad[i].text), bad[i].words);
}

static void test_bounds(void **state)
{
    char deep[100], *many = malloc(3 * JSON_VALUES_MAX + 100);

    memset(deep, '[', sizeof(deep));
    memcpy(deep, "{\"a\":", 5);
    assert_refused(deep, sizeof(deep), "nesting");
    size_t size = 0;
    memcpy(many, "{\"a\":[0", 7);
    size = 7;
    for (size_t i = 0; i < JSON_VALUES_MAX; i++, size += 2)
        memcpy(many + size, ",0", 2);
    memcpy(many + size, "]}", 2);
    assert_refused(many, size + 2, "16384 values");
    size -= 4;
    memcpy(many + size, "]}", 2);
    many[size + 2] = 0;
    json_object_put(must_parse(many));
    /* What json-c would take for a string hides nothing. */
    memcpy(many, "{'\"':[0", 8);
    assert_refused(many, size + 2, "not JSON");
    free(many);
}

/* Marks in strings are no members, and a name may be spelled in two ways. */
static void test_names_twice(void **state)
{
    json_object_put(
        must_parse("{\"a:,{[\":\":\\\":,\\\\\",\"b\":[{\"a\":1},{\"a\":2}],\"c\":{\"a\":{\"a\":null}}}"));
    assert_refused("{\"a\":1,\"a\":1}", 13, "same name");
    assert_refused("{\"a\":1,\"\\u0061\":1}", 18, "same name");
    assert_refused("{\"b\":[[{\"a\":1,\"a\":1}]]}", 23, "same name");
}

static void test_u64(void **state)
{
    CLEANUP_JSON struct json_object *object = must_parse(
        "{\"zero\":0,\"ten\":10,\"top\":18446744073709551614,\"most\":18446744073709551615,\"minus\":-1,"
        "\"half\":0.5,\"exp\":1e1,\"text\":\"1\",\"nothing\":null,\"yes\":true,\"big\":9223372036854775808}");
    static const char *const bad[] = {"minus", "half", "exp", "text", "yes", "most"};
    uint64_t value = 77;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(json_get_u64(object, bad[i], UINT64_MAX, &value), JSON_MEMBER_BAD);
    assert_int_equal(json_get_u64(object, "missing", 10, &value), JSON_MEMBER_ABSENT);
    assert_int_equal(json_get_u64(object, "nothing", 10, &value), JSON_MEMBER_ABSENT);
    assert_int_equal(json_get_u64(object, "ten", 9, &value), JSON_MEMBER_BAD);
    assert_int_equal(value, 77);
    assert_int_equal(json_get_u64(object, "ten", 10, &value), JSON_MEMBER_OK);
    assert_int_equal(value, 10);
    assert_int_equal(json_get_u64(object, "zero", 0, &value), JSON_MEMBER_OK);
    assert_int_equal(json_get_u64(object, "big", UINT64_MAX, &value), JSON_MEMBER_OK);
    assert_true(value == UINT64_C(1) << 63);
    assert_int_equal(json_get_u64(object, "big", INT64_MAX, &value), JSON_MEMBER_BAD);
    assert_int_equal(json_get_u64(object, "top", UINT64_MAX, &value), JSON_MEMBER_OK);
    assert_true(value == UINT64_MAX - 1);
}

static void test_others(void **state)
{
    CLEANUP_JSON struct json_object *object = must_parse(
        "{\"text\":\"abc\",\"zero\":\"a\\u0000b\",\"yes\":true,\"object\":{\"a\":1},\"number\":1}");
    const char *text = NULL;
    struct json_object *child = NULL;
    bool yes = false;

    assert_int_equal(json_get_string(object, "text", &text), JSON_MEMBER_OK);
    assert_string_equal(text, "abc");
    assert_int_equal(json_get_string(object, "zero", &text), JSON_MEMBER_BAD);
    assert_int_equal(json_get_string(object, "number", &text), JSON_MEMBER_BAD);
    assert_int_equal(json_get_string(object, "missing", &text), JSON_MEMBER_ABSENT);
    assert_string_equal(text, "abc");
    assert_int_equal(json_get_bool(object, "yes", &yes), JSON_MEMBER_OK);
    assert_true(yes);
    assert_int_equal(json_get_bool(object, "number", &yes), JSON_MEMBER_BAD);
    assert_int_equal(json_get_object(object, "object", &child), JSON_MEMBER_OK);
    assert_int_equal(json_object_object_length(child), 1);
    assert_int_equal(json_get_object(object, "text", &child), JSON_MEMBER_BAD);
}

static void test_output(void **state)
{
    CLEANUP_JSON struct json_object *object = json_object_new_object();

    json_add_string(object, "a", "x\"y");
    json_add_string(object, "b", NULL);
    json_add_u64(object, "c", UINT64_MAX);
    /* File names and cut sentences need not be UTF-8, and JSON must. */
    json_add_string(object, "d", "\xc3\xbc \xff \xc3");
    assert_string_equal(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN),
                        "{\"a\":\"x\\\"y\",\"b\":null,\"c\":18446744073709551615,\"d\":\"\xc3\xbc ? ?\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_object),
        cmocka_unit_test(test_other_scripts),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_names_twice),
        cmocka_unit_test(test_a_name_with_a_zero_byte_is_another),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_output),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
