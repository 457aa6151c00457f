/* SPDX-License-Identifier: MIT */
/* Every way a server can behave has its outcome. Runs against the
 * misbehaving server on loopback; names are resolved here, so that no name server is needed. */
#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/web_server.h"

enum {
    IMAGE_SIZE = 300000,
    OFFSET = 1000,
    SIZE = 20000,
};

static struct web_server server;
static struct event_base *base;
static struct http *http;
static uint8_t image[IMAGE_SIZE];
static struct http_settings settings = {.connections = 4, .stall_timeout_ms = 1000};

/* In place of the C library's, also for curl's resolver thread. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_info)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (name && strcmp(name, "unknown.invalid") == 0)
        return EAI_NONAME;
    if (name && strcmp(name, "silent.invalid") == 0)
        sleep(4);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name && strstr(name, ".invalid") ? "127.0.0.1" : name, service, hints, ret_info);
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int set_up_all(void **state)
{
    for (size_t i = 0; i < sizeof(image); i++)
        image[i] = (uint8_t)(i * 2654435761U >> 13);
    web_server_start(&server, image, sizeof(image), NULL, NULL);
    return 0;
}

static int tear_down_all(void **state)
{
    web_server_stop(&server);
    return 0;
}

static int set_up(void **state)
{
    struct error error;

    base = event_base_new();
    assert_non_null(base);
    if (!http_new(base, &settings, &http, &error))
        fail_msg("%s", error.message);
    return 0;
}

/* Also the test that an idle http holds no timer and no socket event: it would keep the loop running. */
static int tear_down(void **state)
{
    if (http)
        assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    http = http_free(http);
    event_base_free(base);
    return 0;
}

static void set_up_with(const struct http_settings *other)
{
    struct error error;

    http = http_free(http);
    if (!http_new(base, other, &http, &error))
        fail_msg("%s", error.message);
}

static struct web_result get_url(const char *url)
{
    struct web_result result = {0};
    struct http_get get = {.url = url, .max_size = IMAGE_SIZE, .progress = web_result_progress};

    http_get(http, &get, web_result_set, &result);
    web_wait(base, &result.done);
    return result;
}

static struct web_result get(const char *path)
{
    CLEANUP_FREE char *url = web_server_url(&server, path);

    return get_url(url);
}

static uint8_t buffer[SIZE + 100];

static struct web_result get_range(const char *path, const char *etag, uint64_t total_size)
{
    CLEANUP_FREE char *url = web_server_url(&server, path);
    struct web_result result = {0};
    struct http_get_range range = {.url = url,
                                   .offset = OFFSET,
                                   .size = SIZE,
                                   .buffer = buffer,
                                   .etag = etag,
                                   .total_size = total_size,
                                   .progress = web_result_progress};

    memset(buffer, 0xa5, sizeof(buffer));
    http_get_range(http, &range, web_result_set, &result);
    web_wait(base, &result.done);
    for (size_t i = SIZE; i < sizeof(buffer); i++)
        assert_int_equal(buffer[i], 0xa5);
    return result;
}

static void expect(const struct web_result *result, enum http_outcome outcome, const char *phrase)
{
    if (result->outcome != outcome)
        fail_msg("outcome %d instead of %d: %s", (int)result->outcome, (int)outcome, result->message);
    if (phrase && !strstr(result->message, phrase))
        fail_msg("'%s' is not in '%s'", phrase, result->message);
    if (strstr(result->message, "secret"))
        fail_msg("tells a password: %s", result->message);
    assert_int_equal(result->kind == ERROR_NONE,
                     outcome == HTTP_OUTCOME_OK || outcome == HTTP_OUTCOME_NOT_MODIFIED);
}

