/* SPDX-License-Identifier: MIT */
/* Who is trusted, and that nothing leads from an encrypted connection to a plain one. Certificates are made
 * by openssl for the occasion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/web_server.h"

static char folder[] = "/tmp/moonsinter-test-XXXXXX";
static struct web_server plain, trusted, expired, other;
static char server_pin[64], other_pin[64]; /* "sha256//..." */
static struct event_base *base;
static char body[4096]; /* the last one that came */

static char *in_folder(const char *name)
{
    return alloc_printf("%s/%s", folder, name);
}

static void make_certificates(void)
{
    CLEANUP_FREE char *command = alloc_printf(
        "cd %s && exec >/dev/null 2>&1 && set -e\n"
        "new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n"
        "openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=test-authority -days 2\n"
        "openssl req $new -keyout server.key -out server.csr -subj /CN=127.0.0.1\n"
        "echo subjectAltName=IP:127.0.0.1 >names\n"
        "sign='openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names'\n"
        "$sign -days 2 -out server.pem\n"
        "$sign -days 0 -out expired.pem\n"
        "openssl req $new -keyout other.key -out server.csr -subj /CN=127.0.0.1\n"
        "$sign -days 2 -out other.pem\n"
        "openssl ec -aes128 -passout pass:hunter2 -in other.key -out locked.key\n"
        "pin() { openssl pkey -pubout -in $1 -outform der | openssl dgst -sha256 -binary | base64; }\n"
        "pin server.key >server.pin\n"
        "pin other.key >other.pin\n",
        folder);

    assert_int_equal(system(command), 0);
}

static void read_pin(const char *name, char *ret_pin)
{
    CLEANUP_FREE char *path = in_folder(name);
    FILE *stream = fopen(path, "re");

    assert_non_null(stream);
    strcpy(ret_pin, "sha256//");
    assert_int_equal(fread(ret_pin + strlen(ret_pin), 1, 44, stream), 44);
    fclose(stream);
}

static int set_up_all(void **state)
{
    assert_non_null(mkdtemp(folder));
    make_certificates();
    CLEANUP_FREE char *key = in_folder("server.key");
    CLEANUP_FREE char *certificate = in_folder("server.pem");
    CLEANUP_FREE char *old_certificate = in_folder("expired.pem");
    web_server_start(&plain, "image", 5, NULL, NULL);
    web_server_start(&trusted, "image", 5, certificate, key);
    web_server_start(&expired, "image", 5, old_certificate, key);
    CLEANUP_FREE char *other_key = in_folder("other.key");
    CLEANUP_FREE char *other_certificate = in_folder("other.pem");
    web_server_start(&other, "image", 5, other_certificate, other_key);
    read_pin("server.pin", server_pin);
    read_pin("other.pin", other_pin);
    base = event_base_new();
    return 0;
}

static int tear_down_all(void **state)
{
    CLEANUP_FREE char *command = alloc_printf("rm -rf %s", folder);

    event_base_free(base);
    web_server_stop(&plain);
    web_server_stop(&trusted);
    web_server_stop(&expired);
    web_server_stop(&other);
    return system(command);
}

/* A GET of a URL, made in the way of `settings`. */
static struct web_result get_with(const char *url, struct http_settings settings)
{
    struct web_result result = {0};
    struct http *http;
    struct error error;

    settings.stall_timeout_ms = 20000;
    if (!http_new(base, &settings, &http, &error))
        fail_msg("%s", error.message);
    http_get(http, &(struct http_get){.url = url, .max_size = 100000}, web_result_set, &result);
    web_wait(base, &result.done);
    assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    http_free(http);
    /* Zero-terminated, and long enough for what the tests look for. */
    snprintf(body, sizeof(body), "%s", result.body ? result.body : "");
    free(result.body);
    result.body = NULL;
    return result;
}

/* Likewise, trusting whom the file names (NULL: whom the system trusts). */
static struct web_result get(const char *url, const char *ca_name, const char *key_name)
{
    CLEANUP_FREE char *ca_file = ca_name ? in_folder(ca_name) : NULL;
    CLEANUP_FREE char *key = key_name ? in_folder(key_name) : NULL;

