/* SPDX-License-Identifier: MIT */
#include "tests/unit/range_server.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "common/base/alloc.h"
#include "common/image/url.h"

enum { FILES_MAX = 8 };

struct connection {
    TAILQ_ENTRY(connection) entry;
    struct range_server *server;
    struct bufferevent *stream;
    int closing; /* when all is written */
};

struct range_server {
    struct event_base *base;
    struct evconnlistener *listener;
    unsigned port;
    TAILQ_HEAD(, connection) connections;
    struct range_file files[FILES_MAX];
    unsigned file_count;
    range_fault_fn fault;
    void *fault_owner;
};

static void connection_free(struct connection *connection)
{
    TAILQ_REMOVE(&connection->server->connections, connection, entry);
    bufferevent_free(connection->stream);
    free(connection);
}

static struct range_file *find_file(struct range_server *server, const char *path)
{
    for (unsigned i = 0; i < server->file_count; i++)
        if (strcmp(server->files[i].path, path) == 0)
            return &server->files[i];
    return NULL;
}

static void answer_status(struct connection *connection, const char *status)
{
    evbuffer_add_printf(bufferevent_get_output(connection->stream),
                        "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status);
}

static void send_body(struct connection *connection, struct range_file *file, uint64_t offset, uint64_t size,
                      enum range_fault fault)
{
    struct evbuffer *out = bufferevent_get_output(connection->stream);

    if (fault == RANGE_FAULT_HALF)
        size /= 2;
    if (fault == RANGE_FAULT_UNENDED)
        evbuffer_add_printf(out, "%" PRIx64 "\r\n", size);
    if (fault == RANGE_FAULT_BAD_BYTES) {
        CLEANUP_FREE uint8_t *bad = alloc_zeroed(size);
        for (uint64_t i = 0; i < size; i++)
            bad[i] = (uint8_t)~file->data[offset + i];
        evbuffer_add(out, bad, size);
    } else {
        evbuffer_add(out, file->data + offset, size);
    }
    for (uint64_t i = 0; i < size; i++)
        file->sent[offset + i] += file->sent[offset + i] < UINT8_MAX;
    file->sent_bytes += size;
    connection->closing = fault == RANGE_FAULT_HALF || fault == RANGE_FAULT_UNENDED;
}

static void answer_file(struct connection *connection, struct range_file *file, const char *range,
                        int if_range_fits)
{
    struct evbuffer *out = bufferevent_get_output(connection->stream);
    struct range_server *server = connection->server;
    size_t total = file->size; /* the test may replace the file from the next answer on */
    uint64_t first = 0, last = total ? total - 1 : 0, size;
    int partial = range && if_range_fits && sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &first, &last) == 2;

    if (partial && (first > last || last >= total)) {
        answer_status(connection, "416 Range Not Satisfiable");
        return;
    }
    size = total ? last - first + 1 : 0;
    file->requests++;
    file->asked_bytes += size;
    enum range_fault fault = server->fault ? server->fault(server->fault_owner, file->path, first, size) : 0;
    if (fault == RANGE_FAULT_SILENT)
        return;
    if (fault == RANGE_FAULT_BUSY || fault == RANGE_FAULT_MISSING) {
        answer_status(connection, fault == RANGE_FAULT_BUSY ? "503 Service Unavailable" : "404 Not Found");
        return;
    }
    evbuffer_add_printf(out, "HTTP/1.1 %s\r\n", partial ? "206 Partial Content" : "200 OK");
    if (partial)
        evbuffer_add_printf(out, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n", first, last, total);
    if (file->etag)
        evbuffer_add_printf(out, "ETag: %s\r\n", file->etag);
    if (fault == RANGE_FAULT_UNENDED)
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n\r\n");
    else
        evbuffer_add_printf(out, "Content-Length: %" PRIu64 "\r\n\r\n", size);
    send_body(connection, file, first, size, fault);
}

/* The value of a header field, cut out of the request in place; NULL if there is none. */
static char *field(char *request, const char *name)
{
    char *at = strcasestr(request, name);

    if (!at)
        return NULL;
    at += strlen(name);
    at[strcspn(at, "\r\n")] = '\0';
    return at;
}

static void answer(struct connection *connection, char *request)
{
    CLEANUP_FREE char *again = alloc_string(request), *third = alloc_string(request);
    char path[256] = "";

    sscanf(request, "GET %255s", path);
    struct range_file *file = find_file(connection->server, path);
    const char *range = field(request, "\nRange: "), *if_range = field(again, "\nIf-Range: ");
    const char *if_none_match = field(third, "\nIf-None-Match: ");
    if (!file)
        answer_status(connection, "404 Not Found");
    else if (if_none_match && file->etag && strcmp(if_none_match, file->etag) == 0)
        answer_status(connection, "304 Not Modified");
    else
        answer_file(connection, file, range, !if_range || (file->etag && strcmp(if_range, file->etag) == 0));
}

static void on_read(struct bufferevent *stream, void *arg)
{
    struct connection *connection = arg;
    struct evbuffer *in = bufferevent_get_input(stream);

    while (!connection->closing) {
        struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
        if (end.pos < 0)
            return;
        CLEANUP_FREE char *request = alloc_zeroed((size_t)end.pos + 5);
        evbuffer_remove(in, request, (size_t)end.pos + 4);
        answer(connection, request);
    }
}

static void on_written(struct bufferevent *stream, void *arg)
{
    struct connection *connection = arg;

    if (connection->closing)
        connection_free(connection);
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    connection_free(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int length, void *arg)
{
    struct range_server *server = arg;
    struct connection *connection = alloc_zeroed(sizeof(*connection));

    connection->server = server;
    connection->stream = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(connection->stream, on_read, on_written, on_event, connection);
    bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
    TAILQ_INSERT_TAIL(&server->connections, connection, entry);
}

struct range_server *range_server_new(struct event_base *base)
{
    struct range_server *server = alloc_zeroed(sizeof(*server));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    signal(SIGPIPE, SIG_IGN); /* clients leave in the middle of an answer */
    server->base = base;
    TAILQ_INIT(&server->connections);
    server->listener =
        evconnlistener_new_bind(base, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 64,
                                (struct sockaddr *)&address, sizeof(address));
    if (!server->listener ||
        getsockname(evconnlistener_get_fd(server->listener), (struct sockaddr *)&address, &length) < 0)
        abort();
    server->port = ntohs(address.sin_port);
    return server;
}

void range_server_free(struct range_server *server)
{
    while (!TAILQ_EMPTY(&server->connections))
        connection_free(TAILQ_FIRST(&server->connections));
    evconnlistener_free(server->listener);
    for (unsigned i = 0; i < server->file_count; i++)
        free(server->files[i].sent);
    free(server);
}

struct range_file *range_server_put(struct range_server *server, const char *path, const void *data,
                                    size_t size, const char *etag)
{
    struct range_file *file = find_file(server, path);

    if (!file && server->file_count == FILES_MAX)
        abort();
    if (!file)
        file = &server->files[server->file_count++];
    free(file->sent);
    *file = (struct range_file){.path = path, .data = data, .size = size, .etag = etag};
    file->sent = alloc_zeroed(size);
    return file;
}

void range_server_set_fault(struct range_server *server, range_fault_fn fault, void *owner)
{
    server->fault = fault;
    server->fault_owner = owner;
}

struct url *range_server_url(const struct range_server *server, const char *path)
{
    CLEANUP_FREE char *text = alloc_printf("http://127.0.0.1:%u%s", server->port, path);
    struct url *url;

    if (!url_new(text, &url, NULL))
        abort();
    return url;
}
