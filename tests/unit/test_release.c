/* SPDX-License-Identifier: MIT */
#include "common/sinter/release.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/sinter/fetch.h"
#include "tests/unit/publisher.h"
#include "tests/unit/range_server.h"

struct fixture {
    struct event_base *base;
    struct pool *pool;
    struct http *http;
    struct range_server *server;
    struct range_file *published, *published_signature;
    struct url *url;
    char *text, *signature;
    struct trust trust;
    struct trust_keys *keys;
    const char *fault_path; /* NULL = any */
    struct release_fetch *release_fetch;
    struct fetch *fetch;
    enum range_fault fault;
    unsigned fault_count;
    /* what was told */
    unsigned dones, retries;
    bool unchanged, failed, cancel_in_retry;
    struct release *release;
    struct error error;
    enum http_outcome outcome;
    char *body;
    size_t size;
};

static struct fixture shared;

static enum range_fault choose_fault(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct fixture *fixture = owner;

    if (fixture->fault_count == 0 || (fixture->fault_path && strcmp(path, fixture->fault_path) != 0))
        return RANGE_FAULT_NONE;
    fixture->fault_count--;
    return fixture->fault;
}

static void setup(struct fixture *fixture, const char *text)
{
    struct http_settings settings = {0};
    uint8_t image[1000] = {1};

    memset(fixture, 0, sizeof(*fixture));
    fixture->base = event_base_new();
    assert_true(pool_new(fixture->base, 1, &fixture->pool, NULL));
    assert_true(http_new(fixture->base, &settings, &fixture->http, NULL));
    fixture->server = range_server_new(fixture->base);
    fixture->url = range_server_url(fixture->server, "/image");
    struct release *release = publish_release(fixture->url, image, sizeof(image), 100, NULL, 0);
    fixture->text = alloc_string(text ? text : release->manifest_text);
    release_free(release);
    fixture->published =
        range_server_put(fixture->server, "/image.json", fixture->text, strlen(fixture->text), "\"one\"");
    range_server_set_fault(fixture->server, choose_fault, fixture);
}

static void teardown(struct fixture *fixture)
{
    release_free(fixture->release);
    http_free(fixture->http);
    pool_free(fixture->pool);
    range_server_free(fixture->server);
    event_base_free(fixture->base);
    trust_keys_free(fixture->keys);
    url_free(fixture->url);
    free(fixture->signature);
    free(fixture->text);
    free(fixture->body);
}

/* ---- releases ---- */

static void on_release(void *owner, struct release *release, bool unchanged, const struct error *error,
                       uint64_t retry_after_ms)
{
    struct fixture *fixture = owner;

    assert_int_equal((release != NULL) + unchanged + (error != NULL), 1);
    fixture->dones++;
    fixture->release_fetch = NULL;
    release_free(fixture->release);
    fixture->release = release;
    fixture->unchanged = unchanged;
    fixture->failed = error != NULL;
    if (error)
        fixture->error = *error;
    event_base_loopbreak(fixture->base);
}

static void on_release_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct fixture *fixture = owner;

    fixture->retries++;
    if (fixture->cancel_in_retry) {
        fixture->release_fetch = release_fetch_cancel(fixture->release_fetch);
        event_base_loopbreak(fixture->base);
    }
}

static void run_release(struct fixture *fixture, const char *etag)
{
    fixture->dones = 0;
    fixture->release_fetch = release_fetch_start(fixture->http, fixture->pool, fixture->url, etag, NULL,
                                                 &fixture->trust, on_release, fixture);
    assert_int_equal(event_base_dispatch(fixture->base), 0);
    assert_int_equal(fixture->dones, 1);
}

static void test_a_manifest_and_then_the_same(void **state)
{
    setup(&shared, NULL);
    run_release(&shared, NULL);
    assert_non_null(shared.release);
    assert_int_equal(shared.release->manifest->file_size, 1000);
    assert_string_equal(shared.release->etag, "\"one\"");
    assert_true(url_is_equal(shared.release->image_url, shared.url));
    assert_string_equal(shared.release->manifest_text, shared.text);
    CLEANUP_FREE char *etag = alloc_string(shared.release->etag);
    run_release(&shared, etag);
    assert_true(shared.unchanged);
    teardown(&shared);
    assert_null(release_free(NULL));
}

