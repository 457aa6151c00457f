/* SPDX-License-Identifier: MIT */
#include "daemon/decide/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/utf8.h"

void record_init(struct record *record)
{
    memset(record, 0, sizeof(*record));
    record->trial.slot = SLOT_NONE;
}

static void copy_clean(char *ret_text, size_t size, const char *text, bool lines)
{
    size_t used = 0;

    for (text = text ? text : ""; *text;) {
        size_t length = utf8_length(text);
        if (used + (length ? length : 1) >= size)
            break;
        bool is_control = (unsigned char)*text < ' ' || *text == 0x7f;
        if (length == 0 || (length == 1 && is_control && !(lines && *text == '\n'))) {
            ret_text[used++] = length ? ' ' : '?';
            text++;
            continue;
        }
        memcpy(ret_text + used, text, length);
        used += length;
        text += length;
    }
    ret_text[used] = 0;
}

void record_copy_text(char *ret_text, size_t size, const char *text)
{
    copy_clean(ret_text, size, text, false);
}

void record_copy_lines(char *ret_text, size_t size, const char *text)
{
    copy_clean(ret_text, size, text, true);
    for (size_t length = strlen(ret_text); length && ret_text[length - 1] == '\n'; length--)
        ret_text[length - 1] = 0;
}

const char *record_find_failed(const struct record *record, const struct record_release *release)
{
    for (size_t i = 0; i < record->failed_count; i++)
        if (record_release_is_same(&record->failed[i].release, release))
            return record->failed[i].reason;
    return NULL;
}

void record_forget_failed(struct record *record, const struct record_release *release)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->failed_count; i++)
        if (!record_release_is_same(&record->failed[i].release, release))
            record->failed[kept++] = record->failed[i];
    record->failed_count = kept;
}

void record_add_failed(struct record *record, const struct record_release *release, const char *reason,
                       uint64_t now_s)
{
    record_forget_failed(record, release);
    if (record->failed_count == RECORD_FAILED_MAX) {
        record->failed_count--;
        memmove(&record->failed[0], &record->failed[1], record->failed_count * sizeof(record->failed[0]));
    }
    struct record_failed *failed = &record->failed[record->failed_count++];
    failed->release = *release;
    failed->time_s = now_s;
    record_copy_text(failed->reason, sizeof(failed->reason), reason);
}

void record_add_history(struct record *record, const struct record_entry *entry)
{
    if (record->history_count == RECORD_HISTORY_MAX) {
        record->history_count--;
        memmove(&record->history[0], &record->history[1], record->history_count * sizeof(record->history[0]));
    }
    record->history[record->history_count++] = *entry;
}

struct record_entry *record_note(struct record *record, enum record_result result, enum slot slot,
                                 const char *from, const char *to, const char *reason, uint64_t time_s)
{
    struct record_entry entry = {.result = result, .time_s = time_s, .slot = slot};

    record_copy_text(entry.reason, sizeof(entry.reason), reason);
    record_copy_text(entry.from, sizeof(entry.from), from);
    record_copy_text(entry.to, sizeof(entry.to), to);
    record_add_history(record, &entry);
    return &record->history[record->history_count - 1];
}

void record_drop_history(struct record *record)
{
    record->history_count -= record->history_count > 0;
}

const struct record_entry *record_last_update(const struct record *record)
{
    for (size_t i = record->history_count; i-- > 0;)
        if (record->history[i].result != RECORD_RESULT_GOOD)
            return &record->history[i];
    return NULL;
}

void record_accept(struct record *record, const struct record_release *release, uint64_t latest_s)
{
    if (!release->is_signed)
        return;
    record->signed_accepted = true;
    if (release->created_s > record->floor_s && release->created_s <= latest_s)
        record->floor_s = release->created_s;
}

static void raise_floor(struct record *record, const struct record_release *release)
{
    if (!release->has_serial || release->lent ||
        (record->has_floor && release->serial <= record->floor_serial))
        return;
    record->has_floor = true;
    record->floor_serial = release->serial;
}

