/* SPDX-License-Identifier: MIT */
/* The request table (daemon/face/api.c), the reader of request heads (api_http.c) and the rule of authority
 * (api_peer.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "daemon/face/api.h"
#include "daemon/face/api_http.h"
#include "daemon/face/api_peer.h"

struct fake {
    bool has_plan;
    bool refuses;
    unsigned requests;
    enum api_action last;
};

static struct json_object *fake_object(void *owner)
{
    struct json_object *object = json_object_new_object();

    json_add_string(object, "state", "idle");
    json_add_string(object, "path", "/dev/a");
    return object;
}

static struct json_object *fake_plan(void *owner)
{
    struct fake *fake = owner;

    return fake->has_plan ? fake_object(owner) : NULL;
}

static struct json_object *fake_nothing(void *owner)
{
    return NULL;
}

static char *fake_metrics(void *owner)
{
    return alloc_string("moonsinter_up 1\n");
}

static bool fake_request(void *owner, enum api_action action, struct api_error *error)
{
    struct fake *fake = owner;

    fake->requests++;
    fake->last = action;
    if (fake->refuses)
        return api_error_set(error, 409, "trial-running", "slot %s is on \"trial\"\n", "b");
    return true;
}

static struct fake fake;
static const struct api_backend backend = {
    .owner = &fake,
    .status = fake_object,
    .plan = fake_plan,
    .history = fake_object,
    .config = fake_nothing,
    .metrics = fake_metrics,
    .request = fake_request,
};

static unsigned answer(const char *method, const char *path, const char *body, bool may_change,
                       struct api_reply *reply)
{
    struct api_request request = {method, path, body, strlen(body), may_change};

    api_answer(&backend, &request, reply);
    return reply->http_status;
}

static unsigned status_of(const char *method, const char *path, const char *body, bool may_change)
{
    struct api_reply reply;
    unsigned status = answer(method, path, body, may_change, &reply);

    assert_non_null(reply.content_type);
    assert_string_not_equal(api_status_phrase(status), "Unknown");
    assert_int_equal(strlen(reply.body), reply.body_size);
    api_reply_finish(&reply);
    return status;
}

/* The error's code, checking its form on the way. */
static void assert_error(const struct api_reply *reply, const char *code)
{
    struct error error;
    CLEANUP_JSON struct json_object *object = NULL;
    struct json_object *inner;
    const char *text;

    assert_true(json_parse_object(reply->body, reply->body_size, "reply", &object, &error));
    assert_int_equal(json_object_object_length(object), 1);
    assert_int_equal(json_get_object(object, "error", &inner), JSON_MEMBER_OK);
    assert_int_equal(json_get_string(inner, "code", &text), JSON_MEMBER_OK);
    assert_string_equal(text, code);
    assert_int_equal(json_get_string(inner, "message", &text), JSON_MEMBER_OK);
    assert_true(strlen(text) > 10);
}

static int reset(void **state)
{
    fake = (struct fake){0};
    return 0;
}

static void test_reading(void **state)
{
    struct api_reply reply;

    assert_int_equal(answer("GET", "/v1/status", "", false, &reply), 200);
    assert_string_equal(reply.content_type, "application/json");
    assert_string_equal(reply.body, "{\"state\":\"idle\",\"path\":\"/dev/a\"}\n");
    assert_false(reply.is_stream);
    api_reply_finish(&reply);

    assert_int_equal(answer("GET", "/v1/events", "", false, &reply), 200);
    assert_string_equal(reply.content_type, "application/x-ndjson");
    assert_true(reply.is_stream);
    api_reply_finish(&reply);
    assert_int_equal(answer("HEAD", "/v1/events", "", false, &reply), 200);
    assert_false(reply.is_stream);
    api_reply_finish(&reply);

    assert_int_equal(answer("GET", "/metrics", "", false, &reply), 200);
    assert_memory_equal(reply.content_type, "text/plain", 10);
    api_reply_finish(&reply);

    assert_int_equal(status_of("GET", "/v1/history", "", false), 200);
    assert_int_equal(status_of("GET", "/v1/config", "", false), 500);
    assert_int_equal(status_of("HEAD", "/v1/status", "", false), 200);
}