static void test_whole_file(void **state)
{
    uint64_t before = http_received_bytes(http);
    struct web_result result = get("image");

    expect(&result, HTTP_OUTCOME_OK, NULL);
    assert_int_equal(result.status, 200);
    assert_int_equal(result.body_size, IMAGE_SIZE);
    assert_memory_equal(result.body, image, IMAGE_SIZE);
    assert_int_equal(result.body[IMAGE_SIZE], 0);
    assert_int_equal(result.total_size, IMAGE_SIZE);
    assert_int_equal(result.received_bytes, IMAGE_SIZE);
    assert_int_equal(result.progress_bytes, IMAGE_SIZE);
    assert_int_equal(http_received_bytes(http) - before, IMAGE_SIZE);
    free(result.body);
}

static void test_conditional(void **state)
{
    CLEANUP_FREE char *url = web_server_url(&server, "image");
    CLEANUP_FREE char *weak_url = web_server_url(&server, "weak-etag/image");
    struct web_result first = get("image"), weak = get("weak-etag/image");
    const struct http_get gets[] = {
        {.url = url, .max_size = IMAGE_SIZE, .if_none_match = first.etag},
        {.url = url, .max_size = IMAGE_SIZE, .if_modified_since = first.last_modified},
        {.url = weak_url, .max_size = IMAGE_SIZE, .if_none_match = weak.etag},
        {.url = url,
         .max_size = IMAGE_SIZE,
         .if_none_match = "\"other\"",
         .if_modified_since = first.last_modified},
        {.url = url, .max_size = IMAGE_SIZE, .if_none_match = "\"a\"\r\nRange: bytes=0-1"},
    };

    free(first.body);
    free(weak.body);
    for (size_t i = 0; i < sizeof(gets) / sizeof(gets[0]); i++) {
        struct web_result result = {0};
        http_get(http, &gets[i], web_result_set, &result);
        web_wait(base, &result.done);
        expect(&result, i < 3 ? HTTP_OUTCOME_NOT_MODIFIED : HTTP_OUTCOME_OK, NULL);
        assert_int_equal(result.received_bytes, i < 3 ? 0 : IMAGE_SIZE);
        free(result.body);
    }
}

static void test_range(void **state)
{
    struct web_result result = get_range("image", NULL, 0);

    expect(&result, HTTP_OUTCOME_OK, NULL);
    assert_int_equal(result.status, 206);
    assert_int_equal(result.total_size, IMAGE_SIZE);
    assert_int_equal(result.body_size, SIZE);
    assert_int_equal(result.received_bytes, SIZE);
    assert_int_equal(result.progress_bytes, SIZE);
    assert_null(result.body);
    assert_memory_equal(buffer, image + OFFSET, SIZE);

    struct web_result pinned = get_range("image", result.etag, IMAGE_SIZE);
    expect(&pinned, HTTP_OUTCOME_OK, NULL);
}

static void test_ranges_of_another_file(void **state)
{
    struct web_result first = get_range("image", NULL, 0);
    static const char *const answers[] = {"image", "200-range/image", "no-etag/image", "wrong-etag/image"};
    struct web_result result;

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        result = get_range(answers[i], "\"other\"", 0);
        if (strcmp(answers[i], "no-etag/image") != 0)
            expect(&result, HTTP_OUTCOME_CHANGED, "replaced on the server");
        assert_int_equal(result.body_size, i == 2 ? SIZE : 0);
    }
    result = get_range("image", "W/\"other\"", 0);
    expect(&result, HTTP_OUTCOME_CHANGED, "ETag");
    result = get_range("image", NULL, IMAGE_SIZE + 1);
    expect(&result, HTTP_OUTCOME_CHANGED, "size");
    result = get_range("200-range/image", first.etag, IMAGE_SIZE);
    expect(&result, HTTP_OUTCOME_FAILED, "range requests");
    result = get_range("404/image", first.etag, IMAGE_SIZE);
    expect(&result, HTTP_OUTCOME_CHANGED, "gone");
    result = get_range("416/image", first.etag, IMAGE_SIZE);
    expect(&result, HTTP_OUTCOME_CHANGED, "range");
    for (int i = 0; i < 3; i++)
        result = get_range("changing/image", first.etag, IMAGE_SIZE);
    expect(&result, HTTP_OUTCOME_CHANGED, NULL);
}