bool record_lend(struct record *record, enum slot slot, const struct record_release *offered, bool good)
{
    struct record_release *known = &record->slots[slot].release;
    bool renamed = strcmp(known->version, offered->version) != 0 ||
                   known->has_serial != offered->has_serial || known->serial != offered->serial;

    if (known->is_signed && !offered->is_signed)
        return false;
    /* A lent serial is vouched for by nobody, so a signed offer need not reach it. */
    bool is_bound = known->has_serial && !(known->lent && offered->is_signed);
    if (is_bound && (!offered->has_serial || offered->serial < known->serial))
        return false;
    /* An unsigned offer with the same name must not turn the serial of an installed release into a lent
     * one. */
    if (renamed || known->lent || offered->is_signed) {
        *known = *offered;
        known->lent = !offered->is_signed;
        if (record->trial.stage != RECORD_STAGE_NONE && record->trial.slot == slot)
            record->trial.release = *known;
    }
    if (good)
        raise_floor(record, known);
    return renamed;
}

void record_set_good(struct record *record, enum slot slot, uint64_t now_s)
{
    struct record_slot *kept = &record->slots[slot];

    if (kept->state != BOOT_HEALTH_GOOD)
        kept->time_s = now_s;
    kept->state = BOOT_HEALTH_GOOD;
    raise_floor(record, &kept->release);
    record_forget_failed(record, &kept->release);
    if (record->trial.slot == slot) {
        memset(&record->trial, 0, sizeof(record->trial));
        record->trial.slot = SLOT_NONE;
    }
}

void record_set_invalid(struct record *record, enum slot slot, uint64_t now_s)
{
    struct record_slot *kept = &record->slots[slot];

    memset(kept, 0, sizeof(*kept));
    kept->state = BOOT_HEALTH_INVALID;
    kept->time_s = now_s;
    /* The number of times its release was armed stays, in case the same release is armed again. */
    if (record->trial.slot == slot)
        record->trial.stage = RECORD_STAGE_NONE;
}

void record_forget_slot(struct record *record, enum slot slot, uint64_t now_s)
{
    memset(&record->slots[slot], 0, sizeof(record->slots[slot]));
    record->slots[slot].time_s = now_s;
}

void record_set_arming(struct record *record, enum slot slot, const struct record_release *release,
                       uint64_t now_s)
{
    struct record_trial *trial = &record->trial;

    if (!record_release_is_same(&trial->release, release))
        trial->arms = 0;
    trial->stage = RECORD_STAGE_ARMING;
    trial->slot = slot;
    trial->release = *release;
    trial->arms++;
    trial->reboot_asked = false;
    trial->reboots = 0;
    trial->boot_id[0] = 0;
    record->slots[slot].state = BOOT_HEALTH_TRIAL;
    record->slots[slot].release = *release;
    record->slots[slot].print.bytes = 0;
    memset(record->slots[slot].parts, 0, sizeof(record->slots[slot].parts));
    record->slots[slot].part_count = 0;
    record->slots[slot].time_s = now_s;
    record_accept(record, release, UINT64_MAX);
}

void record_set_error(struct record *record, const struct error *error, uint64_t now_s)
{
    record->error_time_s = now_s;
    record->error_kind = error->kind;
    record_copy_text(record->error_message, sizeof(record->error_message), error->message);
}

enum boot_health record_slot_health(const struct record *record, const struct boot_state *boot,
                                    enum slot running, enum slot slot)
{
    enum boot_health recorded = record->slots[slot].state;
    enum boot_health loaders = boot->health[slot];
    bool runs = slot == running;

    /* The record comes first here: it is saved before the loader is told and before the slot is written. */
    if (recorded == BOOT_HEALTH_INVALID && !runs)
        return BOOT_HEALTH_INVALID;
    if (runs && boot->trial == slot)
        return BOOT_HEALTH_TRIAL;
    if (loaders != BOOT_HEALTH_UNKNOWN)
        return loaders;
    if (recorded == BOOT_HEALTH_UNKNOWN && runs)
        return BOOT_HEALTH_GOOD;
    return recorded;
}