static void test_no_manifest(void **state)
{
    setup(&shared, NULL);
    shared.fault = RANGE_FAULT_MISSING;
    shared.fault_count = 1;
    run_release(&shared, NULL);
    assert_true(shared.failed);
    assert_int_equal(shared.error.kind, ERROR_REMOTE);
    teardown(&shared);
}

static void test_a_manifest_that_makes_no_sense(void **state)
{
    setup(&shared, "{\"chunk_size\":0}");
    run_release(&shared, NULL);
    assert_true(shared.failed);
    assert_int_equal(shared.error.kind, ERROR_FORMAT);
    assert_non_null(strstr(shared.error.message, "/image.json"));
    teardown(&shared);
}

/* ---- signed releases ---- */

/* A signature of the tests' own key is published; the device trusts that key, or another one. */
static void setup_signed(struct fixture *fixture, const char *text, bool trust_own)
{
    uint8_t image[1000] = {1}, *table;
    size_t table_size;

    setup(fixture, text);
    if (!text) {
        chunk_table_free(publish_table(image, sizeof(image), 1024, &table, &table_size));
        struct release *release = publish_release(fixture->url, image, sizeof(image), 100, table, table_size);
        free(fixture->text);
        fixture->text = alloc_string(release->manifest_text);
        fixture->published =
            range_server_put(fixture->server, "/image.json", fixture->text, strlen(fixture->text), "\"one\"");
        release_free(release);
        free(table);
    }
    fixture->signature = publish_signature(fixture->text, strlen(fixture->text));
    fixture->published_signature = range_server_put(fixture->server, "/image.json.minisig",
                                                    fixture->signature, strlen(fixture->signature), NULL);
    fixture->keys = publish_keys(trust_own);
    fixture->trust = (struct trust){.keys = fixture->keys, .demanded = true};
}

static void test_a_signed_manifest(void **state)
{
    setup_signed(&shared, NULL, true);
    run_release(&shared, NULL);
    assert_non_null(shared.release);
    assert_true(shared.release->verdict.is_signed && shared.release->verdict.sha256_only);
    assert_string_equal(shared.release->verdict.comment, "made by a test");
    assert_string_equal(shared.release->signature_text, shared.signature);
    assert_int_equal(shared.published->requests, 1);
    assert_int_equal(shared.published_signature->requests, 1);
    CLEANUP_FREE char *etag = alloc_string(shared.release->etag);
    run_release(&shared, etag);
    assert_true(shared.unchanged);
    assert_int_equal(shared.published_signature->requests, 1);
    teardown(&shared);
}

static void test_both_are_fetched_once_more(void **state)
{
    static const char *const paths[] = {"/image.json", "/image.json.minisig"};

    for (size_t i = 0; i < 2; i++) {
        for (unsigned times = 1; times <= 2; times++) {
            setup_signed(&shared, NULL, true);
            shared.fault = RANGE_FAULT_BAD_BYTES;
            shared.fault_path = paths[i];
            shared.fault_count = times;
            /* Also where the manifest was asked for conditionally. */
            run_release(&shared, "\"none\"");
            assert_int_equal(shared.failed, times == 2);
            if (times == 2)
                assert_int_equal(shared.error.kind, i == 0 ? ERROR_MISMATCH : ERROR_FORMAT);
            assert_int_equal(shared.published->requests, 2);
            assert_int_equal(shared.published_signature->requests, 2);
            teardown(&shared);
        }
    }
}

