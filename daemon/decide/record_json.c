/* SPDX-License-Identifier: MIT */
/* Turns the record into JSON text and back. See daemon/decide/record.h. One function for each structure names
 * its members, for both ways. */
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

enum { COUNTED_MAX = 1000000 }; /* starts, reboots; what is counted is far below */

/* On its way over the members, which it either writes or reads. What is missing keeps its value. */
struct walk {
    struct json_object *object; /* whose members it is at */
    bool writes;
    const char *bad; /* when reading: a member that cannot be understood */
};

/* What becomes of an empty member when it is written. */
enum empty { EMPTY_SHOWN, EMPTY_LEFT_OUT };

typedef void (*walk_fn)(struct walk *walk, void *place);

static enum json_member note(struct walk *walk, const char *name, enum json_member found)
{
    if (found == JSON_MEMBER_BAD)
        walk->bad = name;
    return found;
}

/* "" is shown as null. */
static void walk_text(struct walk *walk, const char *name, char *text, size_t size, enum empty empty)
{
    const char *found;

    if (walk->writes) {
        if (*text || empty == EMPTY_SHOWN)
            json_add_string(walk->object, name, *text ? text : NULL);
    } else if (note(walk, name, json_get_string(walk->object, name, &found)) == JSON_MEMBER_OK) {
        if (strlen(found) < size)
            memcpy(text, found, strlen(found) + 1);
        else
            walk->bad = name;
    }
}
#define TEXT(walk, name, member, empty) walk_text(walk, name, member, sizeof(member), empty)

static void walk_u64(struct walk *walk, const char *name, uint64_t *value, enum empty empty)
{
    if (!walk->writes)
        note(walk, name, json_get_u64(walk->object, name, INT64_MAX, value));
    else if (*value || empty == EMPTY_SHOWN)
        json_add_u64(walk->object, name, *value);
}

static void walk_serial(struct walk *walk, const char *name, bool *has, uint64_t *value)
{
    if (!walk->writes)
        *has = note(walk, name, json_get_u64(walk->object, name, UINT64_MAX - 1, value)) == JSON_MEMBER_OK;
    else if (*has)
        json_add_u64(walk->object, name, *value);
}

static unsigned walk_unsigned(struct walk *walk, const char *name, unsigned value, unsigned max)
{
    uint64_t number = value;

    if (walk->writes)
        json_add_u64(walk->object, name, number);
    else
        note(walk, name, json_get_u64(walk->object, name, max, &number));
    return (unsigned)number;
}

static void walk_bool(struct walk *walk, const char *name, bool *value, enum empty empty)
{
    if (!walk->writes)
        note(walk, name, json_get_bool(walk->object, name, value));
    else if (*value || empty == EMPTY_SHOWN)
        json_add_bool(walk->object, name, *value);
}

/* An enum, by the words in `names`. */
static unsigned walk_word(struct walk *walk, const char *name, unsigned value, const char *const *names,
                          size_t count)
{
    const char *found;

    if (walk->writes) {
        json_add_string(walk->object, name, names[value]);
    } else if (note(walk, name, json_get_string(walk->object, name, &found)) == JSON_MEMBER_OK) {
        for (unsigned i = 0; i < count; i++)
            if (strcmp(found, names[i]) == 0)
                return i;
        walk->bad = name;
    }
    return value;
}
#define WORD(walk, name, value, names) walk_word(walk, name, value, names, NAME_COUNT(names))

static enum slot walk_slot_name(struct walk *walk, const char *name, enum slot slot)
{
    const char *found;

    if (walk->writes) {
        json_add_string(walk->object, name, slot == SLOT_NONE ? NULL : slot_name(slot));
        return slot;
    }
    slot = SLOT_NONE;
    if (note(walk, name, json_get_string(walk->object, name, &found)) == JSON_MEMBER_OK &&
        slot_parse(found, &slot) < 0)
        walk->bad = name;
    return slot;
}