static void test_whole_file_as_a_range(void **state)
{
    static const char *const answers[] = {"200-range/image", "chunked/image", "no-length/image", "image"};
    uint8_t *whole = malloc(IMAGE_SIZE);

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        CLEANUP_FREE char *url = web_server_url(&server, answers[i]);
        struct http_get_range range = {.url = url, .size = IMAGE_SIZE, .buffer = whole};
        struct web_result result = {0};
        memset(whole, 0, IMAGE_SIZE);
        http_get_range(http, &range, web_result_set, &result);
        web_wait(base, &result.done);
        expect(&result, HTTP_OUTCOME_OK, NULL);
        assert_memory_equal(whole, image, IMAGE_SIZE);
        assert_int_equal(result.total_size, IMAGE_SIZE);
    }
    free(whole);
}

/* How whole files and ranges end under each behaviour; the sentence is the range's. */
static void test_behaviours(void **state)
{
    enum http_outcome ok = HTTP_OUTCOME_OK, transient = HTTP_OUTCOME_TRANSIENT, failed = HTTP_OUTCOME_FAILED;
    const struct {
        const char *path;
        enum http_outcome get, range;
        const char *phrase;
    } cases[] = {
        {"200-range/image", ok, failed, "does not answer range requests"},
        {"wrong-range/image", ok, failed, "bytes 1001-21000"},
        {"no-content-range/image", ok, failed, "no Content-Range"},
        {"multipart/image", ok, failed, "no Content-Range"},
        {"short/image", transient, transient, "after 10000 of 20000 bytes"},
        {"long/image", failed, failed, "more"},
        {"lying-length/image", failed, failed, "21000 bytes"},
        {"gzip/image", failed, failed, "compressed"},
        {"chunked/image", ok, ok, NULL},
        {"byte-chunks/image", ok, ok, NULL},
        {"fat-header/image", ok, ok, NULL},
        {"padding/image", failed, failed, "beside the body"},
        {"trailing/image", failed, failed, "sent more"},
        {"trailer/image", ok, ok, NULL},
        {"hints/image", ok, ok, NULL},
        {"no-length/image", ok, ok, NULL},
        {"close/image", ok, ok, NULL},
        {"no-etag/image", ok, ok, NULL},
        {"weak-etag/image", ok, ok, NULL},
        {"redirect/image", ok, ok, NULL},
        {"redirect-5/image", ok, ok, NULL},
        {"redirect-6/image", failed, failed, "more than 5 redirects"},
        {"redirect-loop/image", failed, failed, "more than 5 redirects"},
        {"redirect-file/image", failed, failed, "only http and https"},
        {"redirect/image?to=ftp://127.0.0.1/x", failed, failed, "only http and https"},
        {"redirect-nowhere/image", failed, failed, "no place to go"},
        {"redirect-endless/image", failed, failed, "more than 16384 bytes"},
        {"redirect-huge/image", failed, failed, "more than 16384 bytes"},
        {"reset/image", transient, transient, "reset"},
        {"reset-now/image", transient, transient, "reset"},
        {"endless/image", failed, failed, "more"},
        {"endless-header/image", failed, failed, "header"},
        {"endless-line/image", failed, failed, "header"},
        {"garbage/image", failed, failed, "not HTTP"},
        {"304/image", failed, failed, "304"},
        {"503/image", transient, transient, "503 Service Unavailable"},
        {"429/image", transient, transient, "429 Too Many Requests"},
        {"500/image", transient, transient, "500 Internal Server Error"},
        {"404/image", failed, failed, "404 Not Found"},
        {"403/image", failed, failed, "403 Forbidden"},
        {"absent", failed, failed, "404 Not Found"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct web_result whole = get(cases[i].path);
        expect(&whole, cases[i].get, NULL);
        if (cases[i].get == ok)
            assert_memory_equal(whole.body, image, IMAGE_SIZE);
        else
            assert_null(whole.body);
        free(whole.body);
        struct web_result range = get_range(cases[i].path, NULL, 0);
        expect(&range, cases[i].range, cases[i].phrase);
        if (cases[i].range == ok)
            assert_memory_equal(buffer, image + OFFSET, SIZE);
    }
    struct web_result later = get("503/image");
    expect(&later, HTTP_OUTCOME_OK, NULL);
    free(later.body);
}

static void test_what_came_of_a_broken_range_is_counted(void **state)
{
    struct web_result result = get_range("reset/image", NULL, 0);

    expect(&result, HTTP_OUTCOME_TRANSIENT, NULL);
    assert_true(result.body_size <= SIZE / 2);
    assert_memory_equal(buffer, image + OFFSET, result.body_size);
    result = get_range("short/image", NULL, 0);
    assert_int_equal(result.body_size, SIZE / 2);
    assert_memory_equal(buffer, image + OFFSET, SIZE / 2);
    result = get_range("long/image", NULL, 0);
    assert_int_equal(result.body_size, 0);
}

/* curl tells nobody of the body of a redirect that it follows; it counts nevertheless. */
static void test_bodies_of_redirects_are_counted(void **state)
{
    static const char *const endless[] = {"redirect-endless/image", "redirect-huge/image"};
    uint64_t before = http_received_bytes(http);
    struct web_result result = get("redirect/image");

    /* "status 302\n", and the file. */
    expect(&result, HTTP_OUTCOME_OK, NULL);
    assert_int_equal(result.received_bytes, IMAGE_SIZE + strlen("status 302\n"));
    assert_int_equal(http_received_bytes(http) - before, result.received_bytes);
    assert_int_equal(result.progress_bytes, IMAGE_SIZE);
    free(result.body);
    result = get_range("redirect-5/image", NULL, 0);
    expect(&result, HTTP_OUTCOME_OK, NULL);
    assert_in_range(result.received_bytes, SIZE + strlen("status 302\n"), SIZE + 5 * strlen("status 302\n"));
    for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
        before = http_received_bytes(http);
        result = get_range(endless[i], NULL, 0);
        assert_in_range(result.received_bytes, 16 * 1024 + 1, 16 * 1024 * 1024);
        assert_int_equal(http_received_bytes(http) - before, result.received_bytes);
        assert_int_equal(result.body_size, 0);
    }
}