static void test_plan_before_the_first(void **state)
{
    struct api_reply reply;

    assert_int_equal(answer("GET", "/v1/plan", "", false, &reply), 409);
    assert_error(&reply, "no-plan");
    api_reply_finish(&reply);
    fake.has_plan = true;
    assert_int_equal(status_of("GET", "/v1/plan", "", false), 200);
}

static void test_every_action(void **state)
{
    for (int action = API_ACTION_CHECK; action <= API_ACTION_ROLLBACK; action++) {
        CLEANUP_FREE char *path = alloc_printf("/v1/%s", api_action_name((enum api_action)action));
        fake.requests = 0;
        assert_int_equal(status_of("POST", path, "", false), 403);
        assert_int_equal(status_of("GET", path, "", true), 405);
        assert_int_equal(status_of("HEAD", path, "", true), 405);
        assert_int_equal(fake.requests, 0);
        assert_int_equal(status_of("POST", path, "", true), 202);
        assert_int_equal(fake.requests, 1);
        assert_int_equal(fake.last, action);
    }
}

static void test_refusals(void **state)
{
    struct api_reply reply;

    fake.refuses = true;
    assert_int_equal(answer("POST", "/v1/install", "", true, &reply), 409);
    assert_error(&reply, "trial-running");
    api_reply_finish(&reply);

    assert_int_equal(answer("POST", "/v1/status", "", true, &reply), 405);
    assert_error(&reply, "method-not-allowed");
    assert_string_equal(reply.allow, "GET, HEAD");
    api_reply_finish(&reply);
    assert_int_equal(answer("DELETE", "/v1/check", "", true, &reply), 405);
    assert_string_equal(reply.allow, "POST");
    api_reply_finish(&reply);

    static const char *const unknown[] = {"/",           "/v1",        "/v1/",       "/v1/status/",
                                          "/v1/statusx", "/V1/status", "//v1/status"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_int_equal(answer("GET", unknown[i], "", true, &reply), 404);
        assert_error(&reply, "not-found");
        api_reply_finish(&reply);
    }
}

static void test_bodies(void **state)
{
    struct api_reply reply;
    char deep[200];

    assert_int_equal(status_of("POST", "/v1/check", "{}", true), 202);
    assert_int_equal(status_of("POST", "/v1/check", "{\"later\": 1}\n", true), 202);
    fake.requests = 0;
    assert_int_equal(status_of("POST", "/v1/check", "[]", true), 400);
    assert_int_equal(status_of("POST", "/v1/check", "{", true), 400);
    assert_int_equal(status_of("POST", "/v1/check", "{}{}", true), 400);
    memset(deep, '{', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(answer("POST", "/v1/check", deep, true, &reply), 400);
    assert_error(&reply, "bad-body");
    api_reply_finish(&reply);
    assert_int_equal(fake.requests, 0);
}

static enum api_http_result parse(const char *text, struct api_http_head *head,
                                  struct api_http_refusal *refusal)
{
    return api_http_parse_head(text, strlen(text), 8192, head, refusal);
}

static void test_heads_understood(void **state)
{
    struct api_http_head head;
    struct api_http_refusal refusal;
    const char *text = "POST /v1/check?a=b HTTP/1.1\r\nhost:x\r\nX-Other: \t a:b \r\nCONTENT-LENGTH: 12 \r\n"
                       "Expect: 100-continue\r\nEmpty:\r\n\r\nbody";

    assert_int_equal(parse(text, &head, &refusal), API_HTTP_WHOLE);
    assert_int_equal(head.size, strlen(text) - 4);
    assert_string_equal(head.method, "POST");
    assert_string_equal(head.path, "/v1/check");
    assert_int_equal(head.content_length, 12);
    assert_true(head.keep_alive);
    assert_true(head.expects_continue);
    /* Every beginning of it is a request on its way, and nothing is read past the end. */
    for (size_t size = 0; size < strlen(text) - 4; size++) {
        CLEANUP_FREE char *part = alloc_zeroed(size);
        memcpy(part, text, size);
        assert_int_equal(api_http_parse_head(part, size, 8192, &head, &refusal), API_HTTP_INCOMPLETE);
    }

    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n", &head, &refusal),
                     API_HTTP_WHOLE);
    assert_false(head.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &head, &refusal), API_HTTP_WHOLE);
    assert_false(head.keep_alive);
    assert_true(head.is_http_1_0);
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &head, &refusal),
                     API_HTTP_WHOLE);
    assert_true(head.keep_alive);
}