/* One that makes no sense: it would be a format error if anybody had looked at it. */
static void test_not_a_byte_is_parsed_before(void **state)
{
    setup_signed(&shared, "{\"chunk_size\":0}", false);
    run_release(&shared, NULL);
    assert_true(shared.failed);
    assert_int_equal(shared.error.kind, ERROR_REFUSED);
    assert_non_null(strstr(shared.error.message, "not trusted here"));
    teardown(&shared);
    setup_signed(&shared, "{\"chunk_size\":0}", true);
    run_release(&shared, NULL);
    assert_int_equal(shared.error.kind, ERROR_FORMAT);
    teardown(&shared);
}

static void test_no_signature(void **state)
{
    for (int demanded = 0; demanded < 2; demanded++) {
        setup_signed(&shared, NULL, true);
        shared.trust.demanded = demanded;
        shared.fault = RANGE_FAULT_MISSING;
        shared.fault_path = "/image.json.minisig";
        shared.fault_count = UINT32_MAX;
        run_release(&shared, NULL);
        assert_int_equal(shared.failed, demanded);
        if (demanded) {
            assert_int_equal(shared.error.kind, ERROR_REFUSED);
            assert_non_null(strstr(shared.error.message, "not signed"));
        } else {
            assert_false(shared.release->verdict.is_signed || shared.release->verdict.sha256_only);
            assert_non_null(strstr(shared.release->verdict.why_not, "not signed"));
        }
        teardown(&shared);
    }
    /* Without a key, nothing is any use. */
    setup_signed(&shared, NULL, true);
    shared.trust.keys = NULL;
    run_release(&shared, NULL);
    assert_int_equal(shared.error.kind, ERROR_REFUSED);
    assert_int_equal(shared.published->requests, 1);
    assert_int_equal(shared.published_signature->requests, 0);
    teardown(&shared);
}

static void test_a_server_that_is_busy_says_nothing_of_trust(void **state)
{
    setup_signed(&shared, NULL, true);
    shared.fault = RANGE_FAULT_BUSY;
    shared.fault_path = "/image.json.minisig";
    shared.fault_count = 1;
    run_release(&shared, NULL);
    assert_true(shared.failed);
    assert_int_equal(shared.error.kind, ERROR_REMOTE);
    teardown(&shared);
}

/* At 1,000 random places, through the whole way from the server. */
static void test_one_bit_of_the_manifest(void **state)
{
    struct dice dice = {4};

    for (unsigned i = 0; i < 1000; i++) {
        if (i % 100 == 0)
            setup_signed(&shared, NULL, true);
        size_t bit = dice_below(&dice, (uint32_t)strlen(shared.text) * 8);
        shared.text[bit / 8] = (char)(shared.text[bit / 8] ^ 1 << bit % 8);
        run_release(&shared, NULL);
        assert_true(shared.failed);
        assert_int_equal(shared.error.kind, ERROR_MISMATCH);
        shared.text[bit / 8] = (char)(shared.text[bit / 8] ^ 1 << bit % 8);
        if (i % 100 == 99) {
            run_release(&shared, NULL);
            assert_false(shared.failed);
            teardown(&shared);
        }
    }
}

/* The ancestor's five members prove nothing, whoever signs them. */
static void test_signed_but_without_sha256(void **state)
{
    setup(&shared, NULL);
    CLEANUP_FREE char *text = alloc_string(shared.text);
    teardown(&shared);
    for (int demanded = 0; demanded < 2; demanded++) {
        setup_signed(&shared, text, true);
        shared.trust.demanded = demanded;
        run_release(&shared, NULL);
        assert_int_equal(shared.failed, demanded);
        if (demanded)
            assert_int_equal(shared.error.kind, ERROR_REFUSED);
        teardown(&shared);
    }
}

