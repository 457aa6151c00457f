/* SPDX-License-Identifier: MIT */
#include "daemon/doctor/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "daemon/decide/record.h"
#include "daemon/doctor/doctor_private.h"

static const char *const level_names[] = {
    [BOOT_LEVEL_OK] = "ok", [BOOT_LEVEL_WARNING] = "warning", [BOOT_LEVEL_FAILURE] = "failure"};

static void print_json(struct doctor *doctor, struct json_object *object)
{
    fprintf(doctor->stream, "%s\n", json_to_text(object));
    fflush(doctor->stream);
}

void doctor_tell(struct doctor *doctor, const char *check, enum boot_level level, const char *format, ...)
{
    static const char *const shown[] = {
        [BOOT_LEVEL_OK] = "ok", [BOOT_LEVEL_WARNING] = "WARNING", [BOOT_LEVEL_FAILURE] = "FAILURE"};
    char text[1024], clean[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    record_copy_text(clean, sizeof(clean), text);
    doctor->counts[level]++;
    if (doctor->for_people) {
        fprintf(doctor->stream, "%-8s %s: %s\n", shown[level], check, clean);
        fflush(doctor->stream);
        return;
    }
    CLEANUP_JSON struct json_object *object = json_object_new_object();
    json_add_string(object, "event", "finding");
    json_add_string(object, "check", check);
    json_add_string(object, "result", level_names[level]);
    json_add_string(object, "message", clean);
    print_json(doctor, object);
}

/* Reports keys that are wrong; the rest of doctor goes on with the other keys. */
static void look_at_settings(struct doctor *doctor, const struct config_request *request)
{
    struct config_problems problems = {0};

    config_read(request, &doctor->config, &problems);

    for (size_t i = 0; i < problems.count; i++)
        doctor_tell(doctor, "settings", problems.items[i].is_error ? BOOT_LEVEL_FAILURE : BOOT_LEVEL_WARNING,
                    "%s", problems.items[i].message);
    if (!problems.count)
        doctor_tell(doctor, "settings", BOOT_LEVEL_OK,
                    "they can be used; moonsinterd --check-config shows them");
    config_problems_finish(&problems);
}

static bool prepare(struct doctor *doctor)
{
    struct error error = {0};

    if (loop_new(&doctor->base, &error))
        doctor->processes = processes_new(doctor->base, &error);
    if (doctor->processes && pool_new(doctor->base, 1, &doctor->pool, &error))
        return true;
    doctor_tell(doctor, "doctor", BOOT_LEVEL_FAILURE, "nothing can be looked at: %s", error.message);
    return false;
}

static void look(struct doctor *doctor)
{
    const struct config *config = doctor->config;

    if (geteuid() != 0)
        doctor_tell(doctor, "privileges", BOOT_LEVEL_WARNING,
                    "you are not root, so not everything can be looked at; run it as root");
    /* If the slots are not named, the findings on the settings say so. */
    bool slots_named = config->slot_names[SLOT_A] && config->slot_names[SLOT_B];
    if (slots_named && config_has_boot_file(config))
        doctor_look_at_boot(doctor);
    if (slots_named)
        doctor_look_at_slots(doctor);
    doctor_look_at_state_folder(doctor);
    doctor_read_record(doctor);
    doctor_look_at_trust(doctor);
    if (config->url)
        doctor_ask_server(doctor);
    doctor_look_at_clock(doctor);
    doctor_look_at_memory(doctor);
    doctor_look_at_health_checks(doctor);
    doctor_look_at_reboot(doctor);
}

static void sum_up(struct doctor *doctor)
{
    const unsigned *counts = doctor->counts;

    if (doctor->for_people) {
        fprintf(doctor->stream, "%u ok, %u warnings, %u failures\n", counts[BOOT_LEVEL_OK],
                counts[BOOT_LEVEL_WARNING], counts[BOOT_LEVEL_FAILURE]);
        return;
    }
    CLEANUP_JSON struct json_object *object = json_object_new_object();
    json_add_string(object, "event", "done");
    json_add_u64(object, "ok", counts[BOOT_LEVEL_OK]);
    json_add_u64(object, "warnings", counts[BOOT_LEVEL_WARNING]);
    json_add_u64(object, "failures", counts[BOOT_LEVEL_FAILURE]);
    print_json(doctor, object);
}

int doctor_run(const struct config_request *request, bool for_people, FILE *stream)
{
    struct doctor doctor = {.stream = stream, .for_people = for_people};

    look_at_settings(&doctor, request);
    if (prepare(&doctor))
        look(&doctor);
    sum_up(&doctor);
    release_free(doctor.release);
    slots_free(doctor.slots);
    boot_free(doctor.boot);
    pool_free(doctor.pool);
    processes_free(doctor.processes);
    loop_free(doctor.base);
    config_free(doctor.config);
    return doctor.counts[BOOT_LEVEL_FAILURE] ? EXIT_FAILURE : EXIT_SUCCESS;
}
