#include "daemon/api_clients.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "daemon/api_http.h"

enum {
    /* After a refusal: how long, and for how many bytes, we listen to what the client still says, so that it
     * is not cut off (EPIPE) before it reads why. */
    LINGER_MS = 1000,
    LINGER_MAX_BYTES = 1 << 20,
};

enum client_state {
    CLIENT_READING,   /* waiting for a request, or for the rest of one */
    CLIENT_REPLYING,  /* the reply is on its way out; nothing is read meanwhile */
    CLIENT_STREAMING, /* GET /v1/events */
    CLIENT_LINGERING, /* the last reply is out; waiting for the client to close */
    CLIENT_CLOSED,    /* on the list of the closed, freed by the loop */
};

struct client {
    TAILQ_ENTRY(client) link;
    struct api_clients *clients;
    struct bufferevent *bufferevent;
    struct event *deadline;
    enum client_state state;
    bool may_change;
    bool keep_alive;
    bool is_http_1_0;
    bool is_half_closed;   /* the peer sends no more, but may still read */
    bool is_continue_sent; /* 100 Continue, for this request */
    size_t discarded_bytes;
};

TAILQ_HEAD(client_list, client);

struct api_clients {
    struct event_base *base;
    const struct api_backend *backend;
    struct api_server_limits limits;
    struct client_list open; /* who began to wait first stands first */
    struct client_list closed;
    struct event *reap; /* frees the closed, since a client may be closed in the middle of its own callback */
    unsigned open_count;
    unsigned stream_count;
};

static void client_advance(struct client *client);

static void client_set_deadline(struct client *client, unsigned ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    event_add(client->deadline, &delay);
}

static void client_close(struct client *client)
{
    struct api_clients *clients = client->clients;

    if (client->state == CLIENT_CLOSED)
        return;
    if (client->state == CLIENT_STREAMING)
        clients->stream_count--;
    client->state = CLIENT_CLOSED;
    bufferevent_disable(client->bufferevent, EV_READ | EV_WRITE);
    bufferevent_setcb(client->bufferevent, NULL, NULL, NULL, NULL);
    event_del(client->deadline);
    TAILQ_REMOVE(&clients->open, client, link);
    TAILQ_INSERT_TAIL(&clients->closed, client, link);
    clients->open_count--;
    event_active(clients->reap, EV_TIMEOUT, 1);
}

static void client_free(struct client *client)
{
    bufferevent_free(client->bufferevent);
    event_free(client->deadline);
    free(client);
}

static void reap_closed(evutil_socket_t fd, short what, void *owner)
{
    struct api_clients *clients = owner;
    struct client *client;

    while ((client = TAILQ_FIRST(&clients->closed))) {
        TAILQ_REMOVE(&clients->closed, client, link);
        client_free(client);
    }
}

static void client_discard_input(struct client *client)
{
    struct evbuffer *input = bufferevent_get_input(client->bufferevent);
    size_t size = evbuffer_get_length(input);

    evbuffer_drain(input, size);
    client->discarded_bytes += size;
    if (client->discarded_bytes > LINGER_MAX_BYTES)
        client_close(client);
}

/* Waits for the next request, which has its full time from now on. */
static void client_await_request(struct client *client)
{
    struct api_clients *clients = client->clients;

    client->state = CLIENT_READING;
    client->is_continue_sent = false;
    TAILQ_REMOVE(&clients->open, client, link);
    TAILQ_INSERT_TAIL(&clients->open, client, link);
    client_set_deadline(client, clients->limits.request_timeout_ms);
    bufferevent_enable(client->bufferevent, EV_READ);
    client_advance(client);
}

