/* SPDX-License-Identifier: MIT */
/* Turns the record into JSON text and back. See daemon/decide/record.h. */
#include "daemon/decide/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/timestamp.h"

static const char *const stage_names[] = {"none", "arming", "armed", "booted", "rejected"};
static const char *const result_names[] = {"installed", "failed", "fell-back", "cancelled", "good"};
static const char *const health_names[] = {
    [BOOT_HEALTH_UNKNOWN] = "unknown", [BOOT_HEALTH_GOOD] = "good",       [BOOT_HEALTH_TRIAL] = "trial",
    [BOOT_HEALTH_BAD] = "bad",         [BOOT_HEALTH_INVALID] = "invalid",
};
#define NAME_COUNT(names) (sizeof(names) / sizeof((names)[0]))

static void add_time(struct json_object *object, const char *name, uint64_t time_s)
{
    char text[TIMESTAMP_TEXT_SIZE];

    json_add_string(object, name, time_s ? timestamp_format(text, time_s) : NULL);
}

/* "" is shown as null. */
static void add_text(struct json_object *object, const char *name, const char *text)
{
    json_add_string(object, name, *text ? text : NULL);
}

static struct json_object *format_release(const struct record_release *release)
{
    struct json_object *object = json_object_new_object();

    add_text(object, "version", release->version);
    if (release->has_serial)
        json_add_u64(object, "serial", release->serial);
    add_text(object, "sha256", release->sha256);
    add_text(object, "manifest_sha256", release->manifest_sha256);
    if (*release->parts_sha256)
        json_add_string(object, "parts_sha256", release->parts_sha256);
    if (release->is_signed)
        json_object_object_add(object, "signed", json_object_new_boolean(true));
    if (release->lent)
        json_object_object_add(object, "lent", json_object_new_boolean(true));
    if (release->created_s)
        json_add_u64(object, "created_s", release->created_s);
    return object;
}

struct json_object *record_entry_json(const struct record_entry *entry)
{
    struct json_object *object = json_object_new_object();

    add_time(object, "time", entry->time_s);
    json_add_string(object, "result", result_names[entry->result]);
    add_text(object, "reason", entry->reason);
    if (*entry->output)
        json_add_string(object, "output", entry->output);
    json_add_string(object, "slot", entry->slot == SLOT_NONE ? NULL : slot_name(entry->slot));
    add_text(object, "from", entry->from);
    add_text(object, "to", entry->to);
    json_add_u64(object, "bytes_downloaded", entry->bytes_downloaded);
    json_add_u64(object, "bytes_written", entry->bytes_written);
    json_add_u64(object, "seconds", entry->seconds);
    return object;
}

struct json_object *record_history_json(const struct record *record)
{
    struct json_object *object = json_object_new_object();
    struct json_object *list = json_object_new_array();

    for (size_t i = record->history_count; i-- > 0;)
        json_object_array_add(list, record_entry_json(&record->history[i]));
    json_object_object_add(object, "history", list);
    return object;
}

static struct json_object *format_print(const struct slot_print *print)
{
    struct json_object *object = json_object_new_object();
    char text[SLOT_PRINT_BLOCKS * 16 + 1];

    for (unsigned i = 0; i < SLOT_PRINT_BLOCKS; i++)
        snprintf(text + (size_t)i * 16, 17, "%016" PRIx64, print->blocks[i]);
    json_add_u64(object, "bytes", print->bytes);
    json_object_object_add(object, "fixed", json_object_new_boolean(print->is_fixed));
    json_add_string(object, "blocks", text);
    if (print->identity) {
        snprintf(text, sizeof(text), "%016" PRIx64, print->identity);
        json_add_string(object, "identity", text);
    }
    return object;
}

static void format_parts(struct json_object *slot, const struct record_slot *kept)
{
    struct json_object *list = json_object_new_array();

    for (unsigned i = 0; i < kept->part_count; i++) {
        const struct record_part *part = &kept->parts[i];
        struct json_object *object = json_object_new_object();
        json_add_string(object, "name", part->name);
        json_add_string(object, "sha256", part->sha256);
        json_add_u64(object, "bytes", part->bytes);
        json_object_object_add(object, "per_slot", json_object_new_boolean(part->per_slot));
        if (part->print.bytes)
            json_object_object_add(object, "print", format_print(&part->print));
        json_object_array_add(list, object);
    }
    json_object_object_add(slot, "parts", list);
}

