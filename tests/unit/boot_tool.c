/* SPDX-License-Identifier: MIT */
/*
 * One call to the boot selection, for tests that stand in the loader's place: boot_tool ROOT CONFIG VERB
 * [SLOT]. ROOT is put before every path, CONFIG's too. Prints one JSON object; exits with 1 where the call
 * failed.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/json.h"
#include "daemon/boot/boot.h"

static void print_state(const struct boot_state *state)
{
    printf(
        "{\"running\":\"%s\",\"next\":\"%s\",\"trial\":\"%s\",\"started\":\"%s\",\"tries_left\":%u,\"a\":\"%s\",\"b\":\"%s\","
        "\"note\":\"%s\"}\n",
        slot_name(state->running), slot_name(state->next), slot_name(state->trial), slot_name(state->started),
        state->tries_left, boot_health_name(state->health[SLOT_A]), boot_health_name(state->health[SLOT_B]),
        state->note);
}

static int print_error(const struct error *error)
{
    CLEANUP_JSON struct json_object *object = json_object_new_object();

    json_add_string(object, "kind", error_kind_name(error->kind));
    json_add_string(object, "message", error->message);
    puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
    return 1;
}

static void add_finding(void *owner, enum boot_level level, const char *sentence)
{
    static const char *const names[] = {"ok", "warning", "failure"};
    struct json_object *finding = json_object_new_object();

    json_add_string(finding, "level", names[level]);
    json_add_string(finding, "sentence", sentence);
    json_object_array_add(owner, finding);
}

static void print_findings(struct boot *boot)
{
    CLEANUP_JSON struct json_object *object = json_object_new_object();
    struct json_object *findings = json_object_new_array();

    json_object_object_add(object, "findings", findings);
    boot_probe(boot, add_finding, findings);
    puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
}

static bool change(struct boot *boot, const char *verb, enum slot slot, struct error *error)
{
    if (strcmp(verb, "start") == 0)
        return boot_start(boot, error);
    if (strcmp(verb, "can-arm") == 0)
        return boot_can_arm(boot, slot, error);
    if (strcmp(verb, "invalidate") == 0)
        return boot_invalidate(boot, slot, error);
    if (strcmp(verb, "arm") == 0)
        return boot_arm(boot, slot, error);
    if (strcmp(verb, "good") == 0)
        return boot_good(boot, slot, error);
    if (strcmp(verb, "reject") == 0)
        return boot_reject(boot, slot, error);
    return error_set(error, ERROR_REFUSED, "there is no verb %s", verb);
}

static int run(struct boot *boot, const char *verb, enum slot slot)
{
    struct boot_state state;
    struct error error = {0};

    if (strcmp(verb, "probe") == 0) {
        print_findings(boot);
        return 0;
    }
    if (strcmp(verb, "read") == 0) {
        if (!boot_read(boot, &state, &error))
            return print_error(&error);
        print_state(&state);
        return 0;
    }
    if (!change(boot, verb, slot, &error))
        return print_error(&error);
    puts("{}");
    return 0;
}

int main(int argc, char **argv)
{
    struct config_problems problems = {0};
    struct config *config = NULL;
    struct boot *boot = NULL;
    struct error error = {0};
    enum slot slot = SLOT_NONE;
    int status = 1;

    if (argc < 4 || (argc > 4 && slot_parse(argv[4], &slot) < 0)) {
        fprintf(stderr, "boot_tool ROOT CONFIG VERB [a|b]\n");
        return 2;
    }
    struct config_request request = {.root = argv[1], .file = argv[2]};
    if (!config_load(&request, &config, &problems)) {
        error_set(&error, ERROR_REFUSED, "%s", problems.items[0].message);
        print_error(&error);
    } else if (!boot_new(config, argv[1], &boot, &error)) {
        print_error(&error);
    } else {
        status = run(boot, argv[3], slot);
    }
    boot_free(boot);
    config_free(config);
    config_problems_finish(&problems);
    return status;
}
