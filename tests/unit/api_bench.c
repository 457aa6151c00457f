/* SPDX-License-Identifier: MIT */
#include "tests/unit/api_bench.h"

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
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "daemon/face/api_server.h"

char api_bench_folder[64];
char api_bench_path[96];
static pid_t server_pid;

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

static _Noreturn void run_server(int ready_fd, unsigned timeout_ms)
{
    struct fake fake = {.base = event_base_new()};
    struct api_server_options options = {
        .base = fake.base,
        .backend = {&fake, fake_status, fake_status, fake_large, fake_status, fake_metrics, fake_request},
        .socket_path = api_bench_path,
        .group = geteuid() == 0 ? "4242" : NULL,
        .listen_fd = -1,
        .limits = {MAX_CLIENTS, MAX_HEAD, MAX_BODY, MAX_UNREAD, timeout_ms},
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

int connect_client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 2 * PATIENT_MS / 1000};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", api_bench_path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

const char *hear(int fd, const char *end)
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

const char *hear_reply(int fd)
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

void assert_begins(const char *text, const char *beginning)
{
    if (strncmp(text, beginning, strlen(beginning)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", text, beginning);
}

void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

void assert_served(void)
{
    int fd = connect_client();

    say(fd, GET_STATUS);
    assert_begins(hear_reply(fd), "HTTP/1.1 200 OK\r\n");
    close(fd);
}

static int start(unsigned timeout_ms)
{
    int pipes[2];
    char byte;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -1;
    server_pid = fork();
    if (server_pid == 0)
        run_server(pipes[1], timeout_ms);
    close(pipes[1]);
    ssize_t count = read(pipes[0], &byte, 1);
    close(pipes[0]);
    return count == 1 ? 0 : -1;
}

int api_bench_start(void **state)
{
    return start(PATIENT_MS);
}

int api_bench_start_impatient(void **state)
{
    return start(TIMEOUT_MS);
}

int api_bench_stop(void **state)
{
    int status, fd = connect_client();
    struct stat info;

    say(fd, POST_REBOOT);
    /* What was still to say is sent at the end: the reply, then the connection closes. */
    assert_begins(hear(fd, NULL), "HTTP/1.1 202 Accepted\r\n");
    close(fd);
    assert_int_equal(waitpid(server_pid, &status, 0), server_pid);
    assert_int_equal(status, 0);
    assert_int_equal(lstat(api_bench_path, &info), -1);
    return 0;
}

int api_bench_make_folder(void **state)
{
    snprintf(api_bench_folder, sizeof(api_bench_folder), "/tmp/moonsinter-test-XXXXXX");
    if (!mkdtemp(api_bench_folder))
        return -1;
    snprintf(api_bench_path, sizeof(api_bench_path), "%s/api.sock", api_bench_folder);
    return chmod(api_bench_folder, 0755);
}

int api_bench_remove_folder(void **state)
{
    static const char *const names[] = {"file", "made/folder", "made", ""};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char name[128];
        snprintf(name, sizeof(name), "%s/%s", api_bench_folder, names[i]);
        if (remove(name) < 0 && errno != ENOENT)
            return -1;
    }
    return 0;
}
