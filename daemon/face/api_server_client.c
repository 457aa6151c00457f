/* SPDX-License-Identifier: MIT */
#include "daemon/face/api_server_client.h"

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
#include "daemon/face/api_http.h"
#include "daemon/face/api_room.h"

enum {
    /* After a refusal: for how long, and how many bytes, the rest of the request is still read, so that the
     * client reads the refusal before its writing fails (EPIPE). */
    LINGER_MS = 1000,
    LINGER_MAX_BYTES = 1 << 20,
};

static void client_advance(struct api_client *client);

void api_client_close(struct api_client *client)
{
    struct api_client_set *set = client->set;

    if (client->state == API_CLIENT_CLOSED)
        return;
    if (client->state == API_CLIENT_STREAMING)
        set->stream_count--;
    client->state = API_CLIENT_CLOSED;
    bufferevent_disable(client->bufferevent, EV_READ | EV_WRITE);
    bufferevent_setcb(client->bufferevent, NULL, NULL, NULL, NULL);
    timer_stop(client->deadline);
    TAILQ_REMOVE(&set->open, client, link);
    TAILQ_INSERT_TAIL(&set->closed, client, link);
    set->open_count--;
    later_call(set->reap);
}

void api_client_free(struct api_client *client)
{
    bufferevent_free(client->bufferevent);
    timer_free(client->deadline);
    free(client);
}

static void client_discard_input(struct api_client *client)
{
    struct evbuffer *input = bufferevent_get_input(client->bufferevent);
    size_t size = evbuffer_get_length(input);

    evbuffer_drain(input, size);
    client->discarded_bytes += size;
    if (client->discarded_bytes > LINGER_MAX_BYTES)
        api_client_close(client);
}

static void client_stand_last(struct api_client *client)
{
    TAILQ_REMOVE(&client->set->open, client, link);
    TAILQ_INSERT_TAIL(&client->set->open, client, link);
}

/* Waits for the next request, which has its full time from now on. */
static void client_await_request(struct api_client *client)
{
    struct api_client_set *set = client->set;

    client->state = API_CLIENT_READING;
    client->is_continue_sent = false;
    client_stand_last(client);
    timer_start(client->deadline, set->limits.request_timeout_ms);
    bufferevent_enable(client->bufferevent, EV_READ);
    client_advance(client);
}

static void client_write_head(struct api_client *client, const struct api_reply *reply)
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

void api_client_write_line(struct api_client *client, const char *line, size_t size)
{
    struct evbuffer *output = bufferevent_get_output(client->bufferevent);

    if (evbuffer_get_length(output) + size > client->set->limits.max_unread_bytes) {
        api_client_close(client);
        return;
    }
    if (!client->is_http_1_0)
        evbuffer_add_printf(output, "%zx\r\n", size);
    evbuffer_add(output, line, size);
    if (!client->is_http_1_0)
        evbuffer_add(output, "\r\n", 2);
}

/* Reads nothing until all output has been sent; then client_on_written() goes on. */
static void client_expect_reply_sent(struct api_client *client)
{
    if (client->state == API_CLIENT_STREAMING)
        client->set->stream_count--;
    client->state = API_CLIENT_REPLYING;
    client_stand_last(client);
    bufferevent_disable(client->bufferevent, EV_READ);
    timer_start(client->deadline, client->set->limits.request_timeout_ms);
}

static void client_end_stream(struct api_client *client)
{
    if (!client->is_http_1_0)
        evbuffer_add(bufferevent_get_output(client->bufferevent), "0\r\n\r\n", 5);
    client->keep_alive = false;
    client_expect_reply_sent(client);
}

static void client_start_stream(struct api_client *client, const struct api_reply *reply)
{
    client->keep_alive = false;
    client_write_head(client, reply);
    client->state = API_CLIENT_STREAMING;
    client->set->stream_count++;
    client->discarded_bytes = 0;
    timer_stop(client->deadline);
    /* Reading goes on, to notice the end of the connection. */
    client_discard_input(client);
    if (client->state == API_CLIENT_STREAMING)
        api_client_write_line(client, reply->body, reply->body_size);
}

/* Half of the clients may be streams. */
static bool make_room_for_stream(const struct api_client *client)
{
    if (client->set->stream_count < (client->set->limits.max_clients + 1) / 2)
        return true;
    struct api_client *victim = api_room_find_stream(client->set, client->uid);
    if (victim)
        api_client_close(victim);
    return victim != NULL;
}