/* So is what surrounds a body, and headers that are longer than headers are. */
static void test_what_is_beside_bodies_is_counted(void **state)
{
    const struct {
        const char *path;
        uint64_t bytes;
    } cases[] = {
        {"byte-chunks/image", IMAGE_SIZE * strlen("1\r\nx\r\n")},
        {"fat-header/image", IMAGE_SIZE + 56 * 1000},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t before = http_received_bytes(http);
        struct web_result result = get(cases[i].path);
        expect(&result, HTTP_OUTCOME_OK, NULL);
        assert_in_range(result.received_bytes, cases[i].bytes, cases[i].bytes + 5000);
        assert_int_equal(http_received_bytes(http) - before, result.received_bytes);
        assert_int_equal(result.progress_bytes, IMAGE_SIZE);
        free(result.body);
    }
    /* In chunks of 4096 bytes, each with an extension. */
    struct web_result result = get_range("padded/image", NULL, 0);
    expect(&result, HTTP_OUTCOME_OK, NULL);
    assert_in_range(result.received_bytes, SIZE + (SIZE + 4095) / 4096 * 60000,
                    SIZE + (SIZE + 4095) / 4096 * 60010);
    /* So is what a cache sends around a range. */
    result = get_range("widened/image", NULL, 0);
    expect(&result, HTTP_OUTCOME_OK, NULL);
    assert_int_equal(result.body_size, SIZE);
    assert_in_range(result.received_bytes, OFFSET + SIZE, IMAGE_SIZE);
    uint64_t before = http_received_bytes(http);
    result = get("padding/image");
    expect(&result, HTTP_OUTCOME_FAILED, "beside the body");
    assert_in_range(result.received_bytes, 256 * 1024 + 1, 16 * 1024 * 1024);
    assert_int_equal(http_received_bytes(http) - before, result.received_bytes);
}