    return get_with(url, (struct http_settings){.ca_file = ca_file, .client_certificate = key});
}

static struct web_result get_path(const struct web_server *server, const char *path, const char *ca_name)
{
    CLEANUP_FREE char *url = web_server_url(server, path);

    return get(url, ca_name, NULL);
}

static void expect(const struct web_result *result, enum http_outcome outcome, const char *phrase)
{
    if (result->outcome != outcome || (phrase && !strstr(result->message, phrase)))
        fail_msg("outcome %d instead of %d ('%s'): %s", (int)result->outcome, (int)outcome,
                 phrase ? phrase : "", result->message);
}

static void test_trust(void **state)
{
    struct web_result result = get_path(&trusted, "image", "ca.pem");

    expect(&result, HTTP_OUTCOME_OK, NULL);
    result = get_path(&trusted, "image", NULL);
    expect(&result, HTTP_OUTCOME_FAILED, "not trusted");
    assert_non_null(strstr(result.message, "clock"));
    result = get_path(&expired, "image", "ca.pem");
    expect(&result, HTTP_OUTCOME_FAILED, "expired");
    assert_int_equal(result.kind, ERROR_REMOTE);
}

static void test_the_name_counts(void **state)
{
    CLEANUP_FREE char *url = alloc_printf("https://localhost:%u/image", trusted.port);
    struct web_result result = get(url, "ca.pem", NULL);

    expect(&result, HTTP_OUTCOME_FAILED, "not trusted");
}

static void test_missing_files(void **state)
{
    CLEANUP_FREE char *url = web_server_url(&trusted, "image");
    struct web_result result = get(url, "absent.pem", NULL);

    expect(&result, HTTP_OUTCOME_FAILED, "authorities");
    assert_int_equal(result.kind, ERROR_SYSTEM);
    result = get(url, "ca.pem", "absent.pem");
    expect(&result, HTTP_OUTCOME_FAILED, "client certificate");
}

static void test_redirects_stay_encrypted(void **state)
{
    CLEANUP_FREE char *plain_url = web_server_url(&plain, "image");
    CLEANUP_FREE char *trusted_url = web_server_url(&trusted, "image");
    CLEANUP_FREE char *to_plain = alloc_printf("redirect/image?to=%s", plain_url);
    CLEANUP_FREE char *to_trusted = alloc_printf("redirect/image?to=%s", trusted_url);
    CLEANUP_FREE char *downgrade_url = web_server_url(&trusted, to_plain);
    CLEANUP_FREE char *up_and_down = alloc_printf("redirect/image?to=%s", downgrade_url);

    struct web_result result = get_path(&trusted, "redirect/image", "ca.pem");
    expect(&result, HTTP_OUTCOME_OK, NULL);
    result = get_path(&trusted, to_plain, "ca.pem");
    expect(&result, HTTP_OUTCOME_FAILED, "from https to plain http");
    result = get_path(&plain, to_trusted, "ca.pem");
    expect(&result, HTTP_OUTCOME_OK, NULL);
    result = get_path(&plain, up_and_down, "ca.pem");
    expect(&result, HTTP_OUTCOME_FAILED, "from https to plain http");
}

