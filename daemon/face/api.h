/* SPDX-License-Identifier: MIT */
/*
 * The HTTP API as a table: method and path in, status and body out. Decides which request needs what
 * authority and how errors are worded. Knows no sockets (those are in daemon/face/api_server.h), and of
 * the daemon only the callbacks in `struct api_backend`, which daemon_report.c fills in. Never blocks, and
 * the callbacks must not block either: they run on the loop during an update. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/json.h"

/* What a client may ask to be done, POST /v1/<name>. */
enum api_action {
    API_ACTION_CHECK,
    API_ACTION_INSTALL,
    API_ACTION_CANCEL,
    API_ACTION_REBOOT,
    API_ACTION_MARK_GOOD,
    API_ACTION_MARK_BAD,
    API_ACTION_ROLLBACK,
};

/* A refusal as the client reads it. */
struct api_error {
    unsigned http_status; /* 409 for "not in this state", 503 for "not now" */
    char code[40];        /* kebab-case, for scripts: "not-in-this-state" */
    char message[512];    /* one sentence, for people */
};

/* Fills in `error` and returns false, for `return api_error_set(...)`. */
bool api_error_set(struct api_error *error, unsigned http_status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* What the API needs of the daemon; every function is required and gets `owner`. Returned objects and strings
 * are new references (json_object_put, free). No function may free the server that calls it;
 * api_server_publish() may be called from request(). */
struct api_backend {
    void *owner;
    struct json_object *(*status)(void *owner);  /* the object of GET /v1/status */
    struct json_object *(*plan)(void *owner);    /* the plan made last; NULL = none, answered 409 no-plan */
    struct json_object *(*history)(void *owner); /* the last updates and trials */
    struct json_object *(*config)(void *owner);  /* effective settings, secrets masked */
    char *(*metrics)(void *owner);               /* Prometheus text */
    /* True: the request was accepted, answered 202 with the new status. False: `ret_error` says why not. */
    bool (*request)(void *owner, enum api_action action, struct api_error *ret_error);
};

/* The parts of a request that the API looks at. */
struct api_request {
    const char *method; /* "GET" */
    const char *path;   /* "/v1/status", no query */
    const char *body;   /* not NULL; zero-terminated past body_size */
    size_t body_size;
    bool may_change; /* the client's authority, see daemon/face/api_peer.h */
};

/* An answer; released with api_reply_finish(). */
struct api_reply {
    unsigned http_status;
    const char *content_type; /* static */
    const char *allow;        /* static; value of the Allow header of a 405, else NULL */
    char *body;
    size_t body_size;
    bool is_stream; /* GET /v1/events: the body is the first line, more follow until the client leaves */
};

/* Answers one request; always fills in a reply. */
void api_answer(const struct api_backend *backend, const struct api_request *request,
                struct api_reply *ret_reply);

/* Fills in an error reply, for what the server refuses before there is a whole request (400, 413, 503).
 * `message` is one sentence. */
void api_reply_error(struct api_reply *ret_reply, unsigned http_status, const char *code,
                     const char *message);

/* Frees what the reply holds. */
void api_reply_finish(struct api_reply *reply);

/* The reason phrase of an HTTP status that the API uses: "OK", "Not Found". */
const char *api_status_phrase(unsigned http_status);

/* The action as its path spells it: "check", "mark-good". */
const char *api_action_name(enum api_action action);