/* An object whose members `inner` walks over. */
static void walk_object(struct walk *walk, const char *name, walk_fn inner, void *place)
{
    struct json_object *outer = walk->object, *object = NULL;

    if (walk->writes) {
        object = json_object_new_object();
        json_object_object_add(outer, name, object);
    } else {
        note(walk, name, json_get_object(outer, name, &object));
    }
    if (!object)
        return;
    walk->object = object;
    inner(walk, place);
    walk->object = outer;
}

/* An array of objects. moonsinterd never writes more than `max`, so more are an error. */
static size_t walk_list(struct walk *walk, const char *name, walk_fn inner, void *places, size_t place_size,
                        size_t count, size_t max)
{
    struct json_object *outer = walk->object, *array = NULL;

    if (walk->writes) {
        array = json_object_new_array();
        json_object_object_add(outer, name, array);
        for (size_t i = 0; i < count; i++)
            json_object_array_add(array, json_object_new_object());
    } else if (note(walk, name, json_get_array(outer, name, &array)) != JSON_MEMBER_OK) {
        return 0;
    }
    count = json_object_array_length(array);
    for (size_t i = 0; i < count; i++) {
        walk->object = json_object_array_get_idx(array, i);
        if (count > max || !json_object_is_type(walk->object, json_type_object)) {
            walk->bad = name;
            count = 0;
        } else {
            inner(walk, (char *)places + i * place_size);
        }
    }
    walk->object = outer;
    return count;
}

/* --- the members --- */

static void walk_release(struct walk *walk, void *place)
{
    struct record_release *release = place;

    TEXT(walk, "version", release->version, EMPTY_SHOWN);
    walk_serial(walk, "serial", &release->has_serial, &release->serial);
    TEXT(walk, "sha256", release->sha256, EMPTY_SHOWN);
    TEXT(walk, "manifest_sha256", release->manifest_sha256, EMPTY_SHOWN);
    TEXT(walk, "parts_sha256", release->parts_sha256, EMPTY_LEFT_OUT);
    walk_bool(walk, "signed", &release->is_signed, EMPTY_LEFT_OUT);
    walk_bool(walk, "lent", &release->lent, EMPTY_LEFT_OUT);
    walk_u64(walk, "created_s", &release->created_s, EMPTY_LEFT_OUT);
}

/* `count` numbers, as 16 digits each. */
static void walk_hex(struct walk *walk, const char *name, uint64_t *numbers, size_t count, enum empty empty)
{
    char text[SLOT_PRINT_BLOCKS * 16 + 1] = "";

    for (size_t i = 0; walk->writes && i < count && (*numbers || empty == EMPTY_SHOWN); i++)
        snprintf(text + i * 16, 17, "%016" PRIx64, numbers[i]);
    walk_text(walk, name, text, count * 16 + 1, empty);
    if (walk->writes || (!*text && empty == EMPTY_LEFT_OUT))
        return;
    for (size_t i = 0; i < count; i++)
        if (sscanf(text + i * 16, "%16" SCNx64, &numbers[i]) != 1)
            walk->bad = "print";
}

static void walk_print(struct walk *walk, void *place)
{
    struct slot_print *print = place;

    walk_u64(walk, "bytes", &print->bytes, EMPTY_SHOWN);
    walk_bool(walk, "fixed", &print->is_fixed, EMPTY_SHOWN);
    walk_hex(walk, "blocks", print->blocks, SLOT_PRINT_BLOCKS, EMPTY_SHOWN);
    walk_hex(walk, "identity", &print->identity, 1, EMPTY_LEFT_OUT);
}

static void walk_part(struct walk *walk, void *place)
{
    struct record_part *part = place;

    TEXT(walk, "name", part->name, EMPTY_SHOWN);
    TEXT(walk, "sha256", part->sha256, EMPTY_SHOWN);
    walk_u64(walk, "bytes", &part->bytes, EMPTY_SHOWN);
    walk_bool(walk, "per_slot", &part->per_slot, EMPTY_SHOWN);
    if (!walk->writes || part->print.bytes)
        walk_object(walk, "print", walk_print, &part->print);
}

