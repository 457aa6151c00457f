/*
 * The API's server (daemon/api_server*.c, api_socket.c) met over real sockets by good and by hostile clients.
 * The server runs with small limits and a fake backend in a child process; its exit status shows sanitizer
 * findings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "daemon/api_server.h"
#include "daemon/api_socket.h"

enum {
    MAX_CLIENTS = 6,
    MAX_STREAMS = 3,
    MAX_HEAD = 1024,
    MAX_BODY = 4096,
    MAX_UNREAD = 32 << 10,
#ifdef __SANITIZE_THREAD__
    TIMEOUT_MS = 2500, /* the same work takes several times as long there */
#else
    TIMEOUT_MS = 1000,
#endif
    MEMBER_GID = 4242,
};

static char folder[64];
static char path[96];
static pid_t server_pid;

/* The fake daemon */

struct fake {
    struct event_base *base;
    struct api_server *server;
    unsigned changes;
};

static struct json_object *fake_status(void *owner)
{
    struct fake *fake = owner;
    struct json_object *object = json_object_new_object();

    json_add_u64(object, "changes", fake->changes);
    json_add_u64(object, "streams", fake->server ? api_server_count_streams(fake->server) : 0);
    return object;
}

/* More than any socket buffer holds. */
static struct json_object *fake_large(void *owner)
{
    CLEANUP_FREE char *text = alloc_zeroed(2 << 20);
    struct json_object *object = json_object_new_object();

    memset(text, 'x', (2 << 20) - 1);
    json_add_string(object, "large", text);
    return object;
}

static char *fake_metrics(void *owner)
{
    return alloc_string("moonsinter_up 1\n");
}

/* check publishes one change, install a hundred large ones, reboot ends the server. */
static bool fake_request(void *owner, enum api_action action, struct api_error *error)
{
    struct fake *fake = owner;
    CLEANUP_FREE char *filling = alloc_zeroed(8001);
    unsigned count = action == API_ACTION_INSTALL ? 100 : 1;

    memset(filling, 'y', action == API_ACTION_INSTALL ? 8000 : 1);
    if (action == API_ACTION_REBOOT)
        event_base_loopbreak(fake->base);
    if (action == API_ACTION_CANCEL)
        return api_error_set(error, 409, "nothing-to-cancel", "no update runs");
    while (count--) {
        CLEANUP_JSON struct json_object *object = json_object_new_object();
        fake->changes++;
        json_add_u64(object, "changes", fake->changes);
        json_add_string(object, "filling", filling);
        api_server_publish(fake->server, object);
    }
    return true;
}

