/* SPDX-License-Identifier: MIT */
/* The API's server (daemon/face/api_server*.c) met over real sockets by good and by hostile clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "tests/unit/api_bench.h"

/* Sends, hears one reply and then the end of the connection. */
static void assert_refused(const char *request, size_t size, const char *status, const char *code)
{
    int fd = connect_client();

    assert_int_equal(send(fd, request, size, MSG_NOSIGNAL), size);
    const char *text = hear(fd, NULL);
    assert_begins(text, status);
    assert_contains(text, "Connection: close");
    assert_contains(text, code);
    close(fd);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Asks until the server counts so many streams; a reply is the condition waited for, within a bound. */
static void await_streams(unsigned expected)
{
    char wanted[32];
    uint64_t end = now_ms() + PATIENT_MS;

    snprintf(wanted, sizeof(wanted), "\"streams\":%u}", expected);
    for (;;) {
        int fd = connect_client();
        say(fd, GET_STATUS);
        bool is_so = strstr(hear_reply(fd), wanted) != NULL;
        close(fd);
        if (is_so)
            return;
        assert_true(now_ms() < end);
    }
}

/* Requests and replies */

static void test_keeps_alive(void **state)
{
    int fd = connect_client();

    for (int i = 0; i < 50; i++) {
        say(fd, GET_STATUS);
        const char *text = hear_reply(fd);
        assert_begins(text, "HTTP/1.1 200 OK\r\n");
        assert_contains(text, "Content-Type: application/json\r\n");
        assert_contains(text, "\r\n\r\n{\"changes\":0,\"streams\":0}\n");
    }
    say(fd, "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_begins(hear_reply(fd), "HTTP/1.1 404 Not Found\r\n");
    say(fd, "DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *text = hear_reply(fd);
    assert_begins(text, "HTTP/1.1 405 Method Not Allowed\r\n");
    assert_contains(text, "Allow: GET, HEAD\r\n");
    say(fd, "POST /v1/cancel HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_begins(hear_reply(fd), "HTTP/1.1 409 Conflict\r\n");
    say(fd, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_contains(hear(fd, NULL), "Connection: close\r\n");
    close(fd);
}

static void test_head_has_no_body(void **state)
{
    int fd = connect_client();

    say(fd,
        "HEAD /v1/status HTTP/1.1\r\nHost: x\r\n\r\nHEAD /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const char *text = hear(fd, NULL);
    assert_begins(text, "HTTP/1.1 200 OK\r\n");
    assert_contains(text, "Content-Length: 26\r\n");
    assert_null(strchr(text, '{'));
    close(fd);
}

static void test_two_requests_in_one_packet(void **state)
{
    int fd = connect_client();

    say(fd,
        "POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/st");
    assert_begins(hear_reply(fd), "HTTP/1.1 202 Accepted\r\n");
    assert_contains(hear_reply(fd), "moonsinter_up 1\n");
    say(fd, "atus HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_contains(hear_reply(fd), "{\"changes\":1,");
    close(fd);
}

static void test_byte_by_byte(void **state)
{
    static const char text[] = "POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{ }\n";
    int fd = connect_client();

    for (size_t i = 0; i < sizeof(text) - 1; i++)
        assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
    assert_begins(hear_reply(fd), "HTTP/1.1 202 Accepted\r\n");
    close(fd);
}

static void test_expect_continue(void **state)
{
    int fd = connect_client();

    say(fd, "POST /v1/check HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_string_equal(hear(fd, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "{}");
    assert_begins(hear_reply(fd), "HTTP/1.1 202 Accepted\r\n");
    close(fd);
}

static void test_pipelining_without_reading(void **state)
{
    int fd = connect_client();
    struct timeval patience = {.tv_usec = 100000};
    size_t sent = 0;

    /* Until the server takes no more: it must not buffer replies without end. */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    for (ssize_t count; sent < (4 << 20); sent += (size_t)count) {
        count = send(fd, GET_LARGE, sizeof(GET_LARGE) - 1, MSG_NOSIGNAL);
        if (count <= 0)
            break;
    }
    assert_true(sent < (4 << 20));
    assert_served();
    close(fd);
}

/* Refusals */

/* A literal and its length. */
#define TEXT(literal) literal, sizeof(literal) - 1

static void test_malformed(void **state)
{
    char zeros[64] = {0};

    assert_refused(TEXT("hello\r\n\r\n"), "HTTP/1.1 400 ", "bad-request");
    assert_refused(TEXT("GET / HTTP/1.1\n\n"), "HTTP/1.1 400 ", "bad-request");
    assert_refused(zeros, sizeof(zeros), "HTTP/1.1 400 ", "bad-request");
    assert_refused(TEXT("POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                   "HTTP/1.1 411 ", "length-required");
    assert_served();
}

static void test_too_large(void **state)
{
    char text[MAX_HEAD + 1];

    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    assert_refused(text, sizeof(text), "HTTP/1.1 413 ", "too-large");

    /* Refused by what it announces, and the reason can be read although the body was being sent. */
    int fd = connect_client();
    snprintf(text, sizeof(text), "POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             MAX_BODY + 1);
    say(fd, text);
    memset(text, 'b', sizeof(text));
    for (int i = 0; i < 8; i++)
        send(fd, text, sizeof(text), MSG_NOSIGNAL);
    assert_begins(hear(fd, NULL), "HTTP/1.1 413 ");
    close(fd);

    fd = connect_client();
    char *body = alloc_zeroed(MAX_BODY + 1);
    memset(body, ' ', MAX_BODY);
    memcpy(body, "{}", 2);
    snprintf(text, sizeof(text), "POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             MAX_BODY);
    say(fd, text);
    say(fd, body);
    assert_begins(hear_reply(fd), "HTTP/1.1 202 ");
    free(body);
    close(fd);
}

static void test_endless_talker_is_cut_off(void **state)
{
    int fd = connect_client();
    char text[4096];
    size_t sent = 0;

    memset(text, 'a', sizeof(text));
    for (ssize_t count; sent < (64 << 20); sent += (size_t)count) {
        count = send(fd, text, sizeof(text), MSG_NOSIGNAL);
        if (count <= 0)
            break;
    }
    assert_true(sent < (64 << 20));
    close(fd);
}

static void test_too_slow(void **state)
{
    int half = connect_client(), idle = connect_client(), trickle = connect_client();
    uint64_t start = now_ms();
    struct pollfd closing = {.fd = trickle, .events = POLLIN};

    say(half, "GET /v1/sta");
    /* A byte now and then buys no time. */
    say(trickle, "GET /");
    while (poll(&closing, 1, 50) == 0) {
        assert_true(now_ms() < start + PATIENT_MS);
        send(trickle, "a", 1, MSG_NOSIGNAL);
    }
    assert_begins(hear(trickle, NULL), "HTTP/1.1 408 ");
    assert_begins(hear(half, NULL), "HTTP/1.1 408 ");
    assert_string_equal(hear(idle, NULL), "");
    assert_true(now_ms() >= start + TIMEOUT_MS - 50);
    close(half);
    close(idle);
    close(trickle);
}

static void test_half_closed(void **state)
{
    int fd = connect_client();

    say(fd, GET_STATUS);
    say(fd, GET_STATUS);
    shutdown(fd, SHUT_WR);
    const char *text = hear(fd, NULL);
    assert_begins(text, "HTTP/1.1 200 OK\r\n");
    assert_contains(text + 10, "HTTP/1.1 200 OK\r\n");
    close(fd);

    fd = connect_client();
    say(fd, "GET /v1/sta");
    shutdown(fd, SHUT_WR);
    assert_string_equal(hear(fd, NULL), "");
    close(fd);

    /* A stream ends in due form. */
    fd = connect_client();
    say(fd, GET_EVENTS);
    shutdown(fd, SHUT_WR);
    text = hear(fd, NULL);
    assert_string_equal(text + strlen(text) - 5, "0\r\n\r\n");
    close(fd);
}

static void test_too_many(void **state)
{
    int idle[MAX_CLIENTS * 3];

    for (int i = 0; i < MAX_CLIENTS * 3; i++)
        idle[i] = connect_client();
    /* Who has waited longest without a word makes room. */
    assert_served();
    assert_string_equal(hear(idle[0], NULL), "");
    for (int i = 0; i < MAX_CLIENTS * 3; i++)
        close(idle[i]);
}

/* Until the server has closed; a client's patience bounds it. */
static void await_end(int fd)
{
    char bytes[4096];
    ssize_t count;

    do
        count = recv(fd, bytes, sizeof(bytes), 0);
    while (count > 0);
    assert_true(count == 0 || errno == ECONNRESET);
}

/* Replies that nobody fetches keep nobody out: the one on its way for longest makes room, and no other. */
static void test_all_busy(void **state)
{
    int busy[MAX_CLIENTS];

    for (int i = 0; i < MAX_CLIENTS; i++) {
        busy[i] = connect_client();
        say(busy[i], GET_LARGE);
        assert_begins(hear(busy[i], "\r\n"), "HTTP/1.1 200 OK");
    }
    assert_served();
    await_end(busy[0]);
    for (int i = 0; i < MAX_CLIENTS; i++)
        close(busy[i]);
}

/* A client of another user, who is in the group. */
static int connect_as(uid_t uid)
{
    assert_int_equal(setegid(MEMBER_GID) | seteuid(uid), 0);
    int fd = connect_client();
    assert_int_equal(seteuid(0) | setegid(0), 0);
    return fd;
}

static void test_refused_where_nobody_has_to_go(void **state)
{
    enum { ALICE = 1000 };
    int fds[MAX_CLIENTS + 1];

    if (geteuid() != 0)
        skip();
    fds[0] = connect_as(ALICE);
    say(fds[0], GET_EVENTS);
    hear(fds[0], "}\n\r\n");
    for (int i = 1; i < MAX_CLIENTS; i++)
        fds[i] = connect_as(ALICE + (uid_t)i);
    fds[MAX_CLIENTS] = connect_as(ALICE);
    const char *text = hear(fds[MAX_CLIENTS], NULL);
    assert_begins(text, "HTTP/1.1 503 ");
    assert_contains(text, "too-many-clients");
    /* Who has fewer is let in, and so is root. */
    close(fds[MAX_CLIENTS]);
    fds[MAX_CLIENTS] = connect_as(ALICE + MAX_CLIENTS);
    assert_served();
    for (int i = 0; i <= MAX_CLIENTS; i++)
        close(fds[i]);
}

static void test_roots_stream_takes_a_place(void **state)
{
    enum { ALICE = 1000 };
    int streams[MAX_STREAMS], roots;

    if (geteuid() != 0)
        skip();
    for (int i = 0; i < MAX_STREAMS; i++) {
        streams[i] = connect_as(ALICE);
        say(streams[i], GET_EVENTS);
        hear(streams[i], "}\n\r\n");
    }
    roots = connect_client();
    say(roots, GET_EVENTS);
    assert_begins(hear(roots, "}\n\r\n"), "HTTP/1.1 200 OK");
    await_end(streams[0]);
    for (int i = 0; i < MAX_STREAMS; i++)
        close(streams[i]);
    close(roots);
}

/* Streams */

static void test_stream(void **state)
{
    int stream = connect_client(), fd = connect_client();

    say(stream, GET_EVENTS);
    const char *text = hear(stream, "}\n\r\n");
    assert_begins(text, "HTTP/1.1 200 OK\r\n");
    assert_contains(text, "Transfer-Encoding: chunked\r\n");
    assert_contains(text, "Content-Type: application/x-ndjson\r\n");
    assert_contains(text, "\r\n\r\n1a\r\n{\"changes\":0,\"streams\":0}\n\r\n");
    for (unsigned i = 1; i <= 20; i++) {
        char line[64];
        say(fd, POST_CHECK);
        assert_begins(hear_reply(fd), "HTTP/1.1 202 ");
        snprintf(line, sizeof(line), "%x\r\n{\"changes\":%u,\"filling\":\"y\"}\n\r\n", i < 10 ? 0x1c : 0x1d,
                 i);
        assert_string_equal(hear(stream, "}\n\r\n"), line);
    }
    await_streams(1);
    close(stream);
    await_streams(0);
    close(fd);
}

static void test_a_stream_outlives_the_time_of_a_request(void **state)
{
    int stream = connect_client();

    say(stream, GET_EVENTS);
    hear(stream, "}\n\r\n");
    await_streams(1);
    struct pollfd quiet = {.fd = stream, .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, TIMEOUT_MS * 2), 0);
    await_streams(1);
    close(stream);
    await_streams(0);
}

static void test_stream_of_http_1_0(void **state)
{
    int stream = connect_client();

    say(stream, "GET /v1/events HTTP/1.0\r\n\r\n");
    assert_null(strstr(hear(stream, "\r\n\r\n"), "chunked"));
    assert_string_equal(hear(stream, "\n"), "{\"changes\":0,\"streams\":0}\n");
    close(stream);
}

static void test_too_many_streams(void **state)
{
    int streams[MAX_STREAMS + 1];

    for (int i = 0; i <= MAX_STREAMS; i++) {
        streams[i] = connect_client();
        say(streams[i], GET_EVENTS);
        if (i < MAX_STREAMS)
            hear(streams[i], "}\n\r\n");
    }
    const char *text = hear_reply(streams[MAX_STREAMS]);
    assert_begins(text, "HTTP/1.1 503 ");
    assert_contains(text, "too-many-streams");
    assert_served();
    for (int i = 0; i <= MAX_STREAMS; i++)
        close(streams[i]);
}

static void test_stream_never_read_is_dropped(void **state)
{
    int deaf = connect_client(), fd = connect_client();

    say(deaf, GET_EVENTS);
    await_streams(1);
    /* 100 lines of 8000 bytes are more than the socket and our bound hold together. */
    say(fd, POST_INSTALL);
    assert_begins(hear_reply(fd), "HTTP/1.1 202 ");
    await_streams(0);
    close(deaf);
    close(fd);
}

static void test_stream_that_talks_is_dropped(void **state)
{
    int fd = connect_client();
    char text[4096] = {0};
    size_t sent = 0;

    say(fd, GET_EVENTS);
    await_streams(1);
    for (ssize_t count; sent < (64 << 20); sent += (size_t)count) {
        count = send(fd, text, sizeof(text), MSG_NOSIGNAL);
        if (count <= 0)
            break;
    }
    assert_true(sent < (64 << 20));
    close(fd);
    await_streams(0);
}

static void test_hostile_company_delays_nobody(void **state)
{
    int deaf = connect_client(), greedy = connect_client(), good = connect_client();

    say(deaf, GET_EVENTS);
    say(greedy, GET_LARGE);
    say(greedy, GET_LARGE);
    for (int i = 0; i < 200; i++) {
        int slow = connect_client();
        send(slow, "GET ", 4, MSG_NOSIGNAL);
        say(good, i % 2 ? GET_STATUS : POST_CHECK);
        assert_begins(hear_reply(good), "HTTP/1.1 20");
        close(slow);
    }
    /* None waited for one of those to be dropped, as the greedy one is still there. */
    struct pollfd there = {.fd = greedy};
    assert_int_equal(poll(&there, 1, 0), 0);
    close(deaf);
    close(greedy);
    close(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_server(test_keeps_alive),
        with_server(test_head_has_no_body),
        with_server(test_two_requests_in_one_packet),
        with_server(test_byte_by_byte),
        with_server(test_expect_continue),
        with_server(test_pipelining_without_reading),
        with_server(test_malformed),
        with_server(test_too_large),
        with_server(test_endless_talker_is_cut_off),
        with_impatient_server(test_too_slow),
        with_server(test_half_closed),
        with_server(test_too_many),
        with_server(test_all_busy),
        with_server(test_refused_where_nobody_has_to_go),
        with_server(test_roots_stream_takes_a_place),
        with_server(test_stream),
        with_impatient_server(test_a_stream_outlives_the_time_of_a_request),
        with_server(test_stream_of_http_1_0),
        with_server(test_too_many_streams),
        with_server(test_stream_never_read_is_dropped),
        with_server(test_stream_that_talks_is_dropped),
        with_server(test_hostile_company_delays_nobody),
    };
    return cmocka_run_group_tests(tests, api_bench_make_folder, api_bench_remove_folder);
}