static void test_heads_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned status;
    } cases[] = {
        {"GET /v1/status\r\n\r\n", 400},
        {"GET  /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET http://x/v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400},
        {"GET / http/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400},
        {"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {" / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: x\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\ry\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: \x01\r\n\r\n", 400},
        {"\x16\x03\x01\x02", 400}, /* a TLS client */
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", 413},
        {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
    };
    struct api_http_head head;
    struct api_http_refusal refusal;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (parse(cases[i].text, &head, &refusal) != API_HTTP_REFUSED)
            fail_msg("not refused: %s", cases[i].text);
        assert_int_equal(refusal.http_status, cases[i].status);
        assert_true(strlen(refusal.message) > 10);
    }
    /* Zero bytes cannot stand in the table above. */
    assert_int_equal(api_http_parse_head("GET /\0 HTTP", 11, 8192, &head, &refusal), API_HTTP_REFUSED);
}

static void test_heads_too_large(void **state)
{
    struct api_http_head head;
    struct api_http_refusal refusal;
    char text[300];

    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    assert_int_equal(api_http_parse_head(text, 256, 256, &head, &refusal), API_HTTP_INCOMPLETE);
    assert_int_equal(api_http_parse_head(text, 257, 256, &head, &refusal), API_HTTP_REFUSED);
    assert_int_equal(refusal.http_status, 413);
    /* A long path that fits is cut, and so never equal to one of ours. */
    memcpy(text + 240, " HTTP/1.0\r\n\r\n", 13);
    assert_int_equal(api_http_parse_head(text, 253, 256, &head, &refusal), API_HTTP_WHOLE);
    assert_int_equal(strlen(head.path), API_HTTP_PATH_SIZE - 1);
}

static void test_authority(void **state)
{
    gid_t groups[] = {7, 8};
    struct api_peer_group none = {0}, eight = {true, 8}, nine = {true, 9};
    struct api_peer root = {.uid = 0, .gid = 0};
    struct api_peer own = {.uid = 500, .gid = 500};
    struct api_peer member = {.uid = 1000, .gid = 1000, .groups = groups, .group_count = 2};
    struct api_peer primary = {.uid = 1000, .gid = 9};
    struct api_peer group_zero = {.uid = 1000, .gid = 0};

    assert_true(api_peer_judge(&root, 500, &none));
    assert_true(api_peer_judge(&own, 500, &none));
    assert_false(api_peer_judge(&member, 500, &none));
    assert_true(api_peer_judge(&member, 500, &eight));
    assert_false(api_peer_judge(&member, 500, &nine));
    assert_true(api_peer_judge(&primary, 500, &nine));
    /* No group set is not group 0. */
    assert_false(api_peer_judge(&group_zero, 500, &none));
}

static void test_group_lookup(void **state)
{
    struct api_peer_group group = {true, 1};
    struct error error;

    assert_true(api_peer_find_group(NULL, &group, &error));
    assert_false(group.is_set);
    assert_true(api_peer_find_group("root", &group, &error));
    assert_true(group.is_set && group.gid == 0);
    assert_true(api_peer_find_group("4242", &group, &error));
    assert_int_equal(group.gid, 4242);
    assert_false(api_peer_find_group("4294967295", &group, &error));
    assert_false(api_peer_find_group("no such group", &group, &error));
    assert_non_null(strstr(error.message, "no such group"));
    assert_int_equal(group.gid, 4242);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reading, reset),
        cmocka_unit_test_setup(test_plan_before_the_first, reset),
        cmocka_unit_test_setup(test_every_action, reset),
        cmocka_unit_test_setup(test_refusals, reset),
        cmocka_unit_test_setup(test_bodies, reset),
        cmocka_unit_test(test_heads_understood),
        cmocka_unit_test(test_heads_refused),
        cmocka_unit_test(test_heads_too_large),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_group_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