static void format_slots(struct json_object *root, const struct record *record)
{
    struct json_object *slots = json_object_new_object();

    for (int i = 0; i < SLOT_COUNT; i++) {
        enum slot slot = (enum slot)i;
        struct json_object *object = json_object_new_object();
        json_add_string(object, "state", health_names[record->slots[slot].state]);
        json_add_u64(object, "time_s", record->slots[slot].time_s);
        json_object_object_add(object, "release", format_release(&record->slots[slot].release));
        if (record->slots[slot].print.bytes)
            json_object_object_add(object, "print", format_print(&record->slots[slot].print));
        if (record->slots[slot].part_count)
            format_parts(object, &record->slots[slot]);
        json_object_object_add(slots, slot_name(slot), object);
    }
    json_object_object_add(root, "slots", slots);
}

static void format_failed(struct json_object *root, const struct record *record)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < record->failed_count; i++) {
        struct json_object *object = json_object_new_object();
        json_object_object_add(object, "release", format_release(&record->failed[i].release));
        add_text(object, "reason", record->failed[i].reason);
        json_add_u64(object, "time_s", record->failed[i].time_s);
        json_object_array_add(list, object);
    }
    json_object_object_add(root, "failed", list);
}

static void format_history(struct json_object *root, const struct record *record)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < record->history_count; i++) {
        struct json_object *object = record_entry_json(&record->history[i]);
        json_add_u64(object, "time_s", record->history[i].time_s);
        json_object_object_del(object, "time");
        json_object_array_add(list, object);
    }
    json_object_object_add(root, "history", list);
}

static void format_trial(struct json_object *root, const struct record_trial *trial)
{
    struct json_object *object = json_object_new_object();

    json_add_string(object, "stage", stage_names[trial->stage]);
    json_add_string(object, "slot", trial->slot == SLOT_NONE ? NULL : slot_name(trial->slot));
    json_object_object_add(object, "release", format_release(&trial->release));
    json_add_u64(object, "arms", trial->arms);
    if (trial->reboot_asked)
        json_object_object_add(object, "reboot_asked", json_object_new_boolean(true));
    json_add_u64(object, "reboots", trial->reboots);
    if (*trial->reboot_boot_id)
        json_add_string(object, "reboot_boot_id", trial->reboot_boot_id);
    if (*trial->boot_id)
        json_add_string(object, "boot_id", trial->boot_id);
    json_add_u64(object, "starts", trial->starts);
    json_object_object_add(root, "trial", object);
}

