/* SPDX-License-Identifier: MIT */
#include "cli/daemon_status.h"

#include <inttypes.h>
#include <string.h>

#include "cli/plain_text.h"
#include "cli/progress.h"
#include "common/base/text.h"

char *daemon_status_text(char ret_text[DAEMON_STATUS_TEXT_SIZE], struct json_object *object, const char *name)
{
    const char *text = "";

    if (object)
        json_get_string(object, name, &text);
    return plain_text_copy(ret_text, DAEMON_STATUS_TEXT_SIZE, text);
}

static bool is_true(struct json_object *object, const char *name)
{
    bool value = false;

    if (object)
        json_get_bool(object, name, &value);
    return value;
}

/* Prints "before TEXT after", or nothing if there is no text. */
static void print_text(FILE *stream, const char *before, struct json_object *object, const char *name,
                       const char *after)
{
    char text[DAEMON_STATUS_TEXT_SIZE];

    if (*daemon_status_text(text, object, name))
        fprintf(stream, "%s%s%s", before, text, after);
}

static void print_bytes(FILE *stream, const char *before, struct json_object *object, const char *name,
                        const char *after)
{
    char text[16];

    fprintf(stream, "%s%s%s", before, text_format_bytes(text, sizeof(text), json_number(object, name)),
            after);
}

/* "version 1.2 (serial 3)", as far as known. */
static void print_release(FILE *stream, struct json_object *object)
{
    char version[DAEMON_STATUS_TEXT_SIZE], sha256[DAEMON_STATUS_TEXT_SIZE];
    uint64_t serial = json_number(object, "serial");

    daemon_status_text(version, object, "version");
    daemon_status_text(sha256, object, "sha256");
    if (*version)
        fprintf(stream, "version %s", version);
    else if (*sha256)
        fprintf(stream, "image %.12s", sha256);
    else
        fputs("unknown contents", stream);
    if (serial)
        fprintf(stream, " (serial %" PRIu64 ")", serial);
}

/* Where the parts of a set lie, and what they are as far as known. */
static void print_parts(FILE *stream, struct json_object *parts)
{
    char name[DAEMON_STATUS_TEXT_SIZE], text[DAEMON_STATUS_TEXT_SIZE];
    struct json_object_iter part;

    if (!parts)
        return;
    json_object_object_foreachC(parts, part)
    {
        bool known = *daemon_status_text(text, part.val, "sha256");
        plain_text_copy(name, sizeof(name), part.key);
        fprintf(stream, "  %-10s %s%.12s", name, known ? "image " : "unknown contents", text);
        print_text(stream, ", ", part.val, "path", "\n");
    }
}

static void print_slot(FILE *stream, const char *name, struct json_object *slot)
{
    char from[DAEMON_STATUS_TEXT_SIZE];

    if (!slot)
        return;
    fprintf(stream, "Slot %s:      ", name);
    print_text(stream, "", slot, "role", ", ");
    print_text(stream, "", slot, "state", ", ");
    print_release(stream, slot);
    if (strcmp(daemon_status_text(from, slot, "version_from"), "os-release") == 0)
        fputs(" as its os-release says", stream);
    print_text(stream, ", ", slot, "device", "");
    fputc('\n', stream);
    print_parts(stream, json_inner(slot, "parts"));
}

static void print_boot(FILE *stream, struct json_object *boot)
{
    if (!boot)
        return;
    if (json_inner(boot, "next"))
        print_text(stream, "Next boot:   slot ", boot, "next", "");
    else
        fputs("Next boot:   not known", stream);
    if (is_true(boot, "trial"))
        fprintf(stream, ", on trial, %" PRIu64 " tries left", json_number(boot, "tries_left"));
    print_text(stream, " (", boot, "backend", ")");
    fputc('\n', stream);
    print_text(stream, "Note:        ", boot, "note", "\n");
}

/* Prints what was published but could not be used. */
static void print_skipped(FILE *stream, struct json_object *status, const char *before)
{
    struct json_object *update = json_inner(status, "update");

    print_text(stream, before, update, "table_skipped", " (table-skipped)\n");
    print_text(stream, before, update, "pack_skipped", " (pack-skipped)\n");
}

void daemon_status_print_waiting(FILE *stream, struct json_object *status, const char *before)
{
    struct json_object *waiting = json_inner(json_inner(status, "update"), "waiting");

    if (!waiting)
        return;
    fputs(before, stream);
    print_text(stream, "", waiting, "why", "");
    print_text(stream, " (", waiting, "kind", ")");
    print_text(stream, ", since ", waiting, "since", "");
    print_text(stream, "; tried again at ", waiting, "until", "");
    fputc('\n', stream);
}

