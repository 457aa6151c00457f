#include "daemon/api_server.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "daemon/api_clients.h"
#include "daemon/api_peer.h"
#include "daemon/api_socket.h"

enum {
    /* Connections taken a turn of the loop: who connects in a tight circle does not keep the loop. */
    ACCEPT_BURST = 8,
    /* Without a free descriptor accept() fails at once and for ever; look again after this. */
    ACCEPT_PAUSE_MS = 500,
};

struct api_server {
    struct api_clients *clients;
    struct api_socket socket;
    struct api_peer_group group;
    struct event *readable;
    struct event *pause;
};

static void on_pause_over(evutil_socket_t fd, short what, void *owner)
{
    struct api_server *server = owner;

    event_add(server->readable, NULL);
}

static void pause_accepting(struct api_server *server)
{
    struct timeval delay = {.tv_usec = ACCEPT_PAUSE_MS * 1000};

    event_del(server->readable);
    event_add(server->pause, &delay);
}

static void on_connections(evutil_socket_t listen_fd, short what, void *owner)
{
    struct api_server *server = owner;

    for (int i = 0; i < ACCEPT_BURST; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            api_clients_admit(server->clients, fd, api_peer_may_change(fd, &server->group));
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            api_clients_evict(server->clients);
            pause_accepting(server);
        }
        /* EAGAIN is the end of the queue; whatever else befell one connection, the next turn takes the next.
         */
        return;
    }
}

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

bool api_server_new(const struct api_server_options *options, struct api_server **ret_server,
                    struct error *error)
{
    struct api_server_limits limits = options->limits;
    struct api_peer_group group;
    struct api_socket socket;

    if (!api_peer_find_group(options->group, &group, error))
        return false;
    if (options->listen_fd >= 0 ? !api_socket_adopt(&socket, options->listen_fd, error)
                                : !api_socket_open(&socket, options->socket_path, &group, error))
        return false;

    struct api_server *server = alloc_zeroed(sizeof(*server));
    limits_set_defaults(&limits);
    server->socket = socket;
    server->group = group;
    server->clients = api_clients_new(options->base, options->backend, &limits);
    server->readable = event_new(options->base, socket.fd, EV_READ | EV_PERSIST, on_connections, server);
    server->pause = evtimer_new(options->base, on_pause_over, server);
    if (!server->readable || !server->pause || event_add(server->readable, NULL) < 0)
        abort();
    /* libevent writes with writev(), where a client that has left would end the daemon. */
    signal(SIGPIPE, SIG_IGN);
    *ret_server = server;
    return true;
}

struct api_server *api_server_free(struct api_server *server)
{
    if (!server)
        return NULL;
    event_free(server->readable);
    event_free(server->pause);
    api_clients_free(server->clients);
    api_socket_close(&server->socket);
    free(server);
    return NULL;
}

void api_server_publish(struct api_server *server, struct json_object *object)
{
    api_clients_publish(server->clients, object);
}

unsigned api_server_count_streams(const struct api_server *server)
{
    return api_clients_count_streams(server->clients);
}