/* Sends and releases the reply. */
static void client_reply(struct api_client *client, struct api_reply *reply, bool has_body)
{
    if (reply->is_stream && !make_room_for_stream(client)) {
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

/* Refuses what is not a request, and ends the connection. */
static void client_refuse(struct api_client *client, unsigned http_status, const char *code,
                          const char *message)
{
    struct api_reply reply;

    client->keep_alive = false;
    client->is_http_1_0 = false;
    api_reply_error(&reply, http_status, code, message);
    client_reply(client, &reply, true);
}

static void client_answer(struct api_client *client, const struct api_http_head *head)
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
    api_answer(&client->set->backend, &request, &reply);
    client_reply(client, &reply, strcmp(head->method, "HEAD") != 0);
}

/* Looks whether the bytes that have arrived make a request, and answers it. */
static void client_advance(struct api_client *client)
{
    const struct api_server_limits *limits = &client->set->limits;
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
        api_client_close(client);
}

static void client_on_readable(struct bufferevent *bufferevent, void *owner)
{
    struct api_client *client = owner;

    switch (client->state) {
    case API_CLIENT_READING:
        client_advance(client);
        break;
    case API_CLIENT_STREAMING:
    case API_CLIENT_LINGERING:
        client_discard_input(client);
        break;
    case API_CLIENT_REPLYING:
    case API_CLIENT_CLOSED:
        break;
    }
}

/* All output has gone to the kernel. */
static void client_on_written(struct bufferevent *bufferevent, void *owner)
{
    struct api_client *client = owner;

    if (client->state != API_CLIENT_REPLYING)
        return;
    if (client->keep_alive) {
        client_await_request(client);
        return;
    }
    if (client->is_half_closed) {
        api_client_close(client);
        return;
    }
    shutdown(bufferevent_getfd(bufferevent), SHUT_WR);
    client->state = API_CLIENT_LINGERING;
    client->discarded_bytes = 0;
    timer_start(client->deadline, LINGER_MS);
    bufferevent_enable(bufferevent, EV_READ);
    client_discard_input(client);
}

static void client_on_event(struct bufferevent *bufferevent, short what, void *owner)
{
    struct api_client *client = owner;

    client->is_half_closed = true;
    if (!(what & BEV_EVENT_EOF) || client->state == API_CLIENT_LINGERING)
        api_client_close(client);
    else if (client->state == API_CLIENT_READING)
        client_advance(client); /* a whole request before the end is still answered */
    else if (client->state == API_CLIENT_STREAMING)
        client_end_stream(client);
}

static void client_on_deadline(void *owner)
{
    struct api_client *client = owner;

    if (client->state == API_CLIENT_READING &&
        evbuffer_get_length(bufferevent_get_input(client->bufferevent)))
        client_refuse(client, 408, "too-slow", "the request did not arrive in time");
    else
        api_client_close(client);
}

void api_client_start(struct api_client_set *set, int fd, uid_t uid, bool may_change)
{
    struct api_client *client = alloc_zeroed(sizeof(*client));
    client->set = set;
    client->uid = uid;
    client->may_change = may_change;
    client->bufferevent = bufferevent_socket_new(set->base, fd, BEV_OPT_CLOSE_ON_FREE);
    client->deadline = timer_new(set->base, client_on_deadline, client);
    if (!client->bufferevent)
        abort();
    TAILQ_INSERT_TAIL(&set->open, client, link);
    set->open_count++;
    /* Never reads further ahead than the size of the largest request. */
    bufferevent_setwatermark(client->bufferevent, EV_READ, 0,
                             set->limits.max_head_bytes + set->limits.max_body_bytes);
    bufferevent_setcb(client->bufferevent, client_on_readable, client_on_written, client_on_event, client);
    bufferevent_enable(client->bufferevent, EV_READ | EV_WRITE);
    client_await_request(client);
}

/* A bufferevent writes only from the loop, which has ended: what the socket takes at once is sent here. */
void api_client_flush_and_close(struct api_client *client)
{
    struct evbuffer_iovec pieces[16];
    struct evbuffer *output = bufferevent_get_output(client->bufferevent);

    if (client->state == API_CLIENT_STREAMING)
        client_end_stream(client);
    int count = evbuffer_peek(output, -1, NULL, pieces, 16);
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)(count < 16 ? count : 16)};
    if (count > 0)
        sendmsg(bufferevent_getfd(client->bufferevent), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* The descriptor itself is closed only when libevent finalizes the bufferevent. */
    shutdown(bufferevent_getfd(client->bufferevent), SHUT_RDWR);
    api_client_close(client);
}