static void walk_parts(struct walk *walk, struct record_slot *slot)
{
    uint8_t digest[DIGEST_SHA256_SIZE];

    if (walk->writes && !slot->part_count)
        return;
    slot->part_count = (unsigned)walk_list(walk, "parts", walk_part, slot->parts, sizeof(slot->parts[0]),
                                           slot->part_count, MANIFEST_PARTS_MAX);
    /* Names are checked as those of a manifest are. */
    for (unsigned i = 0; i < slot->part_count; i++) {
        const struct record_part *part = &slot->parts[i];
        if (manifest_part_check_name(part->name) || record_slot_part(slot, part->name) != part ||
            digest_sha256_from_hex(part->sha256, digest) < 0)
            walk->bad = "parts";
    }
}

static void walk_slot(struct walk *walk, void *place)
{
    struct record_slot *slot = place;

    slot->state = (enum boot_health)WORD(walk, "state", slot->state, health_names);
    walk_u64(walk, "time_s", &slot->time_s, EMPTY_SHOWN);
    walk_object(walk, "release", walk_release, &slot->release);
    if (!walk->writes || slot->print.bytes)
        walk_object(walk, "print", walk_print, &slot->print);
    walk_parts(walk, slot);
}

static void walk_slots(struct walk *walk, void *place)
{
    struct record_slot *slots = place;

    for (int i = 0; i < SLOT_COUNT; i++)
        walk_object(walk, slot_name((enum slot)i), walk_slot, &slots[i]);
}

static void walk_trial(struct walk *walk, void *place)
{
    struct record_trial *trial = place;

    trial->stage = (enum record_stage)WORD(walk, "stage", trial->stage, stage_names);
    trial->slot = walk_slot_name(walk, "slot", trial->slot);
    walk_object(walk, "release", walk_release, &trial->release);
    trial->arms = walk_unsigned(walk, "arms", trial->arms, COUNTED_MAX);
    walk_bool(walk, "reboot_asked", &trial->reboot_asked, EMPTY_LEFT_OUT);
    trial->reboots = walk_unsigned(walk, "reboots", trial->reboots, COUNTED_MAX);
    TEXT(walk, "reboot_boot_id", trial->reboot_boot_id, EMPTY_LEFT_OUT);
    TEXT(walk, "boot_id", trial->boot_id, EMPTY_LEFT_OUT);
    trial->starts = walk_unsigned(walk, "starts", trial->starts, COUNTED_MAX);
    if (trial->stage != RECORD_STAGE_NONE && trial->slot == SLOT_NONE)
        walk->bad = "trial";
}

static void walk_failed(struct walk *walk, void *place)
{
    struct record_failed *failed = place;

    walk_object(walk, "release", walk_release, &failed->release);
    TEXT(walk, "reason", failed->reason, EMPTY_SHOWN);
    walk_u64(walk, "time_s", &failed->time_s, EMPTY_SHOWN);
}

static void walk_entry(struct walk *walk, void *place)
{
    struct record_entry *entry = place;

    entry->result = (enum record_result)WORD(walk, "result", entry->result, result_names);
    TEXT(walk, "reason", entry->reason, EMPTY_SHOWN);
    TEXT(walk, "output", entry->output, EMPTY_LEFT_OUT);
    entry->slot = walk_slot_name(walk, "slot", entry->slot);
    TEXT(walk, "from", entry->from, EMPTY_SHOWN);
    TEXT(walk, "to", entry->to, EMPTY_SHOWN);
    walk_u64(walk, "bytes_downloaded", &entry->bytes_downloaded, EMPTY_SHOWN);
    walk_u64(walk, "bytes_written", &entry->bytes_written, EMPTY_SHOWN);
    walk_u64(walk, "seconds", &entry->seconds, EMPTY_SHOWN);
    walk_u64(walk, "time_s", &entry->time_s, EMPTY_SHOWN);
}