static void client_write_head(struct client *client, const struct api_reply *reply)
{
    struct evbuffer *output = bufferevent_get_output(client->bufferevent);

    evbuffer_add_printf(output, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n",
                        reply->http_status, api_status_phrase(reply->http_status), reply->content_type);
    if (reply->allow)
        evbuffer_add_printf(output, "Allow: %s\r\n", reply->allow);
    if (!reply->is_stream)
        evbuffer_add_printf(output, "Content-Length: %zu\r\n", reply->body_size);
    else if (!client->is_http_1_0)
        evbuffer_add_printf(output, "Transfer-Encoding: chunked\r\n");
    if (!client->keep_alive)
        evbuffer_add_printf(output, "Connection: close\r\n");
    else if (client->is_http_1_0)
        evbuffer_add_printf(output, "Connection: keep-alive\r\n");
    evbuffer_add(output, "\r\n", 2);
}

/* One line of the stream; a client that left too much unread is dropped instead. */
static void client_write_line(struct client *client, const char *line, size_t size)
{
    struct evbuffer *output = bufferevent_get_output(client->bufferevent);

    if (evbuffer_get_length(output) + size > client->clients->limits.max_unread_bytes) {
        client_close(client);
        return;
    }
    if (!client->is_http_1_0)
        evbuffer_add_printf(output, "%zx\r\n", size);
    evbuffer_add(output, line, size);
    if (!client->is_http_1_0)
        evbuffer_add(output, "\r\n", 2);
}

/* From now on nothing is read until the output has left (client_on_written). */
static void client_expect_reply_sent(struct client *client)
{
    if (client->state == CLIENT_STREAMING)
        client->clients->stream_count--;
    client->state = CLIENT_REPLYING;
    bufferevent_disable(client->bufferevent, EV_READ);
    client_set_deadline(client, client->clients->limits.request_timeout_ms);
}

static void client_end_stream(struct client *client)
{
    if (!client->is_http_1_0)
        evbuffer_add(bufferevent_get_output(client->bufferevent), "0\r\n\r\n", 5);
    client->keep_alive = false;
    client_expect_reply_sent(client);
}

static void client_start_stream(struct client *client, const struct api_reply *reply)
{
    client->keep_alive = false;
    client_write_head(client, reply);
    client->state = CLIENT_STREAMING;
    client->clients->stream_count++;
    client->discarded_bytes = 0;
    event_del(client->deadline);
    /* Reading goes on so that the end of the connection is seen. */
    client_discard_input(client);
    if (client->state == CLIENT_STREAMING)
        client_write_line(client, reply->body, reply->body_size);
}

/* Sends and releases the reply. */
static void client_reply(struct client *client, struct api_reply *reply, bool has_body)
{
    if (reply->is_stream && client->clients->stream_count >= (client->clients->limits.max_clients + 1) / 2) {
        api_reply_finish(reply);
        api_reply_error(reply, 503, "too-many-streams",
                        "too many clients watch events already; close one of them, or poll GET /v1/status");
    }
    if (reply->is_stream) {
        client_start_stream(client, reply);
    } else {
        client_write_head(client, reply);
        if (has_body)
            evbuffer_add(bufferevent_get_output(client->bufferevent), reply->body, reply->body_size);
        client_expect_reply_sent(client);
    }
    api_reply_finish(reply);
}

/* Refuses what is no request; the connection ends with it. */
static void client_refuse(struct client *client, unsigned http_status, const char *code, const char *message)
{
    struct api_reply reply;

    client->keep_alive = false;
    client->is_http_1_0 = false;
    api_reply_error(&reply, http_status, code, message);
    client_reply(client, &reply, true);
}

static void client_answer(struct client *client, const struct api_http_head *head)
{
    struct evbuffer *input = bufferevent_get_input(client->bufferevent);
    size_t body_size = (size_t)head->content_length;
    CLEANUP_FREE char *body = alloc_zeroed(body_size + 1);
    struct api_reply reply;

    evbuffer_drain(input, head->size);
    evbuffer_remove(input, body, body_size);
    client->keep_alive = head->keep_alive;
    client->is_http_1_0 = head->is_http_1_0;

    struct api_request request = {
        .method = head->method,
        .path = head->path,
        .body = body,
        .body_size = body_size,
        .may_change = client->may_change,
    };
    api_answer(client->clients->backend, &request, &reply);
    client_reply(client, &reply, strcmp(head->method, "HEAD") != 0);
}

