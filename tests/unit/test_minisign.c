/* SPDX-License-Identifier: MIT */
/* Keys and signatures of the stock minisign, read, refused and made. The secret keys here are for tests only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/image/minisign.h"

#define HEAD "untrusted comment: anything\n"

/* minisign's author signs his releases with this key, and "test" without a line feed was signed with it. */
#define AUTHOR "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
#define AUTHOR_SIG                                                                                           \
    "RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo="
#define AUTHOR_TEXT "timestamp:1556193335\tfile:test"
#define AUTHOR_TAIL "y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg=="
#define AUTHOR_FILE HEAD AUTHOR_SIG "\ntrusted comment: " AUTHOR_TEXT "\n" AUTHOR_TAIL "\n"

/* The same by minisign -S -l: over the file itself. */
#define LEGACY_FILE                                                                                            \
    HEAD                                                                                                       \
        "RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=" \
        "\ntrusted comment: timestamp:1555779966\tfile:test\n"                                                 \
        "QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==\n"

/* Made by minisign -G -W, and with a password. */
#define OWN_KEY "RWQEzQZAvbXJA5c0/gmcZPbzqgT43XomyRtgfpG1jW5Dgf2u10HfSaxm"
#define OWN_SECRET                                                                                           \
    "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABM0GQL21yQP0cC16lyYFWfetieniwAgSFWCza7WNYe0dmf5/e/PDC5c0/gmcZPbzqgT43XomyRtgfpG1jW5Dgf2u10HfSaxmAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define LOCKED                                                                                               \
    "RWRTY0Iyq/dBrkFlODXMLt/WOD7jU5IRvDL4maNuDTIJJvFyGUwAAAACAAAAAAAAAEAAAAAAkiSN62oX6sh3sakOzILbQ4RYe6hhCKTIhZVOPQqeaTOqzTK+dNmmfqGDAf5aiQq2rh3kkjlSpStC4BSTZucTrd4ZdJFu/qqXQj9ENtsUhoSD9cpxIPAVVCqxicLsuybjiX+qJLC/U1g="

static struct minisign_key parse_key(const char *text)
{
    struct minisign_key key;
    struct error error;
    CLEANUP_FREE char *file = alloc_printf(HEAD "%s\n", text);

    assert_true(minisign_parse_key(file, strlen(file), &key, &error));
    return key;
}

/* The error's kind, ERROR_NONE where it verifies. */
static enum error_kind verify(const char *data, const char *file, size_t size)
{
    struct minisign_key keys[] = {parse_key(OWN_KEY), parse_key(AUTHOR)};
    CLEANUP_FREE char *comment = NULL;
    struct error error = {0};
    size_t used = 99;

    if (!minisign_verify(keys, 2, data, strlen(data), file, size, &comment, &used, &error)) {
        assert_null(comment);
        assert_int_equal(used, 99);
        return error.kind;
    }
    assert_in_range(used, 0, 1);
    return ERROR_NONE;
}

static void test_verifies_what_minisign_signed(void **state)
{
    struct minisign_key key = parse_key(AUTHOR);
    CLEANUP_FREE char *comment = NULL;
    char id[MINISIGN_ID_TEXT_SIZE];
    struct error error;
    size_t used;

    assert_true(
        minisign_verify(&key, 1, "test", 4, AUTHOR_FILE, strlen(AUTHOR_FILE), &comment, &used, &error));
    assert_string_equal(comment, AUTHOR_TEXT);
    assert_int_equal(used, 0);
    assert_string_equal(minisign_key_id(&key, id), "E7620F1842B4E81F");
}

static void test_any_key_suffices(void **state)
{
    assert_int_equal(verify("test", AUTHOR_FILE, strlen(AUTHOR_FILE)), ERROR_NONE);
}

