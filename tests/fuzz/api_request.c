/* SPDX-License-Identifier: MIT */
/* A request to the API, as it may come in pieces, and its answer: JSON or a known text, and no change without
 * authority. */
#include "daemon/face/api_http.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "daemon/face/api.h"
#include "tests/fuzz/fuzz.h"

enum { HEAD_SIZE_MAX = 8192 };

static struct json_object *make_object(void *owner)
{
    return json_object_new_object();
}

static char *make_metrics(void *owner)
{
    return alloc_string("moonsinter_up 1\n");
}

static bool take_request(void *owner, enum api_action action, struct api_error *error)
{
    ++*(unsigned *)owner;
    return true;
}

static void answer(const struct api_http_head *head, const char *body, size_t body_size, bool may_change)
{
    unsigned changes = 0;
    const struct api_backend backend = {
        .owner = &changes,
        .status = make_object,
        .plan = make_object,
        .history = make_object,
        .config = make_object,
        .metrics = make_metrics,
        .request = take_request,
    };
    CLEANUP_FREE char *text = alloc_zeroed(body_size + 1);
    struct api_reply reply;

    memcpy(text, body, body_size);
    const struct api_request request = {head->method, head->path, text, body_size, may_change};
    api_answer(&backend, &request, &reply);
    assert(reply.http_status >= 200 && reply.http_status < 600 && reply.content_type);
    assert(changes == (reply.http_status == 202) && (may_change || changes == 0));
    assert(*api_status_phrase(reply.http_status));
    api_reply_finish(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct api_http_head head, part_head;
    struct api_http_refusal refusal, part_refusal;
    enum api_http_result result = api_http_parse_head(text, size, HEAD_SIZE_MAX, &head, &refusal);

    /* Half of it either needs more, or comes to the same end. */
    enum api_http_result part = api_http_parse_head(text, size / 2, HEAD_SIZE_MAX, &part_head, &part_refusal);
    assert(part == API_HTTP_INCOMPLETE || part == result);
    if (result == API_HTTP_REFUSED)
        assert(refusal.http_status >= 400 && *refusal.code && *refusal.message);
    if (result != API_HTTP_WHOLE)
        return 0;
    assert(head.size <= size && memchr(head.method, 0, sizeof(head.method)) &&
           memchr(head.path, 0, sizeof(head.path)));
    answer(&head, text + head.size, size - head.size, true);
    answer(&head, text + head.size, size - head.size, false);
    return 0;
}