char *record_format(const struct record *record)
{
    CLEANUP_JSON struct json_object *root = json_object_new_object();
    struct json_object *object;

    json_add_u64(root, "format", RECORD_FORMAT);
    if (record->has_floor)
        json_add_u64(root, "floor_serial", record->floor_serial);
    if (record->signed_accepted)
        json_object_object_add(root, "signed_accepted", json_object_new_boolean(true));
    if (record->floor_s)
        json_add_u64(root, "floor_s", record->floor_s);
    format_slots(root, record);
    format_trial(root, &record->trial);
    json_object_object_add(root, "cancelled", format_release(&record->cancelled));
    format_failed(root, record);
    format_history(root, record);

    object = json_object_new_object();
    json_add_u64(object, "time_s", record->check_time_s);
    add_text(object, "result", record->check_result);
    json_object_object_add(root, "last_check", object);

    object = json_object_new_object();
    json_add_u64(object, "time_s", record->error_time_s);
    json_add_u64(object, "kind", record->error_kind);
    add_text(object, "message", record->error_message);
    json_object_object_add(root, "last_error", object);

    object = json_object_new_object();
    add_text(object, "url_sha256", record->manifest.url_sha256);
    add_text(object, "etag", record->manifest.etag);
    add_text(object, "last_modified", record->manifest.last_modified);
    add_text(object, "sha256", record->manifest.sha256);
    json_object_object_add(root, "manifest", object);

    return alloc_printf("%s\n", json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
                                                                         JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* --- reading it back --- */

/* Remembers the first member that cannot be understood, so that the read_...() functions need no error
 * handling. */
struct reader {
    const char *bad;
};

static void read_text(struct reader *reader, struct json_object *object, const char *name, char *ret_text,
                      size_t size)
{
    const char *text;

    switch (json_get_string(object, name, &text)) {
    case JSON_MEMBER_ABSENT:
        return;
    case JSON_MEMBER_OK:
        if (strlen(text) < size) {
            memcpy(ret_text, text, strlen(text) + 1);
            return;
        }
        break;
    case JSON_MEMBER_BAD:
        break;
    }
    reader->bad = name;
}

static bool read_u64(struct reader *reader, struct json_object *object, const char *name, uint64_t max,
                     uint64_t *ret_value)
{
    enum json_member member = json_get_u64(object, name, max, ret_value);

    if (member == JSON_MEMBER_BAD)
        reader->bad = name;
    return member == JSON_MEMBER_OK;
}

static void read_bool(struct reader *reader, struct json_object *object, const char *name, bool *ret_value)
{
    if (json_get_bool(object, name, ret_value) == JSON_MEMBER_BAD)
        reader->bad = name;
}

/* The index of a word in `names`, or 0 where the member is missing. */
static unsigned read_word(struct reader *reader, struct json_object *object, const char *name,
                          const char *const *names, size_t count)
{
    const char *text;
    enum json_member member = json_get_string(object, name, &text);

    for (unsigned i = 0; member == JSON_MEMBER_OK && i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    if (member != JSON_MEMBER_ABSENT)
        reader->bad = name;
    return 0;
}

static enum slot read_slot(struct reader *reader, struct json_object *object, const char *name)
{
    const char *text;
    enum slot slot = SLOT_NONE;
    enum json_member member = json_get_string(object, name, &text);

    if (member == JSON_MEMBER_BAD || (member == JSON_MEMBER_OK && slot_parse(text, &slot) < 0))
        reader->bad = name;
    return slot;
}

static struct json_object *read_object(struct reader *reader, struct json_object *object, const char *name)
{
    struct json_object *member = NULL;

    if (json_get_object(object, name, &member) == JSON_MEMBER_BAD)
        reader->bad = name;
    return member;
}

static void read_release(struct reader *reader, struct json_object *parent, const char *name,
                         struct record_release *ret_release)
{
    struct json_object *object = read_object(reader, parent, name);

    if (!object)
        return;
    read_text(reader, object, "version", ret_release->version, sizeof(ret_release->version));
    ret_release->has_serial = read_u64(reader, object, "serial", UINT64_MAX - 1, &ret_release->serial);
    read_text(reader, object, "sha256", ret_release->sha256, sizeof(ret_release->sha256));
    read_text(reader, object, "manifest_sha256", ret_release->manifest_sha256,
              sizeof(ret_release->manifest_sha256));
    read_text(reader, object, "parts_sha256", ret_release->parts_sha256, sizeof(ret_release->parts_sha256));
    read_bool(reader, object, "signed", &ret_release->is_signed);
    read_bool(reader, object, "lent", &ret_release->lent);
    read_u64(reader, object, "created_s", INT64_MAX, &ret_release->created_s);
}

static void read_print(struct reader *reader, struct json_object *parent, struct slot_print *ret_print)
{
    struct json_object *object = read_object(reader, parent, "print");
    char text[SLOT_PRINT_BLOCKS * 16 + 1] = "", identity[17] = "";

    if (!object)
        return;
    read_u64(reader, object, "bytes", INT64_MAX, &ret_print->bytes);
    read_bool(reader, object, "fixed", &ret_print->is_fixed);
    read_text(reader, object, "blocks", text, sizeof(text));
    for (unsigned i = 0; i < SLOT_PRINT_BLOCKS; i++)
        if (sscanf(text + (size_t)i * 16, "%16" SCNx64, &ret_print->blocks[i]) != 1) {
            reader->bad = "print";
            return;
        }
    read_text(reader, object, "identity", identity, sizeof(identity));
    if (*identity && sscanf(identity, "%16" SCNx64, &ret_print->identity) != 1)
        reader->bad = "print";
}

/* The array `name`; moonsinterd never writes more than `max` entries, so more are an error. */
static size_t read_array(struct reader *reader, struct json_object *root, const char *name, size_t max,
                         struct json_object **ret_array)
{
    if (!json_object_object_get_ex(root, name, ret_array) || !*ret_array)
        return 0;
    if (!json_object_is_type(*ret_array, json_type_array) || json_object_array_length(*ret_array) > max) {
        reader->bad = name;
        return 0;
    }
    for (size_t i = 0; i < json_object_array_length(*ret_array); i++)
        if (!json_object_is_type(json_object_array_get_idx(*ret_array, i), json_type_object)) {
            reader->bad = name;
            return 0;
        }
    return json_object_array_length(*ret_array);
}

/* Names are checked as those of a manifest are. */
static void read_parts(struct reader *reader, struct json_object *slot, struct record_slot *kept)
{
    struct json_object *array;
    size_t count = read_array(reader, slot, "parts", MANIFEST_PARTS_MAX, &array);

    for (size_t i = 0; i < count; i++) {
        struct json_object *object = json_object_array_get_idx(array, i);
        struct record_part *part = &kept->parts[i];
        read_text(reader, object, "name", part->name, sizeof(part->name));
        read_text(reader, object, "sha256", part->sha256, sizeof(part->sha256));
        read_u64(reader, object, "bytes", INT64_MAX, &part->bytes);
        read_bool(reader, object, "per_slot", &part->per_slot);
        read_print(reader, object, &part->print);
        if (manifest_part_check_name(part->name) || record_slot_find_part(kept, part->name) ||
            strlen(part->sha256) != sizeof(part->sha256) - 1)
            reader->bad = "parts";
        kept->part_count++;
    }
}

static void read_slots(struct reader *reader, struct json_object *root, struct record *record)
{
    struct json_object *slots = read_object(reader, root, "slots");

    for (int i = 0; slots && i < SLOT_COUNT; i++) {
        enum slot slot = (enum slot)i;
        struct json_object *object = read_object(reader, slots, slot_name(slot));
        if (!object)
            continue;
        record->slots[slot].state =
            (enum boot_health)read_word(reader, object, "state", health_names, NAME_COUNT(health_names));
        read_u64(reader, object, "time_s", INT64_MAX, &record->slots[slot].time_s);
        read_release(reader, object, "release", &record->slots[slot].release);
        read_print(reader, object, &record->slots[slot].print);
        read_parts(reader, object, &record->slots[slot]);
    }
}

static void read_trial(struct reader *reader, struct json_object *root, struct record_trial *trial)
{
    struct json_object *object = read_object(reader, root, "trial");
    uint64_t arms = 0, starts = 0, reboots = 0;

    if (!object)
        return;
    trial->stage =
        (enum record_stage)read_word(reader, object, "stage", stage_names, NAME_COUNT(stage_names));
    trial->slot = read_slot(reader, object, "slot");
    read_release(reader, object, "release", &trial->release);
    read_u64(reader, object, "arms", 1000000, &arms);
    trial->arms = (unsigned)arms;
    read_bool(reader, object, "reboot_asked", &trial->reboot_asked);
    read_u64(reader, object, "reboots", 1000000, &reboots);
    trial->reboots = (unsigned)reboots;
    read_text(reader, object, "reboot_boot_id", trial->reboot_boot_id, sizeof(trial->reboot_boot_id));
    read_text(reader, object, "boot_id", trial->boot_id, sizeof(trial->boot_id));
    read_u64(reader, object, "starts", 1000000, &starts);
    trial->starts = (unsigned)starts;
    if (trial->stage != RECORD_STAGE_NONE && trial->slot == SLOT_NONE)
        reader->bad = "trial";
}

static void read_failed(struct reader *reader, struct json_object *root, struct record *record)
{
    struct json_object *array;

    record->failed_count = read_array(reader, root, "failed", RECORD_FAILED_MAX, &array);
    for (size_t i = 0; i < record->failed_count; i++) {
        struct json_object *object = json_object_array_get_idx(array, i);
        struct record_failed *failed = &record->failed[i];
        read_release(reader, object, "release", &failed->release);
        read_text(reader, object, "reason", failed->reason, sizeof(failed->reason));
        read_u64(reader, object, "time_s", INT64_MAX, &failed->time_s);
    }
}

static void read_history(struct reader *reader, struct json_object *root, struct record *record)
{
    struct json_object *array;

    record->history_count = read_array(reader, root, "history", RECORD_HISTORY_MAX, &array);
    for (size_t i = 0; i < record->history_count; i++) {
        struct json_object *object = json_object_array_get_idx(array, i);
        struct record_entry *entry = &record->history[i];
        entry->result =
            (enum record_result)read_word(reader, object, "result", result_names, NAME_COUNT(result_names));
        entry->slot = read_slot(reader, object, "slot");
        read_u64(reader, object, "time_s", INT64_MAX, &entry->time_s);
        read_text(reader, object, "reason", entry->reason, sizeof(entry->reason));
        read_text(reader, object, "output", entry->output, sizeof(entry->output));
        read_text(reader, object, "from", entry->from, sizeof(entry->from));
        read_text(reader, object, "to", entry->to, sizeof(entry->to));
        read_u64(reader, object, "bytes_downloaded", INT64_MAX, &entry->bytes_downloaded);
        read_u64(reader, object, "bytes_written", INT64_MAX, &entry->bytes_written);
        read_u64(reader, object, "seconds", INT64_MAX, &entry->seconds);
    }
}

static void read_rest(struct reader *reader, struct json_object *root, struct record *record)
{
    struct json_object *object = read_object(reader, root, "last_check");
    uint64_t kind = ERROR_NONE;

    if (object) {
        read_u64(reader, object, "time_s", INT64_MAX, &record->check_time_s);
        read_text(reader, object, "result", record->check_result, sizeof(record->check_result));
    }
    object = read_object(reader, root, "last_error");
    if (object) {
        read_u64(reader, object, "time_s", INT64_MAX, &record->error_time_s);
        read_u64(reader, object, "kind", ERROR_CANCELLED, &kind);
        record->error_kind = (enum error_kind)kind;
        read_text(reader, object, "message", record->error_message, sizeof(record->error_message));
    }
    object = read_object(reader, root, "manifest");
    if (object) {
        read_text(reader, object, "url_sha256", record->manifest.url_sha256,
                  sizeof(record->manifest.url_sha256));
        read_text(reader, object, "etag", record->manifest.etag, sizeof(record->manifest.etag));
        read_text(reader, object, "last_modified", record->manifest.last_modified,
                  sizeof(record->manifest.last_modified));
        read_text(reader, object, "sha256", record->manifest.sha256, sizeof(record->manifest.sha256));
    }
}

bool record_parse(const char *text, size_t size, struct record *record, struct error *error)
{
    CLEANUP_JSON struct json_object *root = NULL;
    CLEANUP_FREE struct record *parsed = alloc_zeroed(sizeof(*parsed));
    struct reader reader = {NULL};
    uint64_t format = 0;

    if (!json_parse_object(text, size, "the record", &root, error))
        return false;
    if (json_get_u64(root, "format", UINT64_MAX - 1, &format) != JSON_MEMBER_OK || format != RECORD_FORMAT)
        return error_set(error, ERROR_FORMAT, "the record is not of format %d", RECORD_FORMAT);
    record_init(parsed);
    parsed->has_floor = read_u64(&reader, root, "floor_serial", UINT64_MAX - 1, &parsed->floor_serial);
    read_bool(&reader, root, "signed_accepted", &parsed->signed_accepted);
    read_u64(&reader, root, "floor_s", INT64_MAX, &parsed->floor_s);
    read_slots(&reader, root, parsed);
    read_trial(&reader, root, &parsed->trial);
    read_release(&reader, root, "cancelled", &parsed->cancelled);
    read_failed(&reader, root, parsed);
    read_history(&reader, root, parsed);
    read_rest(&reader, root, parsed);
    if (reader.bad)
        return error_set(error, ERROR_FORMAT, "the record's member \"%s\" cannot be understood", reader.bad);
    *record = *parsed;
    return true;
}