static void walk_check(struct walk *walk, void *place)
{
    struct record *record = place;

    walk_u64(walk, "time_s", &record->check_time_s, EMPTY_SHOWN);
    TEXT(walk, "result", record->check_result, EMPTY_SHOWN);
}

static void walk_error(struct walk *walk, void *place)
{
    struct record *record = place;

    walk_u64(walk, "time_s", &record->error_time_s, EMPTY_SHOWN);
    record->error_kind = (enum error_kind)walk_unsigned(walk, "kind", record->error_kind, ERROR_CANCELLED);
    TEXT(walk, "message", record->error_message, EMPTY_SHOWN);
}

static void walk_manifest(struct walk *walk, void *place)
{
    struct record_manifest *manifest = place;

    TEXT(walk, "url_sha256", manifest->url_sha256, EMPTY_SHOWN);
    TEXT(walk, "etag", manifest->etag, EMPTY_SHOWN);
    TEXT(walk, "last_modified", manifest->last_modified, EMPTY_SHOWN);
    TEXT(walk, "sha256", manifest->sha256, EMPTY_SHOWN);
}

static void walk_record(struct walk *walk, struct record *record)
{
    walk_serial(walk, "floor_serial", &record->has_floor, &record->floor_serial);
    walk_bool(walk, "signed_accepted", &record->signed_accepted, EMPTY_LEFT_OUT);
    walk_u64(walk, "floor_s", &record->floor_s, EMPTY_LEFT_OUT);
    walk_object(walk, "slots", walk_slots, record->slots);
    walk_object(walk, "trial", walk_trial, &record->trial);
    walk_object(walk, "cancelled", walk_release, &record->cancelled);
    record->failed_count = walk_list(walk, "failed", walk_failed, record->failed, sizeof(record->failed[0]),
                                     record->failed_count, RECORD_FAILED_MAX);
    record->history_count = walk_list(walk, "history", walk_entry, record->history,
                                      sizeof(record->history[0]), record->history_count, RECORD_HISTORY_MAX);
    walk_object(walk, "last_check", walk_check, record);
    walk_object(walk, "last_error", walk_error, record);
    walk_object(walk, "manifest", walk_manifest, &record->manifest);
}

/* --- from outside --- */

struct json_object *record_entry_json(const struct record_entry *entry)
{
    struct walk walk = {.object = json_object_new_object(), .writes = true};
    struct record_entry copy = *entry;
    char text[TIMESTAMP_TEXT_SIZE];

    json_add_string(walk.object, "time", entry->time_s ? timestamp_format(text, entry->time_s) : NULL);
    walk_entry(&walk, &copy);
    json_object_object_del(walk.object, "time_s");
    return walk.object;
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

char *record_format(const struct record *record)
{
    CLEANUP_JSON struct json_object *root = json_object_new_object();
    CLEANUP_FREE struct record *copy = alloc_zeroed(sizeof(*copy));
    struct walk walk = {.object = root, .writes = true};

    *copy = *record;
    json_add_u64(root, "format", RECORD_FORMAT);
    walk_record(&walk, copy);
    return alloc_printf("%s\n", json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
                                                                         JSON_C_TO_STRING_NOSLASHESCAPE));
}

bool record_parse(const char *text, size_t size, struct record *record, struct error *error)
{
    CLEANUP_JSON struct json_object *root = NULL;
    CLEANUP_FREE struct record *parsed = alloc_zeroed(sizeof(*parsed));
    struct walk walk = {0};
    uint64_t format = 0;

    if (!json_parse_object(text, size, "the record", &root, error))
        return false;
    if (json_get_u64(root, "format", UINT64_MAX - 1, &format) != JSON_MEMBER_OK || format != RECORD_FORMAT)
        return error_set(error, ERROR_FORMAT, "the record is not of format %d", RECORD_FORMAT);
    record_init(parsed);
    walk.object = root;
    walk_record(&walk, parsed);
    if (walk.bad)
        return error_set(error, ERROR_FORMAT, "the record's member \"%s\" cannot be understood", walk.bad);
    *record = *parsed;
    return true;
}
