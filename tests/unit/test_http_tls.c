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
static struct web_server plain, trusted, expired;
static struct event_base *base;

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
        "$sign -days -1 -out expired.pem\n",
        folder);

    assert_int_equal(system(command), 0);
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
    base = event_base_new();
    return 0;
}

static int tear_down_all(void **state)
{
    static const char *const names[] = {"ca.key",     "ca.pem",     "ca.srl",      "server.key",
                                        "server.csr", "server.pem", "expired.pem", "names"};

    event_base_free(base);
    web_server_stop(&plain);
    web_server_stop(&trusted);
    web_server_stop(&expired);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CLEANUP_FREE char *path = in_folder(names[i]);
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

/* A GET of a URL, trusting whom the file names (NULL: whom the system trusts). */
static struct web_result get(const char *url, const char *ca_name, const char *key_name)
{
    CLEANUP_FREE char *ca_file = ca_name ? in_folder(ca_name) : NULL;
    CLEANUP_FREE char *key = key_name ? in_folder(key_name) : NULL;
    struct http_settings settings = {.stall_timeout_ms = 20000, .ca_file = ca_file, .client_certificate = key};
    struct web_result result = {0};
    struct http *http;
    struct error error;

    if (!http_new(base, &settings, &http, &error))
        fail_msg("%s", error.message);
    http_get(http, &(struct http_get){.url = url, .max_size = 100000}, web_result_set, &result);
    web_wait(base, &result.done);
    assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    http_free(http);
    free(result.body);
    return result;
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
        cmocka_unit_test(test_trust),         cmocka_unit_test(test_the_name_counts),
        cmocka_unit_test(test_missing_files), cmocka_unit_test(test_redirects_stay_encrypted),
        cmocka_unit_test(test_not_tls),       cmocka_unit_test(test_broken_off),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