/* Fast enough not to stall. What was asked for with a deadline does not last longer than its bytes may take.
 */
static void test_deadlines(void **state)
{
    CLEANUP_FREE char *url = web_server_url(&server, "drip/image");
    struct web_result results[2] = {0};
    struct http_get get = {.url = url, .max_size = 12 * 1024 * 1024};
    struct http_get_range range = {
        .url = url, .offset = OFFSET, .size = SIZE, .buffer = buffer, .deadline = true};

    http_get(http, &get, web_result_set, &results[0]);
    http_get_range(http, &range, web_result_set, &results[1]);
    for (size_t i = 0; i < 2; i++) {
        web_wait(base, &results[i].done);
        expect(&results[i], HTTP_OUTCOME_TRANSIENT, "timeout");
        assert_int_equal(results[i].kind, ERROR_NETWORK);
        assert_true(results[i].received_bytes > 0);
    }
    /* What came of the range is worth keeping. */
    assert_int_equal(results[1].body_size, results[1].received_bytes);
    assert_int_equal(http_deadline_ms(http, 0), 4000);
    assert_int_equal(http_deadline_ms(http, 10 * 1024), 14000);

    struct http_settings slow = {.connections = 2, .rate_limit_bytes_s = 400};
    set_up_with(&slow);
    assert_int_equal(http_deadline_ms(http, 1000), 4 * 30000 + 10000);
}

/* An answer has to begin in time also where its bytes may take theirs. curl has no bound for a proxy that
 * talks much before it lets us through. */
static void test_a_proxy_that_talks_on_and_on(void **state)
{
    CLEANUP_FREE char *proxy = web_server_url(&server, "");
    struct http_settings through = settings;
    struct web_result result = {0};
    struct http_get_range range = {
        .url = "https://unknown.invalid/image", .offset = OFFSET, .size = SIZE, .buffer = buffer};

    through.proxy = proxy;
    set_up_with(&through);
    http_get_range(http, &range, web_result_set, &result);
    web_wait(base, &result.done);
    expect(&result, HTTP_OUTCOME_TRANSIENT, NULL);
    assert_int_equal(result.kind, ERROR_NETWORK);
}

static void test_retry_after(void **state)
{
    struct web_result result = get("429/image?times=9&retry=7");

    expect(&result, HTTP_OUTCOME_TRANSIENT, NULL);
    assert_int_equal(result.retry_after_ms, 7000);
    /* It stands until something is answered as it should be. */
    assert_in_range(http_wish_ms(http), 1, 7000);
    get("404/image");
    assert_in_range(http_wish_ms(http), 1, 7000);
    free(get("image").body);
    assert_int_equal(http_wish_ms(http), 0);
}