/* Prints how far an update under way has got, how fast it is, and how long it will take. */
static void print_pace(FILE *stream, struct json_object *status, struct json_object *progress)
{
    uint64_t eta_s = json_number(progress, "eta_s");
    char state[DAEMON_STATUS_TEXT_SIZE], text[32];
    struct json_object *percent = NULL;

    if (strcmp(daemon_status_text(state, status, "state"), "installing") != 0 ||
        !json_object_object_get_ex(progress, "percent", &percent))
        return;
    double done = json_object_get_double(percent);
    fprintf(stream, "Progress:    %.1f %%", done > 0 && done < 100 ? done : done > 0 ? 100.0 : 0.0);
    if (json_number(progress, "rate_bytes_per_s"))
        print_bytes(stream, ", ", progress, "rate_bytes_per_s", "/s");
    if (eta_s)
        fprintf(stream, ", %s left of the download", progress_format_left(text, sizeof(text), eta_s));
    fputc('\n', stream);
}

static void print_update(FILE *stream, struct json_object *status)
{
    struct json_object *update = json_inner(status, "update"), *progress = json_inner(update, "progress");

    if (!update)
        return;
    if (json_number(update, "size_bytes")) {
        fputs("Update:      ", stream);
        print_release(stream, update);
        print_bytes(stream, ", ", update, "size_bytes", "");
        print_text(stream, ", from ", update, "url", "\n");
    } else {
        print_text(stream, "Source:      ", update, "url", "\n");
    }
    if (json_number(progress, "bytes_to_download") || json_number(progress, "bytes_written")) {
        print_pace(stream, status, progress);
        print_bytes(stream, "Transfer:    ", progress, "bytes_downloaded", " of ");
        print_bytes(stream, "", progress, "bytes_to_download", " downloaded, ");
        print_bytes(stream, "", progress, "bytes_kept", " kept, ");
        print_bytes(stream, "", progress, "bytes_copied", " copied, ");
        print_bytes(stream, "", progress, "bytes_written", " written\n");
    }
    print_skipped(stream, status, "Costs more:  ");
    daemon_status_print_waiting(stream, status, "Waiting:     ");
}

static void print_blocks(FILE *stream, struct json_object *status, const char *before)
{
    struct json_object *list;

    if (!json_object_object_get_ex(status, "blocked_by", &list) ||
        !json_object_is_type(list, json_type_array))
        return;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *block = json_object_array_get_idx(list, i);
        if (!json_object_is_type(block, json_type_object))
            continue;
        fputs(before, stream);
        print_text(stream, "", block, "why", "");
        print_text(stream, " (", block, "what", ")");
        print_text(stream, ", until ", block, "until", "");
        fputc('\n', stream);
    }
}

static void print_last_error(FILE *stream, struct json_object *error, const char *before)
{
    if (!error)
        return;
    fputs(before, stream);
    print_text(stream, "", error, "message", "");
    print_text(stream, " (", error, "kind", "");
    print_text(stream, ", ", error, "time", "");
    fputs(")\n", stream);
}

/* What a failed health check printed last, a line each. */
static void print_output(FILE *stream, struct json_object *entry)
{
    const char *output = "";
    char line[DAEMON_STATUS_TEXT_SIZE], clean[DAEMON_STATUS_TEXT_SIZE];

    json_get_string(entry, "output", &output);
    while (*output) {
        size_t length = strcspn(output, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)length, output);
        fprintf(stream, "    | %s\n", plain_text_copy(clean, sizeof(clean), line));
        output += length + (output[length] == '\n');
    }
}

void daemon_status_print_entry(FILE *stream, struct json_object *entry)
{
    char text[32];

    print_text(stream, "", entry, "time", "  ");
    print_text(stream, "", entry, "result", "");
    print_text(stream, "  ", entry, "from", "");
    print_text(stream, " -> ", entry, "to", "");
    if (json_number(entry, "bytes_downloaded") || json_number(entry, "seconds")) {
        print_bytes(stream, "  ", entry, "bytes_downloaded", " downloaded, ");
        print_bytes(stream, "", entry, "bytes_written", " written");
        fprintf(stream, " in %s",
                text_format_duration(text, sizeof(text), json_number(entry, "seconds") % 31536000 * 1000));
    }
    print_text(stream, ": ", entry, "reason", "");
    fputc('\n', stream);
    print_output(stream, entry);
}