/* Looks whether the bytes that have arrived make a request, and answers it. */
static void client_advance(struct client *client)
{
    const struct api_server_limits *limits = &client->clients->limits;
    struct evbuffer *input = bufferevent_get_input(client->bufferevent);
    size_t size = evbuffer_get_length(input);
    /* One byte more than a head may have shows that it is too large. */
    size_t looked_at = size < limits->max_head_bytes + 1 ? size : limits->max_head_bytes + 1;
    const char *data = (const char *)evbuffer_pullup(input, (ev_ssize_t)looked_at);
    struct api_http_refusal refusal;
    struct api_http_head head;

    switch (api_http_parse_head(data, looked_at, limits->max_head_bytes, &head, &refusal)) {
    case API_HTTP_REFUSED:
        client_refuse(client, refusal.http_status, refusal.code, refusal.message);
        return;
    case API_HTTP_INCOMPLETE:
        break;
    case API_HTTP_WHOLE:
        if (head.content_length > limits->max_body_bytes) {
            client_refuse(client, 413, "too-large", "the request's body is too large");
            return;
        }
        if (size - head.size >= head.content_length) {
            client_answer(client, &head);
            return;
        }
        if (head.expects_continue && !client->is_continue_sent) {
            client->is_continue_sent = true;
            bufferevent_write(client->bufferevent, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        }
        break;
    }
    if (client->is_half_closed)
        client_close(client);
}

static void client_on_readable(struct bufferevent *bufferevent, void *owner)
{
    struct client *client = owner;

    switch (client->state) {
    case CLIENT_READING:
        client_advance(client);
        break;
    case CLIENT_STREAMING:
    case CLIENT_LINGERING:
        client_discard_input(client);
        break;
    case CLIENT_REPLYING:
    case CLIENT_CLOSED:
        break;
    }
}

/* All output has gone to the kernel. */
static void client_on_written(struct bufferevent *bufferevent, void *owner)
{
    struct client *client = owner;

    if (client->state != CLIENT_REPLYING)
        return;
    if (client->keep_alive) {
        client_await_request(client);
        return;
    }
    if (client->is_half_closed) {
        client_close(client);
        return;
    }
    shutdown(bufferevent_getfd(bufferevent), SHUT_WR);
    client->state = CLIENT_LINGERING;
    client->discarded_bytes = 0;
    client_set_deadline(client, LINGER_MS);
    bufferevent_enable(bufferevent, EV_READ);
    client_discard_input(client);
}

static void client_on_event(struct bufferevent *bufferevent, short what, void *owner)
{
    struct client *client = owner;

    client->is_half_closed = true;
    if (!(what & BEV_EVENT_EOF))
        client_close(client);
    else if (client->state == CLIENT_READING)
        client_advance(client); /* a whole request before the end is still answered */
    else if (client->state == CLIENT_STREAMING)
        client_end_stream(client);
    else if (client->state == CLIENT_LINGERING)
        client_close(client);
}

static void client_on_deadline(evutil_socket_t fd, short what, void *owner)
{
    struct client *client = owner;

    if (client->state == CLIENT_READING && evbuffer_get_length(bufferevent_get_input(client->bufferevent)))
        client_refuse(client, 408, "too-slow", "the request did not arrive in time");
    else
        client_close(client);
}

struct api_clients *api_clients_new(struct event_base *base, const struct api_backend *backend,
                                    const struct api_server_limits *limits)
{
    struct api_clients *clients = alloc_zeroed(sizeof(*clients));

    clients->base = base;
    clients->backend = backend;
    clients->limits = *limits;
    TAILQ_INIT(&clients->open);
    TAILQ_INIT(&clients->closed);
    clients->reap = event_new(base, -1, 0, reap_closed, clients);
    if (!clients->reap)
        abort();
    return clients;
}

bool api_clients_evict(struct api_clients *clients)
{
    struct client *client;

    TAILQ_FOREACH(client, &clients->open, link)
    if (client->state == CLIENT_READING || client->state == CLIENT_LINGERING) {
        client_close(client);
        return true;
    }
    return false;
}

/* One attempt, and the client is gone whatever becomes of it. */
static void refuse_connection(int fd)
{
    struct api_reply reply;

    api_reply_error(&reply, 503, "too-many-clients", "too many clients are connected; try again in a moment");
    CLEANUP_FREE char *text =
        alloc_printf("HTTP/1.1 503 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     api_status_phrase(503), reply.content_type, reply.body_size, reply.body);
    if (send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        shutdown(fd, SHUT_WR);
    close(fd);
    api_reply_finish(&reply);
}

void api_clients_admit(struct api_clients *clients, int fd, bool may_change)
{
    if (clients->open_count >= clients->limits.max_clients && !api_clients_evict(clients)) {
        refuse_connection(fd);
        return;
    }

    struct client *client = alloc_zeroed(sizeof(*client));
    client->clients = clients;
    client->may_change = may_change;
    client->bufferevent = bufferevent_socket_new(clients->base, fd, BEV_OPT_CLOSE_ON_FREE);
    client->deadline = evtimer_new(clients->base, client_on_deadline, client);
    if (!client->bufferevent || !client->deadline)
        abort();
    TAILQ_INSERT_TAIL(&clients->open, client, link);
    clients->open_count++;
    /* No more is read ahead than the largest request has. */
    bufferevent_setwatermark(client->bufferevent, EV_READ, 0,
                             clients->limits.max_head_bytes + clients->limits.max_body_bytes);
    bufferevent_setcb(client->bufferevent, client_on_readable, client_on_written, client_on_event, client);
    bufferevent_enable(client->bufferevent, EV_READ | EV_WRITE);
    client_await_request(client);
}

void api_clients_publish(struct api_clients *clients, struct json_object *object)
{
    struct client *client, *next;
    size_t size;

    if (clients->stream_count == 0)
        return;
    const char *text = json_object_to_json_string_length(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    CLEANUP_FREE char *line = alloc_zeroed(size + 1);
    memcpy(line, text, size);
    line[size] = '\n';
    for (client = TAILQ_FIRST(&clients->open); client; client = next) {
        next = TAILQ_NEXT(client, link);
        if (client->state == CLIENT_STREAMING)
            client_write_line(client, line, size + 1);
    }
}

unsigned api_clients_count_streams(const struct api_clients *clients)
{
    return clients->stream_count;
}

/* A bufferevent writes only from the loop, which has ended: what the socket takes at once is sent here. */
static void client_flush(struct client *client)
{
    struct evbuffer_iovec pieces[16];
    struct evbuffer *output = bufferevent_get_output(client->bufferevent);

    if (client->state == CLIENT_STREAMING)
        client_end_stream(client);
    int count = evbuffer_peek(output, -1, NULL, pieces, 16);
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)(count < 16 ? count : 16)};
    if (count > 0)
        sendmsg(bufferevent_getfd(client->bufferevent), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* The descriptor itself is closed only when libevent finalizes the bufferevent. */
    shutdown(bufferevent_getfd(client->bufferevent), SHUT_RDWR);
}

struct api_clients *api_clients_free(struct api_clients *clients)
{
    struct client *client;

    if (!clients)
        return NULL;
    while ((client = TAILQ_FIRST(&clients->open))) {
        client_flush(client);
        client_close(client);
    }
    reap_closed(-1, 0, clients);
    event_free(clients->reap);
    free(clients);
    return NULL;
}