static void test_pinned_keys(void **state)
{
    CLEANUP_FREE char *ca_file = in_folder("ca.pem");
    CLEANUP_FREE char *trusted_url = web_server_url(&trusted, "image");
    CLEANUP_FREE char *other_url = web_server_url(&other, "image");
    CLEANUP_FREE char *plain_url = web_server_url(&plain, "image");
    CLEANUP_FREE char *to_other = alloc_printf("redirect/image?to=%s", other_url);
    CLEANUP_FREE char *moved_url = web_server_url(&trusted, to_other);
    CLEANUP_FREE char *both = alloc_printf("%s;%s", other_pin, server_pin);
    struct http_settings settings = {.ca_file = ca_file, .pinned_public_key = server_pin};

    struct web_result result = get_with(trusted_url, settings);
    expect(&result, HTTP_OUTCOME_OK, NULL);
    result = get_with(other_url, settings);
    expect(&result, HTTP_OUTCOME_FAILED, "its public key is not a pinned one");
    assert_int_equal(result.kind, ERROR_REMOTE);
    result = get_with(moved_url, settings);
    expect(&result, HTTP_OUTCOME_FAILED, "its public key is not a pinned one");
    result = get_with(plain_url, settings);
    expect(&result, HTTP_OUTCOME_FAILED, "plain http shows none");
    settings.pinned_public_key = both;
    result = get_with(moved_url, settings);
    expect(&result, HTTP_OUTCOME_OK, NULL);
    /* A pin is no trust in whoever signed the certificate, nor in its date. */
    settings.ca_file = NULL;
    result = get_with(trusted_url, settings);
    expect(&result, HTTP_OUTCOME_FAILED, "not trusted");

    struct http *http = NULL;
    struct error error;
    settings.pinned_public_key = "sha256//short";
    assert_false(http_new(base, &settings, &http, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
}

static void test_headers_stay_with_their_server(void **state)
{
    static const char *const headers[] = {"X-Secret: 7", NULL};
    CLEANUP_FREE char *ca_file = in_folder("ca.pem");
    CLEANUP_FREE char *home = web_server_url(&trusted, "echo/image");
    CLEANUP_FREE char *away = web_server_url(&other, "echo/image");
    CLEANUP_FREE char *to_home = alloc_printf("redirect/image?to=%s", home);
    CLEANUP_FREE char *to_away = alloc_printf("redirect/image?to=%s", away);
    CLEANUP_FREE char *home_home = web_server_url(&trusted, to_home);
    CLEANUP_FREE char *home_away = web_server_url(&trusted, to_away);
    CLEANUP_FREE char *away_home = web_server_url(&other, to_home);
    struct http_settings settings = {.ca_file = ca_file, .headers = headers};
    const struct {
        const char *url, *headers_for;
        bool sent;
    } cases[] = {{home, NULL, true},       {home_home, NULL, true}, {home_away, NULL, false},
                 {away_home, NULL, false}, {home, home, true},      {away, home, false},
                 {away, away, true},       {away_home, home, true}, {home_away, home, false}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        settings.headers_for = cases[i].headers_for;
        struct web_result result = get_with(cases[i].url, settings);
        expect(&result, HTTP_OUTCOME_OK, NULL);
        if (!!strstr(body, "X-Secret: 7") != cases[i].sent)
            fail_msg("case %zu: %s", i, body);
    }
}

static void test_a_locked_key_is_not_asked_for(void **state)
{
    CLEANUP_FREE char *ca_file = in_folder("ca.pem");
    CLEANUP_FREE char *certificate = in_folder("other.pem");
    CLEANUP_FREE char *key = in_folder("locked.key");
    CLEANUP_FREE char *url = web_server_url(&trusted, "image");

    struct web_result result = get_with(
        url,
        (struct http_settings){.ca_file = ca_file, .client_certificate = certificate, .client_key = key});
    expect(&result, HTTP_OUTCOME_FAILED, "no client certificate");
    assert_non_null(strstr(result.message, "locked.key"));
}

static void test_not_tls(void **state)
{
    CLEANUP_FREE char *url = alloc_printf("https://127.0.0.1:%u/image", plain.port);
    struct web_result result = get(url, "ca.pem", NULL);

    expect(&result, HTTP_OUTCOME_FAILED, "TLS");
}

static void test_broken_off(void **state)
{
    struct web_result result = get_path(&trusted, "reset-now/image", "ca.pem");

    expect(&result, HTTP_OUTCOME_TRANSIENT, NULL);
    result = get_path(&trusted, "reset/image", "ca.pem");
    expect(&result, HTTP_OUTCOME_TRANSIENT, NULL);
    assert_int_equal(result.kind, ERROR_NETWORK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_the_name_counts),
        cmocka_unit_test(test_missing_files),
        cmocka_unit_test(test_redirects_stay_encrypted),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_broken_off),
        cmocka_unit_test(test_pinned_keys),
        cmocka_unit_test(test_headers_stay_with_their_server),
        cmocka_unit_test(test_a_locked_key_is_not_asked_for),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