/* Prints which keys are trusted, and who signed what is offered. */
static void print_trust(FILE *stream, struct json_object *status)
{
    struct json_object *update = json_inner(status, "update");
    char key[DAEMON_STATUS_TEXT_SIZE];

    if (*daemon_status_text(key, update, "signed_by")) {
        fprintf(stream, "Signed:      by key %s", key);
        print_text(stream, ": ", update, "trusted_comment", "");
        fputc('\n', stream);
    }
    print_text(stream, "Trust:       ", json_inner(status, "trust"), "why", "\n");
}

void daemon_status_print(FILE *stream, struct json_object *status)
{
    struct json_object *slots = json_inner(status, "slots"), *last_check = json_inner(status, "last_check");

    print_text(stream, "State:       ", status, "state", "");
    print_text(stream, " (", status, "phase", ")");
    print_text(stream, ", since ", status, "since", "");
    fputc('\n', stream);
    print_blocks(stream, status, "Held:        ");
    print_text(stream, "Stalled:     ", status, "stalled", "\n");
    print_slot(stream, "a", json_inner(slots, "a"));
    print_slot(stream, "b", json_inner(slots, "b"));
    print_boot(stream, json_inner(status, "boot"));
    print_update(stream, status);
    print_trust(stream, status);
    if (last_check && json_object_object_length(last_check)) {
        print_text(stream, "Last check:  ", last_check, "result", "");
        print_text(stream, ", ", last_check, "time", "\n");
        print_text(stream, "Next check:  ", last_check, "next", "\n");
    }
    if (json_inner(status, "last_update")) {
        fputs("Last update: ", stream);
        daemon_status_print_entry(stream, json_inner(status, "last_update"));
    }
    print_last_error(stream, json_inner(status, "last_error"), "Last error:  ");
}

/* Explains a state to people who do not know its name. */
static void explain_state(FILE *stream, struct json_object *status, const char *state)
{
    static const char *const meanings[][2] = {
        {"idle", "nothing is under way"},
        {"checking", "the image server is being asked"},
        {"held", "something keeps an update back"},
        {"installing", "an update is being written to the slot that does not run"},
        {"activating", "the boot selection is being written"},
        {"trial", "the running slot has yet to show that it is fit"},
        {"stopping", "it is about to end"},
    };
    char slot[DAEMON_STATUS_TEXT_SIZE];

    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (strcmp(state, meanings[i][0]) == 0)
            fprintf(stream, ": %s", meanings[i][1]);
    if (strcmp(state, "reboot-pending") != 0)
        return;
    if (!*daemon_status_text(slot, json_inner(status, "boot"), "next")) {
        fputs(": an update waits for its boot, and what boots next is not known", stream);
        return;
    }
    fprintf(stream, ": the next boot takes slot %s, ", slot);
    print_release(stream, json_inner(json_inner(status, "slots"), slot));
    fputs("; moonsinter reboot makes it", stream);
}

void daemon_status_print_reasons(FILE *stream, struct json_object *status)
{
    struct json_object *last_update = json_inner(status, "last_update");
    struct json_object *last_check = json_inner(status, "last_check");
    char state[DAEMON_STATUS_TEXT_SIZE];

    fprintf(stream, "The state is %s", daemon_status_text(state, status, "state"));
    print_text(stream, " since ", status, "since", "");
    explain_state(stream, status, state);
    fputc('\n', stream);
    print_blocks(stream, status, "It is held: ");
    print_text(stream, "It is stalled: ", status, "stalled", "\n");
    print_skipped(stream, status, "It downloads more than it need: ");
    daemon_status_print_waiting(stream, status, "It waits: ");
    print_text(stream, "The boot selection: ", json_inner(status, "boot"), "note", "\n");
    print_text(stream, "The last check found: ", last_check, "result", "\n");
    print_text(stream, "It looks again at ", last_check, "next", "");
    print_text(stream, ": ", last_check, "why", "");
    if (*daemon_status_text(state, last_check, "next"))
        fputc('\n', stream);
    if (last_update) {
        print_text(stream, "The last update ended as: ", last_update, "result", "");
        print_text(stream, " ", last_update, "from", "");
        print_text(stream, " -> ", last_update, "to", "");
        print_text(stream, ", because ", last_update, "reason", "");
        print_text(stream, " (", last_update, "time", ")");
        fputc('\n', stream);
        print_output(stream, last_update);
    }
    print_last_error(stream, json_inner(status, "last_error"), "The last error: ");
}