static _Noreturn void run_server(int ready_fd)
{
    struct fake fake = {.base = event_base_new()};
    struct api_backend backend = {&fake,       fake_status,  fake_status, fake_large,
                                  fake_status, fake_metrics, fake_request};
    struct api_server_options options = {
        .base = fake.base,
        .backend = &backend,
        .socket_path = path,
        .group = geteuid() == 0 ? "4242" : NULL,
        .listen_fd = -1,
        .limits = {MAX_CLIENTS, MAX_HEAD, MAX_BODY, MAX_UNREAD, TIMEOUT_MS},
    };
    struct error error;

    /* Should the test itself die, its server does not stay behind. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!api_server_new(&options, &fake.server, &error)) {
        fprintf(stderr, "%s\n", error.message);
        exit(3);
    }
    if (write(ready_fd, "r", 1) != 1)
        exit(4);
    event_base_dispatch(fake.base);
    api_server_free(fake.server);
    event_base_free(fake.base);
    exit(0);
}

/* A client with patience, so that a server that hangs fails the test and does not hang it. */
static int connect_client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `end` appears (NULL: until the server closes) into a static buffer. */
static const char *hear(int fd, const char *end)
{
    static char text[256 << 10];
    size_t size = 0;

    text[0] = '\0';
    while (!end || !strstr(text, end)) {
        assert_true(size < sizeof(text) - 1);
        /* Byte by byte where we look for an end, so that nothing of the next reply is taken. */
        ssize_t count = recv(fd, text + size, end ? 1 : sizeof(text) - 1 - size, 0);
        if (count == 0 || (count < 0 && errno == ECONNRESET)) {
            if (end)
                fail_msg("closed before \"%s\": %s", end, text);
            break;
        }
        if (count < 0)
            fail_msg("no more than this came: %s", text);
        size += (size_t)count;
        text[size] = '\0';
    }
    return text;
}

/* One reply: head and body. */
static const char *hear_reply(int fd)
{
    static char text[64 << 10];
    int head = snprintf(text, sizeof(text), "%s", hear(fd, "\r\n\r\n"));
    const char *length = strstr(text, "Content-Length: ");

    assert_non_null(length);
    size_t size = strtoul(length + 16, NULL, 10);
    assert_true((size_t)head + size < sizeof(text));
    for (size_t got = 0; got < size;) {
        ssize_t count = recv(fd, text + head + got, size - got, 0);
        assert_true(count > 0);
        got += (size_t)count;
    }
    text[(size_t)head + size] = '\0';
    return text;
}

static void assert_begins(const char *text, const char *beginning)
{
    if (strncmp(text, beginning, strlen(beginning)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, beginning);
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

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

static const char get_status[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";
static const char get_events[] = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
static const char get_large[] = "GET /v1/history HTTP/1.1\r\nHost: x\r\n\r\n";
static const char post_check[] = "POST /v1/check HTTP/1.1\r\nHost: x\r\n\r\n";
static const char post_install[] = "POST /v1/install HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
static const char post_reboot[] = "POST /v1/reboot HTTP/1.1\r\nHost: x\r\n\r\n";

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void assert_served(void)
{
    int fd = connect_client();

    say(fd, get_status);
    assert_begins(hear_reply(fd), "HTTP/1.1 200 OK\r\n");
    close(fd);
}

/* Asks until the server counts so many streams; a reply is the condition waited for, within a bound. */
static void await_streams(unsigned expected)
{
    char wanted[32];
    uint64_t end = now_ms() + 5000;

    snprintf(wanted, sizeof(wanted), "\"streams\":%u}", expected);
    for (;;) {
        int fd = connect_client();
        say(fd, get_status);
        bool is_so = strstr(hear_reply(fd), wanted) != NULL;
        close(fd);
        if (is_so)
            return;
        assert_true(now_ms() < end);
    }
}

static int start_server(void **state)
{
    int pipes[2];
    char byte;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -1;
    server_pid = fork();
    if (server_pid == 0)
        run_server(pipes[1]);
    close(pipes[1]);
    ssize_t count = read(pipes[0], &byte, 1);
    close(pipes[0]);
    return count == 1 ? 0 : -1;
}

static int stop_server(void **state)
{
    int status, fd = connect_client();
    struct stat info;

    say(fd, post_reboot);
    /* What was still to say is sent at the end: the reply, then the connection closes. */
    assert_begins(hear(fd, NULL), "HTTP/1.1 202 Accepted\r\n");
    close(fd);
    assert_int_equal(waitpid(server_pid, &status, 0), server_pid);
    assert_int_equal(status, 0);
    assert_int_equal(lstat(path, &info), -1);
    return 0;
}

/* Requests and replies */

static void test_keeps_alive(void **state)
{
    int fd = connect_client();

    for (int i = 0; i < 50; i++) {
        say(fd, get_status);
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
        count = send(fd, get_large, sizeof(get_large) - 1, MSG_NOSIGNAL);
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
        assert_true(now_ms() < start + 5000);
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

    say(fd, get_status);
    say(fd, get_status);
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
    say(fd, get_events);
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

/* Fills the server with replies that nobody fetches: these clients do not make room before their time is up.
 * Returns what one more client hears. Where all this took longer than that time, it tells nothing and is done
 * again: a machine may have been busy elsewhere. */
static const char *hear_beside_busy_clients(int busy[MAX_CLIENTS])
{
    for (int attempt = 0; attempt < 10; attempt++) {
        uint64_t start = now_ms();
        for (int i = 0; i < MAX_CLIENTS; i++) {
            busy[i] = connect_client();
            say(busy[i], get_large);
            assert_begins(hear(busy[i], "\r\n"), "HTTP/1.1 200 OK");
        }
        int fd = connect_client();
        const char *text = hear(fd, NULL);
        close(fd);
        if (now_ms() < start + TIMEOUT_MS)
            return text;
        for (int i = 0; i < MAX_CLIENTS; i++)
            close(busy[i]);
    }
    fail_msg("the server could not be filled within its time-out of %d ms", TIMEOUT_MS);
    return NULL;
}

static void test_all_busy(void **state)
{
    int busy[MAX_CLIENTS], fd;
    const char *text = hear_beside_busy_clients(busy);

    assert_begins(text, "HTTP/1.1 503 ");
    assert_contains(text, "too-many-clients");
    for (int i = 0; i < MAX_CLIENTS; i++)
        assert_true(strlen(hear(busy[i], "xxx")) > 0);
    uint64_t end = now_ms() + 5000;
    for (;;) {
        fd = connect_client();
        if (send(fd, get_status, sizeof(get_status) - 1, MSG_NOSIGNAL) > 0 &&
            strncmp(hear(fd, "\r\n"), "HTTP/1.1 200", 12) == 0)
            break;
        close(fd);
        assert_true(now_ms() < end);
    }
    close(fd);
    for (int i = 0; i < MAX_CLIENTS; i++)
        close(busy[i]);
}

/* Streams */

static void test_stream(void **state)
{
    int stream = connect_client(), fd = connect_client();

    say(stream, get_events);
    const char *text = hear(stream, "}\n\r\n");
    assert_begins(text, "HTTP/1.1 200 OK\r\n");
    assert_contains(text, "Transfer-Encoding: chunked\r\n");
    assert_contains(text, "Content-Type: application/x-ndjson\r\n");
    assert_contains(text, "\r\n\r\n1a\r\n{\"changes\":0,\"streams\":0}\n\r\n");
    for (unsigned i = 1; i <= 20; i++) {
        char line[64];
        say(fd, post_check);
        assert_begins(hear_reply(fd), "HTTP/1.1 202 ");
        snprintf(line, sizeof(line), "%x\r\n{\"changes\":%u,\"filling\":\"y\"}\n\r\n", i < 10 ? 0x1c : 0x1d,
                 i);
        assert_string_equal(hear(stream, "}\n\r\n"), line);
    }
    /* It outlives the time that a request may take. */
    await_streams(1);
    struct pollfd quiet = {.fd = stream, .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, TIMEOUT_MS * 2), 0);
    await_streams(1);
    close(stream);
    await_streams(0);
    close(fd);
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
        say(streams[i], get_events);
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

    say(deaf, get_events);
    await_streams(1);
    /* 100 lines of 8000 bytes are more than the socket and our bound hold together. */
    say(fd, post_install);
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

    say(fd, get_events);
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
    unsigned late = 0;

    say(deaf, get_events);
    say(greedy, get_large);
    say(greedy, get_large);
    for (int i = 0; i < 200; i++) {
        int slow = connect_client();
        send(slow, "GET ", 4, MSG_NOSIGNAL);
        uint64_t start = now_ms();
        say(good, i % 2 ? get_status : post_check);
        assert_begins(hear_reply(good), "HTTP/1.1 20");
        /* The bound of the project is 10 ms; a busy test machine gets some more. */
        late += now_ms() - start > 50;
        close(slow);
    }
    assert_true(late <= 4);
    close(deaf);
    close(greedy);
    close(good);
}

/* Authority */

static const char *ask_as(uid_t uid, gid_t gid, gid_t supplementary, const char *request, char *ret_text,
                          size_t size)
{
    int pipes[2];

    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        if (setgroups(1, &supplementary) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
            _exit(1);
        int fd = connect_client();
        say(fd, request);
        const char *text = hear_reply(fd);
        _exit(write(pipes[1], text, strlen(text)) < 0);
    }
    close(pipes[1]);
    ssize_t count = read(pipes[0], ret_text, size - 1);
    close(pipes[0]);
    waitpid(child, NULL, 0);
    ret_text[count > 0 ? count : 0] = '\0';
    return ret_text;
}

static void test_authority(void **state)
{
    char text[4096];

    if (geteuid() != 0) {
        print_message("skipped: only root can connect as somebody else\n");
        skip();
    }
    /* Opened to everybody, as a local administrator may do: then everybody may read, and only read. */
    assert_int_equal(chmod(path, 0666), 0);
    assert_begins(ask_as(65534, 65534, 65534, get_status, text, sizeof(text)), "HTTP/1.1 200 ");
    assert_begins(ask_as(65534, 65534, 65534, post_check, text, sizeof(text)), "HTTP/1.1 403 ");
    assert_contains(text, "\"code\":\"forbidden\"");
    assert_begins(ask_as(65534, 65534, MEMBER_GID, post_check, text, sizeof(text)), "HTTP/1.1 202 ");
    assert_begins(ask_as(65534, MEMBER_GID, 65534, post_check, text, sizeof(text)), "HTTP/1.1 202 ");
}

/* The socket as a file */

static void test_socket_mode_and_group(void **state)
{
    struct stat info;

    assert_int_equal(lstat(path, &info), 0);
    assert_int_equal(info.st_mode, S_IFSOCK | 0660);
    if (geteuid() == 0)
        assert_int_equal(info.st_gid, MEMBER_GID);
}

static void test_socket_taken(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket other;
    struct error error;

    assert_false(api_socket_open(&other, path, &group, &error));
    assert_contains(error.message, "another moonsinterd listens at");
    assert_served();
}

static void test_socket_stale(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket first, second;
    struct error error;
    struct stat info;
    char nested[128];

    snprintf(nested, sizeof(nested), "%s/made/folder/s", folder);
    mode_t old_mask = umask(0777);
    umask(old_mask);
    assert_true(api_socket_open(&first, nested, &group, &error));
    close(first.fd);
    first.fd = -1;
    assert_true(api_socket_open(&second, nested, &group, &error));
    /* The first no longer owns the path, so its end leaves the second's socket alone. */
    api_socket_close(&first);
    assert_int_equal(lstat(nested, &info), 0);
    api_socket_close(&second);
    assert_int_equal(lstat(nested, &info), -1);
    api_socket_close(&second);
}

static void test_socket_path_refused(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket socket;
    struct error error;
    struct stat info;
    char text[200];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_false(api_socket_open(&socket, text, &group, &error));
    assert_contains(error.message, "199 bytes long");
    assert_false(api_socket_open(&socket, "", &group, &error));

    snprintf(text, sizeof(text), "%s/file", folder);
    close(open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_false(api_socket_open(&socket, text, &group, &error));
    assert_contains(error.message, "is not a socket");
    assert_int_equal(lstat(text, &info), 0);
    snprintf(text, sizeof(text), "%s/file/s", folder);
    assert_false(api_socket_open(&socket, text, &group, &error));
    assert_false(api_socket_open(&socket, folder, &group, &error));
    assert_contains(error.message, "is not a socket");
}

static void test_socket_adopted(void **state)
{
    struct api_peer_group group = {0};
    struct api_socket opened, adopted;
    struct error error;
    struct stat info;
    char text[128];
    int pair[2];

    snprintf(text, sizeof(text), "%s/adopted", folder);
    assert_true(api_socket_open(&opened, text, &group, &error));
    assert_true(api_socket_adopt(&adopted, opened.fd, &error));
    api_socket_close(&adopted);
    assert_int_equal(lstat(text, &info), 0);
    opened.fd = -1;
    api_socket_close(&opened);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_false(api_socket_adopt(&adopted, pair[0], &error));
    assert_contains(error.message, "socket activation");
    close(pair[0]);
    close(pair[1]);
    assert_false(api_socket_adopt(&adopted, 999, &error));
}

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/moonsinter-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/api.sock", folder);
    return chmod(folder, 0755);
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"file", "made/folder", "made", ""};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[128];
        snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
        if (remove(name) < 0)
            return -1;
    }
    return 0;
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, start_server, stop_server)

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
        with_server(test_too_slow),
        with_server(test_half_closed),
        with_server(test_too_many),
        with_server(test_all_busy),
        with_server(test_stream),
        with_server(test_stream_of_http_1_0),
        with_server(test_too_many_streams),
        with_server(test_stream_never_read_is_dropped),
        with_server(test_stream_that_talks_is_dropped),
        with_server(test_hostile_company_delays_nobody),
        with_server(test_authority),
        with_server(test_socket_mode_and_group),
        with_server(test_socket_taken),
        cmocka_unit_test(test_socket_stale),
        cmocka_unit_test(test_socket_path_refused),
        cmocka_unit_test(test_socket_adopted),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