static void test_refuses_strangers_and_the_legacy_form(void **state)
{
    struct minisign_key key = parse_key(OWN_KEY);
    char *comment;
    struct error error;
    size_t used;

    assert_false(
        minisign_verify(&key, 1, "test", 4, AUTHOR_FILE, strlen(AUTHOR_FILE), &comment, &used, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_non_null(strstr(error.message, "E7620F1842B4E81F"));
    assert_false(
        minisign_verify(&key, 0, "test", 4, AUTHOR_FILE, strlen(AUTHOR_FILE), &comment, &used, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    key = parse_key(AUTHOR);
    assert_false(
        minisign_verify(&key, 1, "test", 4, LEGACY_FILE, strlen(LEGACY_FILE), &comment, &used, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_non_null(strstr(error.message, "legacy"));
    /* A stranger who took over the number of a key of ours. */
    key = parse_key(OWN_KEY);
    memcpy(key.id, parse_key(AUTHOR).id, sizeof(key.id));
    assert_false(
        minisign_verify(&key, 1, "test", 4, AUTHOR_FILE, strlen(AUTHOR_FILE), &comment, &used, &error));
    assert_int_equal(error.kind, ERROR_MISMATCH);
}

static void test_every_bit_counts(void **state)
{
    static const char data[] = "test", file[] = AUTHOR_FILE;
    size_t comment_end = strlen(HEAD);

    for (size_t bit = 0; bit < strlen(data) * 8; bit++) {
        char bad[sizeof(data)];
        memcpy(bad, data, sizeof(bad));
        bad[bit / 8] = (char)(bad[bit / 8] ^ 1 << bit % 8);
        if (bad[bit / 8])
            assert_int_equal(verify(bad, file, strlen(file)), ERROR_MISMATCH);
    }
    /* The first line is nobody's word, and the last line feed need not be there. */
    for (size_t bit = comment_end * 8; bit < (strlen(file) - 1) * 8; bit++) {
        char bad[sizeof(file)];
        memcpy(bad, file, sizeof(bad));
        bad[bit / 8] = (char)(bad[bit / 8] ^ 1 << bit % 8);
        assert_int_not_equal(verify(data, bad, strlen(file)), ERROR_NONE);
    }
}

static void test_refuses_what_is_no_signature(void **state)
{
    static const char file[] = AUTHOR_FILE;
    static const char *const files[] = {
        "",
        "\n\n\n\n",
        "trusted comment: " AUTHOR_TEXT "\n" AUTHOR_SIG "\n",
        HEAD AUTHOR "\n",
        HEAD AUTHOR_SIG "=\ntrusted comment: " AUTHOR_TEXT "\n" AUTHOR_TAIL "\n",
        HEAD " " AUTHOR_SIG "\ntrusted comment: " AUTHOR_TEXT "\n" AUTHOR_TAIL "\n",
        HEAD AUTHOR_SIG "\nuntrusted comment: " AUTHOR_TEXT "\n" AUTHOR_TAIL "\n",
        HEAD AUTHOR_SIG "\ntrusted comment: " AUTHOR_TEXT "\n" AUTHOR_SIG "\n",
        AUTHOR_FILE "more",
    };

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        assert_int_equal(verify("test", files[i], strlen(files[i])), ERROR_FORMAT);
    /* Cut short anywhere: from a copy of just that size, so that a sanitizer sees one byte too many read. */
    for (size_t size = 0; size < strlen(file) - 1; size++) {
        CLEANUP_FREE char *part = alloc_zeroed(size ? size : 1);
        memcpy(part, file, size);
        assert_int_equal(verify("test", part, size), ERROR_FORMAT);
    }
    assert_int_equal(verify("test", file, strlen(file) - 1), ERROR_NONE);
    assert_int_equal(verify("test", AUTHOR_FILE "\r\n \n", strlen(AUTHOR_FILE "\r\n \n")), ERROR_NONE);
    /* A zero byte ends no comment before its time. */
    CLEANUP_FREE char *zero = alloc_string(file);
    strstr(zero, "file:test")[4] = 0;
    assert_int_equal(verify("test", zero, strlen(file)), ERROR_FORMAT);
}

static void test_refuses_endless_lines(void **state)
{
    CLEANUP_FREE char *dots = alloc_zeroed(2 * MINISIGN_TRUSTED_LINE_MAX + 1);

    memset(dots, '.', 2 * MINISIGN_TRUSTED_LINE_MAX);
    for (int too_long = 0; too_long < 2; too_long++) {
        int rest = MINISIGN_COMMENT_LINE_MAX - (int)strlen("untrusted comment: \n") + too_long;
        CLEANUP_FREE char *file =
            alloc_printf("untrusted comment: %.*s\n%s", rest, dots, &AUTHOR_FILE[strlen(HEAD)]);
        assert_int_equal(verify("test", file, strlen(file)), too_long ? ERROR_FORMAT : ERROR_NONE);
        rest = MINISIGN_TRUSTED_LINE_MAX - (int)strlen("trusted comment: \n") + too_long;
        CLEANUP_FREE char *trusted =
            alloc_printf(HEAD AUTHOR_SIG "\ntrusted comment: %.*s\n" AUTHOR_TAIL "\n", rest, dots);
        assert_int_equal(verify("test", trusted, strlen(trusted)), too_long ? ERROR_FORMAT : ERROR_MISMATCH);
    }
}

static bool parse_secret(const char *text, struct minisign_secret_key *ret_key, struct error *error)
{
    CLEANUP_FREE char *file = alloc_printf("untrusted comment: minisign encrypted secret key\n%s\n", text);

    return minisign_parse_secret_key(file, strlen(file), ret_key, error);
}

static void test_signs(void **state)
{
    struct minisign_key key = parse_key(OWN_KEY);
    struct minisign_secret_key secret;
    CLEANUP_FREE char *comment = NULL;
    struct error error;
    size_t used;

    assert_true(parse_secret(OWN_SECRET, &secret, &error));
    assert_memory_equal(&secret.key, &key, sizeof(key));
    CLEANUP_FREE char *file = minisign_sign(&secret, "data", 4, "on a \ttest day"),
                      *again = minisign_sign(&secret, "data", 4, "on a \ttest day");
    assert_string_equal(file, again);
    assert_true(minisign_verify(&key, 1, "data", 4, file, strlen(file), &comment, &used, &error));
    assert_string_equal(comment, "on a \ttest day");
    assert_int_equal(verify("datA", file, strlen(file)), ERROR_MISMATCH);
    minisign_secret_key_finish(&secret);
    for (size_t i = 0; i < sizeof(secret); i++)
        assert_int_equal(((const uint8_t *)&secret)[i], 0);
}

static void test_longest_comment(void **state)
{
    CLEANUP_FREE char *dots = alloc_zeroed(MINISIGN_TRUSTED_LINE_MAX + 1);
    struct minisign_secret_key secret;
    struct error error;

    /* Where it reads a line, minisign needs a byte for the zero at its end. */
    memset(dots, '.', MINISIGN_TRUSTED_LINE_MAX - strlen("trusted comment: \n") - 1);
    assert_true(minisign_check_comment(dots, &error));
    assert_true(parse_secret(OWN_SECRET, &secret, &error));
    CLEANUP_FREE char *file = minisign_sign(&secret, "test", 4, dots);
    assert_in_range(strlen(file), MINISIGN_TRUSTED_LINE_MAX, MINISIGN_SIGNATURE_SIZE_MAX);
    assert_int_equal(verify("test", file, strlen(file)), ERROR_NONE);
    dots[strlen(dots)] = '.';
    assert_false(minisign_check_comment(dots, &error));
    assert_false(minisign_check_comment("two\nlines", &error));
}

static void test_refuses_bad_keys(void **state)
{
    static const char *const files[] = {"",
                                        AUTHOR "\n",
                                        HEAD,
                                        HEAD AUTHOR_SIG "\n",
                                        HEAD AUTHOR "\n" AUTHOR "\n",
                                        HEAD "RUQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"};
    struct minisign_secret_key secret;
    struct minisign_key key;
    struct error error;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        assert_false(minisign_parse_key(files[i], strlen(files[i]), &key, &error));
        assert_int_equal(error.kind, ERROR_FORMAT);
        assert_false(minisign_parse_secret_key(files[i], strlen(files[i]), &secret, &error));
        assert_int_equal(error.kind, ERROR_FORMAT);
    }
    assert_false(parse_secret(LOCKED, &secret, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_non_null(strstr(error.message, "minisign -S"));
    /* One letter of the seed, in a key that is well-formed otherwise. */
    CLEANUP_FREE char *bent = alloc_string(OWN_SECRET);
    bent[100] = bent[100] == 'A' ? 'B' : 'A';
    assert_false(parse_secret(bent, &secret, &error));
    assert_int_equal(error.kind, ERROR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verifies_what_minisign_signed),
        cmocka_unit_test(test_any_key_suffices),
        cmocka_unit_test(test_refuses_strangers_and_the_legacy_form),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_refuses_what_is_no_signature),
        cmocka_unit_test(test_refuses_endless_lines),
        cmocka_unit_test(test_signs),
        cmocka_unit_test(test_longest_comment),
        cmocka_unit_test(test_refuses_bad_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
