/* SPDX-License-Identifier: MIT */
#include "daemon/face/api.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

static const char content_json[] = "application/json";
static const char content_lines[] = "application/x-ndjson";
static const char content_metrics[] = "text/plain; version=0.0.4; charset=utf-8";

bool api_error_set(struct api_error *error, unsigned http_status, const char *code, const char *format, ...)
{
    va_list args;

    error->http_status = http_status;
    snprintf(error->code, sizeof(error->code), "%s", code);
    va_start(args, format);
    vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    return false;
}

const char *api_status_phrase(unsigned http_status)
{
    static const struct {
        unsigned http_status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {202, "Accepted"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].http_status == http_status)
            return phrases[i].phrase;
    return "Unknown";
}

const char *api_action_name(enum api_action action)
{
    static const char *const names[] = {
        [API_ACTION_CHECK] = "check",         [API_ACTION_INSTALL] = "install",
        [API_ACTION_CANCEL] = "cancel",       [API_ACTION_REBOOT] = "reboot",
        [API_ACTION_MARK_GOOD] = "mark-good", [API_ACTION_MARK_BAD] = "mark-bad",
        [API_ACTION_ROLLBACK] = "rollback",
    };

    assert(action < sizeof(names) / sizeof(names[0]));
    return names[action];
}

/* Takes `object`. A JSON body is one line, so that streams and replies can be read alike. */
static void reply_json(struct api_reply *reply, unsigned http_status, struct json_object *object)
{
    char *line = alloc_printf("%s\n", json_to_text(object));

    *reply = (struct api_reply){
        .http_status = http_status, .content_type = content_json, .body = line, .body_size = strlen(line)};
    json_object_put(object);
}

void api_reply_error(struct api_reply *ret_reply, unsigned http_status, const char *code, const char *message)
{
    struct json_object *object = json_object_new_object();
    struct json_object *error = json_object_new_object();

    json_add_string(error, "code", code);
    json_add_string(error, "message", message);
    json_object_object_add(object, "error", error);
    reply_json(ret_reply, http_status, object);
}

void api_reply_finish(struct api_reply *reply)
{
    free(reply->body);
    *reply = (struct api_reply){0};
}

/* A callback that returns NULL is a bug in the daemon, but the client gets an error and the daemon goes
 * on. */
static void reply_object(struct api_reply *reply, struct json_object *object)
{
    if (object)
        reply_json(reply, 200, object);
    else
        api_reply_error(reply, 500, "internal",
                        "moonsinterd could not put this answer together; see its log");
}

struct route;
typedef void (*route_fn)(const struct api_backend *backend, const struct route *route,
                         struct api_reply *reply);

struct route {
    const char *method;
    const char *path;
    bool needs_authority;
    enum api_action action; /* for answer_action() only */
    route_fn answer;
};

static void answer_status(const struct api_backend *backend, const struct route *route,
                          struct api_reply *reply)
{
    reply_object(reply, backend->status(backend->owner));
}

static void answer_events(const struct api_backend *backend, const struct route *route,
                          struct api_reply *reply)
{
    reply_object(reply, backend->status(backend->owner));
    if (reply->http_status == 200) {
        reply->content_type = content_lines;
        reply->is_stream = true;
    }
}

static void answer_plan(const struct api_backend *backend, const struct route *route, struct api_reply *reply)
{
    struct json_object *plan = backend->plan(backend->owner);

    if (plan)
        reply_json(reply, 200, plan);
    else
        api_reply_error(reply, 409, "no-plan",
                        "no plan has been computed yet; POST /v1/check (moonsinter check) computes one");
}

static void answer_history(const struct api_backend *backend, const struct route *route,
                           struct api_reply *reply)
{
    reply_object(reply, backend->history(backend->owner));
}

static void answer_config(const struct api_backend *backend, const struct route *route,
                          struct api_reply *reply)
{
    reply_object(reply, backend->config(backend->owner));
}

static void answer_metrics(const struct api_backend *backend, const struct route *route,
                           struct api_reply *reply)
{
    char *text = backend->metrics(backend->owner);

    if (!text) {
        reply_object(reply, NULL);
        return;
    }
    *reply = (struct api_reply){
        .http_status = 200, .content_type = content_metrics, .body = text, .body_size = strlen(text)};
}

static void answer_action(const struct api_backend *backend, const struct route *route,
                          struct api_reply *reply)
{
    struct api_error error = {
        .http_status = 409, .code = "refused", .message = "moonsinterd refused, without a reason"};

    if (!backend->request(backend->owner, route->action, &error)) {
        api_reply_error(reply, error.http_status, error.code, error.message);
        return;
    }
    reply_object(reply, backend->status(backend->owner));
    if (reply->http_status == 200)
        reply->http_status = 202;
}

static const struct route routes[] = {
    {"GET", "/v1/status", false, 0, answer_status},
    {"GET", "/v1/events", false, 0, answer_events},
    {"GET", "/v1/plan", false, 0, answer_plan},
    {"GET", "/v1/history", false, 0, answer_history},
    {"GET", "/v1/config", false, 0, answer_config},
    {"GET", "/metrics", false, 0, answer_metrics},
    {"POST", "/v1/check", true, API_ACTION_CHECK, answer_action},
    {"POST", "/v1/install", true, API_ACTION_INSTALL, answer_action},
    {"POST", "/v1/cancel", true, API_ACTION_CANCEL, answer_action},
    {"POST", "/v1/reboot", true, API_ACTION_REBOOT, answer_action},
    {"POST", "/v1/mark-good", true, API_ACTION_MARK_GOOD, answer_action},
    {"POST", "/v1/mark-bad", true, API_ACTION_MARK_BAD, answer_action},
    {"POST", "/v1/rollback", true, API_ACTION_ROLLBACK, answer_action},
};

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strcmp(routes[i].path, path) == 0)
            return &routes[i];
    return NULL;
}

/* No request needs a body yet. One that is sent must be a JSON object, so that members can get a meaning
 * later without breaking clients that send something else today. */
static bool body_is_acceptable(const struct api_request *request, struct error *error)
{
    CLEANUP_JSON struct json_object *object = NULL;

    return request->body_size == 0 ||
           json_parse_object(request->body, request->body_size, "the request's body", &object, error);
}

void api_answer(const struct api_backend *backend, const struct api_request *request,
                struct api_reply *ret_reply)
{
    const struct route *route = find_route(request->path);
    struct error error;

    if (!route) {
        api_reply_error(
            ret_reply, 404, "not-found",
            "there is nothing at this path; docs/api.md lists what there is, GET /v1/status for one");
        return;
    }
    bool is_head = strcmp(request->method, "HEAD") == 0 && strcmp(route->method, "GET") == 0;
    if (!is_head && strcmp(request->method, route->method) != 0) {
        bool is_get = strcmp(route->method, "GET") == 0;
        api_reply_error(ret_reply, 405, "method-not-allowed",
                        is_get ? "this path is for reading: use GET" : "this path is for orders: use POST");
        ret_reply->allow = is_get ? "GET, HEAD" : "POST";
        return;
    }
    if (route->needs_authority && !request->may_change) {
        api_reply_error(ret_reply, 403, "forbidden",
                        "only root, the daemon's own user and members of [Api] Group= may give orders");
        return;
    }
    if (!body_is_acceptable(request, &error)) {
        api_reply_error(ret_reply, 400, "bad-body", error.message);
        return;
    }
    route->answer(backend, route, ret_reply);
    /* A HEAD of the stream is answered with the head alone. */
    if (is_head)
        ret_reply->is_stream = false;
}