/* As ranges are: one answer of 503 for either of the files, where there is patience. */
static void test_patience(void **state)
{
    static const char *const paths[] = {"/image.json", "/image.json.minisig"};

    for (unsigned i = 0; i < 4; i++) {
        bool patient = i >= 2;
        setup_signed(&shared, NULL, true);
        shared.fault = RANGE_FAULT_BUSY;
        shared.fault_path = paths[i % 2];
        shared.fault_count = 1;
        shared.dones = shared.retries = 0;
        shared.release_fetch = release_fetch_start(shared.http, shared.pool, shared.url, "\"none\"", NULL,
                                                   &shared.trust, on_release, &shared);
        if (patient)
            release_fetch_set_patience(shared.release_fetch, 60 * 1000, true, on_release_retry);
        assert_int_equal(event_base_dispatch(shared.base), 0);
        assert_int_equal(shared.dones, 1);
        assert_int_equal(shared.retries, patient);
        assert_int_equal(shared.failed, !patient);
        if (patient) {
            assert_true(shared.release->verdict.is_signed);
            assert_string_equal(shared.release->etag, "\"one\"");
        }
        assert_int_equal(shared.published->requests, i == 2 ? 2 : 1);
        teardown(&shared);
    }
}

/* A name that was mistyped is told at once. */
static void test_patience_with_answers_only(void **state)
{
    for (int answers_only = 0; answers_only < 2; answers_only++) {
        struct url *nobody;
        setup(&shared, NULL);
        assert_true(url_new("http://127.0.0.1:1/image", &nobody, NULL));
        shared.cancel_in_retry = true;
        shared.release_fetch = release_fetch_start(shared.http, shared.pool, nobody, NULL, NULL,
                                                   &shared.trust, on_release, &shared);
        release_fetch_set_patience(shared.release_fetch, 600 * 1000, answers_only, on_release_retry);
        assert_int_equal(event_base_dispatch(shared.base), 0);
        assert_int_equal(shared.dones, answers_only);
        assert_int_equal(shared.failed, answers_only);
        assert_int_equal(shared.retries, !answers_only);
        url_free(nobody);
        teardown(&shared);
    }
}