/* Four at the same time, each a second long. */
static void test_stalls(void **state)
{
    static const char *const paths[] = {"silent/image", "stall/image", "slow/image", "stall/image?2"};
    struct web_result results[4] = {0};
    double start = now_s();

    for (size_t i = 0; i < 4; i++) {
        CLEANUP_FREE char *url = web_server_url(&server, paths[i]);
        http_get(http, &(struct http_get){.url = url, .max_size = IMAGE_SIZE}, web_result_set, &results[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        web_wait(base, &results[i].done);
        expect(&results[i], HTTP_OUTCOME_TRANSIENT, "timeout");
        assert_int_equal(results[i].kind, ERROR_NETWORK);
    }
    assert_true(now_s() - start >= 1.0);
    /* curl averages over five seconds, so a burst just before counts for so long. */
    assert_true(now_s() - start < 12.0);
}

/* Waiting for a turn is not stalling. */
static void test_queue(void **state)
{
    struct http_settings one = {.connections = 1, .stall_timeout_ms = 1000};
    struct web_result silent[2] = {0}, last = {0};
    CLEANUP_FREE char *url = web_server_url(&server, "silent/image");
    CLEANUP_FREE char *last_url = web_server_url(&server, "image");

    set_up_with(&one);
    for (size_t i = 0; i < 2; i++)
        http_get(http, &(struct http_get){.url = url, .max_size = 1}, web_result_set, &silent[i]);
    http_get(http, &(struct http_get){.url = last_url, .max_size = IMAGE_SIZE}, web_result_set, &last);
    web_wait(base, &last.done);
    assert_true(silent[0].done && silent[1].done);
    expect(&last, HTTP_OUTCOME_OK, NULL);
    free(last.body);
}

static unsigned stats_number(const char *stats, const char *name)
{
    const char *at = strstr(stats, name);

    assert_non_null(at);
    return (unsigned)atoi(at + strlen(name));
}

static void test_connections_are_few_and_used_again(void **state)
{
    struct http_settings two = {.connections = 2};
    struct web_result results[20] = {0}, stats;
    CLEANUP_FREE char *url = web_server_url(&server, "image");

    set_up_with(&two);
    free(get("__reset").body);
    for (size_t i = 0; i < 20; i++)
        http_get(http, &(struct http_get){.url = url, .max_size = IMAGE_SIZE}, web_result_set, &results[i]);
    for (size_t i = 0; i < 20; i++) {
        web_wait(base, &results[i].done);
        expect(&results[i], HTTP_OUTCOME_OK, NULL);
        free(results[i].body);
    }
    /* The server counts a piece when it has been sent, which may be after it was received. */
    stats = get("__stats");
    for (unsigned i = 0; i < 1000 && stats_number(stats.body, "\"bytes\": ") < 20 * IMAGE_SIZE; i++) {
        free(stats.body);
        stats = get("__stats");
    }
    assert_int_equal(stats_number(stats.body, "\"requests\": "), 20);
    assert_int_equal(stats_number(stats.body, "\"bytes\": "), 20 * IMAGE_SIZE);
    assert_in_range(stats_number(stats.body, "\"peak\": "), 1, 2);
    assert_in_range(stats_number(stats.body, "\"connections\": "), 0, 2);
    free(stats.body);
}

static void test_rate_limit(void **state)
{
    struct http_settings slow = {.connections = 2, .rate_limit_bytes_s = 900000};
    struct web_result results[3] = {0};
    CLEANUP_FREE char *url = web_server_url(&server, "image");
    struct http_get get = {.url = url, .max_size = IMAGE_SIZE};
    double start;

    set_up_with(&slow);
    start = now_s();
    for (size_t i = 0; i < 3; i++)
        http_get(http, &get, web_result_set, &results[i]);
    for (size_t i = 0; i < 3; i++) {
        web_wait(base, &results[i].done);
        expect(&results[i], HTTP_OUTCOME_OK, NULL);
        assert_memory_equal(results[i].body, image, IMAGE_SIZE);
        free(results[i].body);
    }
    /* 900 kB, whatever the number of requests: the limit is of all together. */
    assert_in_range((unsigned)((now_s() - start) * 1000), 900, 2000);
}

static void test_names(void **state)
{
    CLEANUP_FREE char *url = alloc_printf("http://some.invalid:%u/image", server.port);
    struct web_result result = get_url(url);

    expect(&result, HTTP_OUTCOME_OK, NULL);
    free(result.body);
    result = get_url("http://user:secret@unknown.invalid/x");
    expect(&result, HTTP_OUTCOME_TRANSIENT, "no address for http://unknown.invalid/x");
    assert_int_equal(result.kind, ERROR_NETWORK);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    double *times = arg; /* the last tick, the longest gap */
    double now = now_s();

    if (now - times[0] > times[1])
        times[1] = now - times[0];
    times[0] = now;
}

static void test_a_silent_name_server_does_not_hold_the_loop(void **state)
{
    double times[2] = {now_s(), 0};
    struct timeval often = {.tv_usec = 20000};
    struct event *tick = event_new(base, -1, EV_PERSIST, on_tick, times);

    event_add(tick, &often);
    struct web_result result = get_url("http://silent.invalid/x");
    expect(&result, HTTP_OUTCOME_TRANSIENT, "silent.invalid");
    assert_in_range((unsigned)(times[1] * 1000), 0, 900);

    struct web_result cancelled = {0};
    struct http_get get = {.url = "http://silent.invalid/y", .max_size = 1};
    struct http_request *request = http_get(http, &get, web_result_set, &cancelled);
    event_base_loop(base, EVLOOP_ONCE);
    times[0] = now_s();
    assert_null(http_cancel(request));
    assert_true(now_s() - times[0] < 0.9);
    assert_false(cancelled.done);
    event_free(tick);
}

static void test_senseless_urls(void **state)
{
    static const char *const urls[] = {"",
                                       "http://",
                                       "nonsense with blanks",
                                       "http://user:secret@host:99999/",
                                       "http:///user:secret@/x",
                                       "http://[::1/",
                                       "http://a\r\nb/"};
    struct web_result result;
    char *long_url = alloc_zeroed(10001);

    memset(long_url, 'a', 10000);
    memcpy(long_url, "http://127.0.0.1:1/", strlen("http://127.0.0.1:1/"));
    result = get_url(long_url);
    expect(&result, HTTP_OUTCOME_FAILED, "correct the URL");
    free(long_url);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        result = get_url(urls[i]);
        expect(&result, HTTP_OUTCOME_FAILED, "correct the URL");
        assert_int_equal(result.kind, ERROR_REFUSED);
    }
    result = get_url("file:///etc/hostname");
    expect(&result, HTTP_OUTCOME_FAILED, "must begin with http");
    result = get_url("ftp://user:secret@127.0.0.1/x");
    expect(&result, HTTP_OUTCOME_FAILED, "ftp://127.0.0.1/x");
    result = get_url("http://user:secret@127.0.0.1:1/x");
    expect(&result, HTTP_OUTCOME_TRANSIENT, "no connection for http://127.0.0.1:1/x");
}

static void test_headers(void **state)
{
    static const char *const good[] = {"X-Device: 7", "Authorization: Bearer key", NULL};
    static const char *const bad[][2] = {{"no colon", NULL},
                                         {": value", NULL},
                                         {"A: b\r\nC: d", NULL},
                                         {"Range: bytes=0-1", NULL},
                                         {"if-match: *", NULL},
                                         {"Range : bytes=0-1", NULL},
                                         {"accept-encoding: gzip", NULL}};
    struct http_settings with = {.headers = good};
    struct http *other = NULL;

    set_up_with(&with);
    struct web_result result = get("echo/image");
    expect(&result, HTTP_OUTCOME_OK, NULL);
    assert_non_null(strstr(result.body, "X-Device: 7\n"));
    assert_non_null(strstr(result.body, "Authorization: Bearer key\n"));
    assert_non_null(strstr(result.body, "User-Agent: moonsinter/"));
    assert_null(strstr(result.body, "Accept-Encoding"));
    free(result.body);

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {0};
        with.headers = bad[i];
        assert_false(http_new(base, &with, &other, &error));
        assert_int_equal(error.kind, ERROR_REFUSED);
        assert_null(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_conditional, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ranges_of_another_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_whole_file_as_a_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_behaviours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_came_of_a_broken_range_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bodies_of_redirects_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_beside_bodies_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deadlines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_proxy_that_talks_on_and_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retry_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stalls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connections_are_few_and_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_silent_name_server_does_not_hold_the_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_senseless_urls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_headers, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
