/* SPDX-License-Identifier: MIT */
#include "daemon/face/api_server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/io/timer.h"
#include "common/io/watch.h"
#include "daemon/face/api_peer.h"
#include "daemon/face/api_room.h"
#include "daemon/face/api_server_client.h"
#include "daemon/face/api_socket.h"

enum {
    /* Connections accepted in one turn of the loop, so that a client that connects again and again does not
     * occupy the loop. */
    ACCEPT_BURST = 8,
    /* Without a free descriptor accept() would fail in an endless loop; try again after this. */
    ACCEPT_PAUSE_MS = 500,
};

struct api_server {
    struct api_client_set clients;
    struct api_socket socket;
    struct api_peer_group group;
    struct watch *readable;
    struct timer *pause;
};

static void limits_set_defaults(struct api_server_limits *limits)
{
    if (!limits->max_clients)
        limits->max_clients = 32;
    if (!limits->max_head_bytes)
        limits->max_head_bytes = 8 << 10;
    if (!limits->max_body_bytes)
        limits->max_body_bytes = 64 << 10;
    if (!limits->max_unread_bytes)
        limits->max_unread_bytes = 256 << 10;
    if (!limits->request_timeout_ms)
        limits->request_timeout_ms = 10000;
}

static void reap_closed(void *owner)
{
    struct api_client_set *set = owner;
    struct api_client *client;

    while ((client = TAILQ_FIRST(&set->closed))) {
        TAILQ_REMOVE(&set->closed, client, link);
        api_client_free(client);
    }
}

static void set_init(struct api_client_set *set, const struct api_server_options *options)
{
    set->base = options->base;
    set->backend = options->backend;
    set->limits = options->limits;
    limits_set_defaults(&set->limits);
    TAILQ_INIT(&set->open);
    TAILQ_INIT(&set->closed);
    set->reap = later_new(options->base, reap_closed, set);
}

static void set_finish(struct api_client_set *set)
{
    struct api_client *client;

    while ((client = TAILQ_FIRST(&set->open)))
        api_client_flush_and_close(client);
    reap_closed(set);
    later_free(set->reap);
}

/* Makes room for a client of this user; false if nobody has to go for him. */
static bool evict(struct api_client_set *set, uid_t newcomer)
{
    struct api_client *victim = api_room_find(set, newcomer);

    if (victim)
        api_client_close(victim);
    return victim != NULL;
}

/* Makes one attempt to send 503; the connection is closed either way. */
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

static void admit(struct api_server *server, int fd)
{
    struct api_client_set *set = &server->clients;
    uid_t uid;
    bool may_change = api_peer_may_change(fd, &server->group, &uid);

    if (set->open_count < set->limits.max_clients || evict(set, uid))
        api_client_start(set, fd, uid, may_change);
    else
        refuse_connection(fd);
}

static void on_pause_over(void *owner)
{
    struct api_server *server = owner;

    watch_start(server->readable);
}

static void pause_accepting(struct api_server *server)
{
    watch_stop(server->readable);
    timer_start(server->pause, ACCEPT_PAUSE_MS);
}

static void on_connections(void *owner, int listen_fd)
{
    struct api_server *server = owner;

    for (int i = 0; i < ACCEPT_BURST; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(server, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            evict(&server->clients, 0);
            pause_accepting(server);
        }
        /* EAGAIN: the queue is empty. After any other error the next turn takes the next connection. */
        return;
    }
}

bool api_server_new(const struct api_server_options *options, struct api_server **ret_server,
                    struct error *error)
{
    struct api_peer_group group;
    struct api_socket socket;

    if (!api_peer_find_group(options->group, &group, error))
        return false;
    if (options->listen_fd >= 0 ? !api_socket_adopt(&socket, options->listen_fd, error)
                                : !api_socket_open(&socket, options->socket_path, &group, error))
        return false;

    struct api_server *server = alloc_zeroed(sizeof(*server));
    server->socket = socket;
    server->group = group;
    set_init(&server->clients, options);
    server->readable = watch_new(options->base, WATCH_READABLE, socket.fd, on_connections, server);
    server->pause = timer_new(options->base, on_pause_over, server);
    if (!watch_start(server->readable))
        abort();
    /* libevent writes with writev(), so without this a client that has left would end the daemon. */
    signal(SIGPIPE, SIG_IGN);
    *ret_server = server;
    return true;
}

struct api_server *api_server_free(struct api_server *server)
{
    if (!server)
        return NULL;
    watch_free(server->readable);
    timer_free(server->pause);
    set_finish(&server->clients);
    api_socket_close(&server->socket);
    free(server);
    return NULL;
}

void api_server_publish(struct api_server *server, struct json_object *object)
{
    struct api_client *client, *next;

    if (server->clients.stream_count == 0)
        return;
    CLEANUP_FREE char *line = alloc_printf("%s\n", json_to_text(object));
    for (client = TAILQ_FIRST(&server->clients.open); client; client = next) {
        next = TAILQ_NEXT(client, link);
        if (client->state == API_CLIENT_STREAMING)
            api_client_write_line(client, line, strlen(line));
    }
}

unsigned api_server_count_streams(const struct api_server *server)
{
    return server->clients.stream_count;
}
