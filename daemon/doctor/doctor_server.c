/* SPDX-License-Identifier: MIT */
/* Asks the image server. See daemon/doctor/doctor_private.h. */
#include "daemon/doctor/doctor_private.h"

#include <string.h>

#include "common/base/text.h"
#include "common/io/http.h"
#include "common/sinter/release.h"
#include "common/sinter/release_parts.h"

struct server {
    struct doctor *doctor;
    struct http *http;
};

/* Runs the loop until the callback of the request ends it. */
static void wait_for_answer(struct server *server)
{
    loop_run(server->doctor->base);
}

static void on_release(void *owner, struct release *release, bool unchanged, const struct error *error,
                       uint64_t retry_after_ms)
{
    struct server *server = owner;
    struct doctor *doctor = server->doctor;
    char size[16];

    loop_end(doctor->base);
    if (!release) {
        doctor_tell(doctor, "server", BOOT_LEVEL_FAILURE, "%s", error ? error->message : "it did not answer");
        return;
    }
    doctor->image_bytes = release->manifest->file_size;
    doctor->release_created_s = release->manifest->release.created;
    doctor_tell(doctor, "server", BOOT_LEVEL_OK, "it offers release %.100s, an image of %s",
                release->manifest->release.version ? release->manifest->release.version : "without a version",
                text_format_bytes(size, sizeof(size), release->manifest->file_size));
    if (release->verdict.is_signed)
        doctor_tell(doctor, "signature", BOOT_LEVEL_OK, "the manifest is signed by key %s",
                    release->verdict.key_id);
    else
        doctor_tell(doctor, "signature", BOOT_LEVEL_WARNING, "the manifest counts as not signed%s%s",
                    *release->verdict.why_not ? ": " : "", release->verdict.why_not);
    doctor->release = release;
}

/* A set that is not all there is held like one that cannot be asked for. */
static void on_parts(void *owner, const struct error *error, uint64_t retry_after_ms)
{
    struct doctor *doctor = ((struct server *)owner)->doctor;

    loop_end(doctor->base);
    if (!error) {
        doctor_tell(doctor, "server-parts", BOOT_LEVEL_OK,
                    "the manifests of all %u parts of the set are there",
                    doctor->release->manifest->parts.count);
        return;
    }
    doctor_tell(doctor, "server-parts", BOOT_LEVEL_FAILURE, "%s", error->message);
    doctor->release = release_free(doctor->release);
}

static void ask_for_parts(struct server *server)
{
    struct doctor *doctor = server->doctor;

    if (!doctor->release || !doctor->release->manifest->parts.count)
        return;
    release_parts_start(server->http, doctor->pool, doctor->release, NULL, on_parts, server);
    wait_for_answer(server);
}

static void on_range(void *owner, struct http_response *response)
{
    struct server *server = owner;
    struct doctor *doctor = server->doctor;

    loop_end(doctor->base);
    if (response->outcome != HTTP_OUTCOME_OK) {
        doctor_tell(doctor, "server-ranges", BOOT_LEVEL_FAILURE, "%s", response->error.message);
        return;
    }
    if (response->total_size != doctor->image_bytes)
        doctor_tell(
            doctor, "server-ranges", BOOT_LEVEL_FAILURE,
            "the image has %llu bytes and its manifest says %llu: publish both anew, the manifest last",
            (unsigned long long)response->total_size, (unsigned long long)doctor->image_bytes);
    else
        doctor_tell(doctor, "server-ranges", BOOT_LEVEL_OK, "it answers requests for a part of the image");
    if (!response->etag && !response->last_modified)
        doctor_tell(
            doctor, "server-etag", BOOT_LEVEL_WARNING,
            "it sends neither ETag nor Last-Modified for the image, so one that is replaced in the middle of a "
            "download is noticed late, by its digest");
    else if (!response->etag || strncmp(response->etag, "W/", 2) == 0)
        doctor_tell(
            doctor, "server-etag", BOOT_LEVEL_WARNING,
            "it sends no strong ETag for the image, so one that is replaced in the middle of a download may "
            "be noticed late; compression on the fly is a common cause");
    else
        doctor_tell(doctor, "server-etag", BOOT_LEVEL_OK, "it sends an ETag for the image");
}

void doctor_ask_server(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    struct server server = {.doctor = doctor};
    struct error error;
    uint8_t byte;
    const struct trust trust = doctor_trust(doctor);
    struct http_settings settings;

    if (config->keys_why)
        doctor_tell(doctor, "keys", BOOT_LEVEL_FAILURE, "%s", config->keys_why);
    config_get_http(config, &settings);
    /* No rate limit: somebody waits for the answer, which is small. */
    settings.rate_limit_bytes_s = 0;
    if (!http_new(doctor->base, &settings, &server.http, &error)) {
        doctor_tell(doctor, "server", BOOT_LEVEL_FAILURE, "%s", error.message);
        return;
    }
    release_fetch_start(server.http, doctor->pool, config->url, NULL, NULL, &trust, on_release, &server);
    wait_for_answer(&server);
    ask_for_parts(&server);
    if (doctor->image_bytes) {
        http_get_range(
            server.http,
            &(struct http_get_range){.url = url_text_to_send(config->url), .size = 1, .buffer = &byte},
            on_range, &server);
        wait_for_answer(&server);
    }
    if (doctor->release) {
        doctor_judge_offer(doctor, server.http);
        doctor_look_at_room_for_parts(doctor);
    }
    http_free(server.http);
    if (doctor->image_bytes && doctor->slot_bytes && doctor->image_bytes > doctor->slot_bytes)
        doctor_tell(doctor, "slot-size", BOOT_LEVEL_FAILURE,
                    "the image (%llu bytes) is larger than the smaller slot (%llu bytes)",
                    (unsigned long long)doctor->image_bytes, (unsigned long long)doctor->slot_bytes);
    else if (doctor->image_bytes && doctor->slot_bytes)
        doctor_tell(doctor, "slot-size", BOOT_LEVEL_OK, "the image fits into either slot");
}