/* As long as a publication takes, where that was asked for; and then its own fault is told. */
static void test_a_signature_is_waited_for(void **state)
{
    static const struct {
        const char *path;
        enum range_fault fault;
        unsigned count, requests, retries;
        uint64_t give_up_ms;
        bool cancelled;
    } cases[] = {
        {"/image.json.minisig", RANGE_FAULT_MISSING, 2, 3, 2, 60 * 1000, false},
        {"/image.json.minisig", RANGE_FAULT_BAD_BYTES, 2, 3, 2, 60 * 1000, false},
        {"/image.json", RANGE_FAULT_BAD_BYTES, 2, 3, 2, 60 * 1000, false},
        {"/image.json.minisig", RANGE_FAULT_MISSING, UINT32_MAX, 2, 0, 0, false},
        {"/image.json.minisig", RANGE_FAULT_MISSING, UINT32_MAX, 1, 1, 60 * 1000, true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        setup_signed(&shared, NULL, true);
        shared.fault = cases[i].fault;
        shared.fault_path = cases[i].path;
        shared.fault_count = cases[i].count;
        shared.cancel_in_retry = cases[i].cancelled;
        shared.dones = shared.retries = 0;
        shared.release_fetch = release_fetch_start(shared.http, shared.pool, shared.url, NULL, NULL,
                                                   &shared.trust, on_release, &shared);
        release_fetch_set_patience(shared.release_fetch, 60 * 1000, true, on_release_retry);
        release_fetch_wait_for_signature(shared.release_fetch, cases[i].give_up_ms);
        assert_int_equal(event_base_dispatch(shared.base), 0);
        assert_int_equal(shared.dones, !cases[i].cancelled);
        assert_int_equal(shared.retries, cases[i].retries);
        assert_int_equal(shared.failed, cases[i].count == UINT32_MAX && !cases[i].cancelled);
        if (shared.failed)
            assert_int_equal(shared.error.kind, ERROR_REFUSED);
        assert_int_equal(shared.published->requests, cases[i].requests);
        teardown(&shared);
    }
}

/* It is over when the time is, and nothing was read less than twice. */
static void test_a_signature_is_given_up(void **state)
{
    setup_signed(&shared, NULL, true);
    shared.fault = RANGE_FAULT_MISSING;
    shared.fault_path = "/image.json.minisig";
    shared.fault_count = UINT32_MAX;
    shared.dones = shared.retries = 0;
    shared.release_fetch = release_fetch_start(shared.http, shared.pool, shared.url, NULL, NULL,
                                               &shared.trust, on_release, &shared);
    release_fetch_set_patience(shared.release_fetch, 60 * 1000, false, on_release_retry);
    release_fetch_wait_for_signature(shared.release_fetch, 1500);
    assert_int_equal(event_base_dispatch(shared.base), 0);
    assert_true(shared.failed);
    assert_int_equal(shared.error.kind, ERROR_REFUSED);
    assert_true(shared.retries >= 1 && shared.published->requests == 1 + shared.retries);
    teardown(&shared);
}

static void test_local_files_go_through_the_same_gate(void **state)
{
    struct release *release;
    struct error error;

    setup_signed(&shared, NULL, true);
    CLEANUP_FREE char *text = alloc_string(shared.text);
    assert_false(release_from_text(shared.url, text, strlen(text), NULL, 0, &shared.trust, &release, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_true(release_from_text(shared.url, alloc_string(text), strlen(text),
                                  alloc_string(shared.signature), strlen(shared.signature), &shared.trust,
                                  &release, &error));
    assert_true(release->verdict.is_signed);
    release_free(release);
    text[10] ^= 1;
    assert_false(release_from_text(shared.url, text, strlen(text), shared.signature, strlen(shared.signature),
                                   &shared.trust, &release, &error));
    assert_int_equal(error.kind, ERROR_MISMATCH);
    teardown(&shared);
}

/* At any turn; and the rest of the engine goes at once, as a program that ends does it. */
static void test_cancelled_after_any_turn_of_the_loop(void **state)
{
    for (unsigned turns = 0; turns < 200; turns++) {
        setup(&shared, NULL);
        shared.release_fetch = release_fetch_start(shared.http, shared.pool, shared.url, NULL, NULL,
                                                   &shared.trust, on_release, &shared);
        for (unsigned i = 0; i < turns && shared.dones == 0; i++)
            event_base_loop(shared.base, EVLOOP_ONCE);
        bool over = shared.dones > 0;
        shared.release_fetch = release_fetch_cancel(shared.release_fetch);
        if (turns % 2)
            event_base_loop(shared.base, EVLOOP_NONBLOCK);
        assert_int_equal(shared.dones, over);
        teardown(&shared);
        if (over)
            return;
    }
    fail_msg("it never came to an end");
}

/* ---- files fetched with patience ---- */

static void on_fetch_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct fixture *fixture = owner;

    fixture->retries++;
    if (fixture->cancel_in_retry) {
        fixture->fetch = fetch_cancel(fixture->fetch);
        event_base_loopbreak(fixture->base);
    }
}

static void on_fetched(void *owner, char *body, size_t size, enum http_outcome outcome,
                       const struct error *error)
{
    struct fixture *fixture = owner;

    fixture->dones++;
    fixture->fetch = NULL;
    fixture->body = body;
    fixture->size = size;
    fixture->outcome = outcome;
    fixture->failed = error != NULL;
    if (error)
        fixture->error = *error;
    event_base_loopbreak(fixture->base);
}

static void run_fetch(struct fixture *fixture, uint64_t give_up_ms)
{
    static const struct fetch_events events = {.retry = on_fetch_retry, .done = on_fetched};
    struct url *url = url_append_to_path(fixture->url, ".json");

    fixture->fetch = fetch_start(fixture->base, fixture->http, url, 100 * 1000, give_up_ms, &events, fixture);
    url_free(url);
    assert_int_equal(event_base_dispatch(fixture->base), 0);
}

static void test_a_file_is_fetched_again_and_again(void **state)
{
    setup(&shared, NULL);
    shared.fault = RANGE_FAULT_HALF;
    shared.fault_count = 2;
    run_fetch(&shared, 60 * 1000);
    assert_int_equal(shared.dones, 1);
    assert_int_equal(shared.retries, 2);
    assert_int_equal(shared.size, strlen(shared.text));
    assert_string_equal(shared.body, shared.text);
    teardown(&shared);
}

static void test_a_file_is_given_up(void **state)
{
    setup(&shared, NULL);
    shared.fault = RANGE_FAULT_BUSY;
    shared.fault_count = UINT32_MAX;
    run_fetch(&shared, 1);
    assert_int_equal(shared.dones, 1);
    assert_true(shared.failed && strstr(shared.error.message, "503"));
    teardown(&shared);

    setup(&shared, NULL);
    shared.fault = RANGE_FAULT_MISSING;
    shared.fault_count = UINT32_MAX;
    run_fetch(&shared, 60 * 1000);
    assert_true(shared.failed && shared.retries == 0 && shared.published->requests == 1);
    teardown(&shared);
}

static void run_fetch_range(struct fixture *fixture, uint64_t offset, size_t size, uint64_t total_size)
{
    static const struct fetch_events events = {.retry = on_fetch_retry, .done = on_fetched};
    struct url *url = url_append_to_path(fixture->url, ".json");

    fixture->dones = 0;
    fixture->fetch = fetch_start_range(fixture->base, fixture->http, url, offset, size, total_size, 60 * 1000,
                                       &events, fixture);
    url_free(url);
    assert_int_equal(event_base_dispatch(fixture->base), 0);
    assert_int_equal(fixture->dones, 1);
}

/* But one that was there a moment ago is, and so is one of another size. */
static void test_a_range_of_what_never_was_there_is_not_replaced(void **state)
{
    uint64_t size;

    setup(&shared, NULL);
    size = strlen(shared.text);
    shared.fault = RANGE_FAULT_MISSING;
    shared.fault_count = 1;
    run_fetch_range(&shared, 2, 10, size);
    assert_true(shared.failed);
    assert_int_equal(shared.outcome, HTTP_OUTCOME_FAILED);
    run_fetch_range(&shared, 2, 10, size + 1);
    assert_true(shared.failed);
    assert_int_equal(shared.outcome, HTTP_OUTCOME_CHANGED);
    run_fetch_range(&shared, 2, 10, size);
    assert_false(shared.failed);
    assert_memory_equal(shared.body, shared.text + 2, 10);
    teardown(&shared);
}

static void test_cancelled_within_the_retry(void **state)
{
    setup(&shared, NULL);
    shared.fault = RANGE_FAULT_BUSY;
    shared.fault_count = UINT32_MAX;
    shared.cancel_in_retry = true;
    run_fetch(&shared, 60 * 1000);
    event_base_loop(shared.base, EVLOOP_NONBLOCK);
    assert_int_equal(shared.dones, 0);
    teardown(&shared);
    assert_null(fetch_cancel(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_manifest_and_then_the_same),
        cmocka_unit_test(test_no_manifest),
        cmocka_unit_test(test_a_manifest_that_makes_no_sense),
        cmocka_unit_test(test_a_signed_manifest),
        cmocka_unit_test(test_both_are_fetched_once_more),
        cmocka_unit_test(test_not_a_byte_is_parsed_before),
        cmocka_unit_test(test_no_signature),
        cmocka_unit_test(test_a_server_that_is_busy_says_nothing_of_trust),
        cmocka_unit_test(test_one_bit_of_the_manifest),
        cmocka_unit_test(test_signed_but_without_sha256),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_patience_with_answers_only),
        cmocka_unit_test(test_a_signature_is_waited_for),
        cmocka_unit_test(test_a_signature_is_given_up),
        cmocka_unit_test(test_local_files_go_through_the_same_gate),
        cmocka_unit_test(test_cancelled_after_any_turn_of_the_loop),
        cmocka_unit_test(test_a_file_is_fetched_again_and_again),
        cmocka_unit_test(test_a_file_is_given_up),
        cmocka_unit_test(test_a_range_of_what_never_was_there_is_not_replaced),
        cmocka_unit_test(test_cancelled_within_the_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
