/* SPDX-License-Identifier: MIT */
#include "tests/unit/web_server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

static void run_server(const struct web_server *server, const char *certificate, const char *key, int input,
                       int output)
{
    const char *source_root = getenv("MOONSINTER_SOURCE_ROOT");
    CLEANUP_FREE char *script =
        alloc_printf("%s/tests/integration/evil_server.py", source_root ? source_root : ".");

    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    if (certificate)
        execl("/usr/bin/python3", "/usr/bin/python3", script, "--root", server->root, "--tls-cert",
              certificate, "--tls-key", key, NULL);
    else
        execl("/usr/bin/python3", "/usr/bin/python3", script, "--root", server->root, NULL);
    _exit(127);
}

void web_server_start(struct web_server *server, const void *image, size_t size, const char *certificate,
                      const char *key)
{
    int input[2], output[2];
    char port[16] = {0};
    struct error error;

    *server = (struct web_server){.tls = certificate != NULL};
    strcpy(server->root, "/tmp/moonsinter-test-XXXXXX");
    assert_non_null(mkdtemp(server->root));
    CLEANUP_FREE char *path = alloc_printf("%s/image", server->root);
    if (!file_replace(path, image, size, 0644, &error))
        fail_msg("%s", error.message);

    /* The next server is not to hold this one's input open. */
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0)
        run_server(server, certificate, key, input[0], output[1]);
    close(input[0]);
    close(output[1]);
    server->input = input[1];
    /* The port is one short line, written at once when the socket listens. */
    assert_true(read(output[0], port, sizeof(port) - 1) > 0);
    close(output[0]);
    server->port = (unsigned)atoi(port);
    assert_int_not_equal(server->port, 0);
}

void web_server_stop(struct web_server *server)
{
    CLEANUP_FREE char *path = alloc_printf("%s/image", server->root);

    close(server->input);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    unlink(path);
    rmdir(server->root);
}

char *web_server_url(const struct web_server *server, const char *path)
{
    return alloc_printf("%s://127.0.0.1:%u/%s", server->tls ? "https" : "http", server->port, path);
}

void web_result_set(void *owner, struct http_response *response)
{
    struct web_result *result = owner;

    assert_false(result->done);
    result->done = true;
    result->outcome = response->outcome;
    result->kind = response->error.kind;
    strcpy(result->message, response->error.message);
    result->status = response->status;
    strcpy(result->etag, response->etag ? response->etag : "");
    strcpy(result->last_modified, response->last_modified ? response->last_modified : "");
    result->total_size = response->total_size;
    result->retry_after_ms = response->retry_after_ms;
    result->received_bytes = response->received_bytes;
    result->body_size = response->body_size;
    result->body = response->body;
    response->body = NULL;
}

void web_result_progress(void *owner, size_t bytes)
{
    struct web_result *result = owner;

    result->progress_bytes += bytes;
}

static void on_too_late(evutil_socket_t fd, short what, void *arg)
{
    *(bool *)arg = true;
}

void web_wait(struct event_base *base, const bool *done)
{
    bool too_late = false;
    struct timeval limit = {.tv_sec = 20};
    struct event *timer = evtimer_new(base, on_too_late, &too_late);

    evtimer_add(timer, &limit);
    while (!*done && !too_late)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(timer);
    if (too_late)
        fail_msg("nothing came in 20 seconds");
}
