/* SPDX-License-Identifier: MIT */
/* What curl says of a failure reaches an operator without the addresses that curl repeats as they were given.
 */
#include "common/io/http_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_no_reason_repeats_an_address(void **state)
{
    static const struct {
        CURLcode code;
        const char *reason;
    } cases[] = {
        {CURLE_COULDNT_RESOLVE_PROXY, "Unsupported proxy syntax in 'http://user:s3cret@[::1'"},
        {CURLE_COULDNT_CONNECT, "Failed to connect to http://host/?token=s3cret"},
        {CURLE_COULDNT_RESOLVE_HOST, "Could not resolve host: user:s3cret@host"},
        {CURLE_URL_MALFORMAT, "Port number was not a decimal number in http://user:s3cret@h:x/"},
        {CURLE_UNSUPPORTED_PROTOCOL, "Protocol \"x\" not supported in x://s3cret@h/"},
        {CURLE_RECV_ERROR, "redirected to https://h/?signature=s3cret"},
    };
    CURL *easy = curl_easy_init();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error = {0};
        http_fault_judge(easy, cases[i].code, cases[i].reason, "http://h/", false, &error);
        assert_int_not_equal(error.kind, ERROR_NONE);
        if (strstr(error.message, "s3cret"))
            fail_msg("%s", error.message);
    }
    curl_easy_cleanup(easy);
}

static void test_other_reasons_are_told(void **state)
{
    CURL *easy = curl_easy_init();
    struct error error = {0};

    assert_int_equal(http_fault_judge(easy, CURLE_COULDNT_CONNECT,
                                      "Failed to connect to h port 81 after 3 ms", "http://h:81/", false,
                                      &error),
                     HTTP_OUTCOME_TRANSIENT);
    assert_non_null(strstr(error.message, "Failed to connect to h port 81"));
    curl_easy_cleanup(easy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_reason_repeats_an_address),
        cmocka_unit_test(test_other_reasons_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
