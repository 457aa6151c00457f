/* SPDX-License-Identifier: MIT */
#include "daemon/decide/offer.h"

#include <string.h>

#include "common/base/version.h"
#include "common/image/rollout.h"
#include "common/sinter/trust.h"

bool offer_must_be_signed(const struct config *config, const struct record *record)
{
    switch (config->require_signature) {
    case CONFIG_DEMAND_NO:
        return false;
    case CONFIG_DEMAND_YES:
        return true;
    case CONFIG_DEMAND_AUTO:
        return trust_keys_count(config->keys) > 0 || config->keys_why || record->signed_accepted;
    }
    return true;
}

uint64_t offer_floor_s(const struct record *record)
{
    uint64_t built_s = version_time_s();

    return record->floor_s > built_s ? record->floor_s : built_s;
}

static enum boot_health health_of_running(const struct offer *offer)
{
    return record_slot_health(offer->record, offer->boot, offer->running, offer->running);
}

const struct record_release *offer_find_armed(const struct offer *offer)
{
    const struct record_trial *trial = &offer->record->trial;
    enum slot next = offer->boot->next;

    /* A slot that somebody else selected in the loader was not armed by moonsinterd. */
    if (offer->running == SLOT_NONE || next != slot_other(offer->running) || trial->slot != next ||
        trial->stage != RECORD_STAGE_ARMED || offer->falling_back)
        return NULL;
    return &offer->record->slots[next].release;
}

enum slot offer_find_holder(const struct offer *offer)
{
    const struct record *record = offer->record;
    enum slot running = offer->running, other = slot_other(running);

    /* A rejected slot is about to be left, so holding the release does not make this device up to date. No
     * slot counts as holding an image of 0 bytes: older versions may have recorded one. */
    if (!offer->manifest || running == SLOT_NONE || health_of_running(offer) == BOOT_HEALTH_BAD ||
        !offer->manifest->file_size)
        return SLOT_NONE;
    if (record_release_is_same(&record->slots[running].release, offer->release))
        return running;
    /* A release armed before signatures were demanded does not count, unless it is signed. */
    if (offer->boot->next == other && record_release_is_same(&record->slots[other].release, offer->release) &&
        (record->slots[other].release.is_signed || !offer_must_be_signed(offer->config, record)))
        return other;
    return SLOT_NONE;
}

static enum policy_mode mode_of(const struct config *config)
{
    switch (config->mode) {
    case CONFIG_MODE_CHECK:
        return POLICY_MODE_CHECK;
    case CONFIG_MODE_INSTALL:
        return POLICY_MODE_INSTALL;
    case CONFIG_MODE_REBOOT:
        return POLICY_MODE_REBOOT;
    }
    return POLICY_MODE_CHECK;
}

static bool has_place(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->part_count; i++)
        if (strcmp(config->parts[i].name, name) == 0)
            return true;
    return false;
}

const struct record_part *offer_find_carried(const struct record_slot *running,
                                             const struct config_part *part, enum policy_missing *ret_how)
{
    const struct record_part *kept = running ? record_slot_part(running, part->name) : NULL;

    if (part->carry && kept && kept->bytes && !kept->per_slot)
        return kept;
    *ret_how = !part->carry            ? POLICY_MISSING_REFUSED
               : !kept || !kept->bytes ? POLICY_MISSING_NOT_RECORDED
                                       : POLICY_MISSING_OF_ONE_SLOT;
    return NULL;
}

static void fill_parts(const struct offer *offer, struct policy_input *input)
{
    const struct manifest_parts *parts = &offer->manifest->parts;
    const struct config *places = offer->places;
    const struct record_slot *running =
        offer->running == SLOT_NONE ? NULL : &offer->record->slots[offer->running];

    for (uint32_t i = 0; i < parts->count && !input->part_unknown; i++)
        if (!has_place(places, parts->list[i].name))
            input->part_unknown = parts->list[i].name;
    for (unsigned i = 0; i < places->part_count && !input->part_missing; i++)
        if (!manifest_parts_find(parts, places->parts[i].name) &&
            !offer_find_carried(running, &places->parts[i], &input->part_missing_how))
            input->part_missing = places->parts[i].name;
}

void offer_fill_input(const struct offer *offer, struct policy_input *ret_input)
{
    const struct config *config = offer->config;
    const struct record *record = offer->record;
    const struct manifest *manifest = offer->manifest;
    const struct record_release *armed = offer_find_armed(offer);

    *ret_input = (struct policy_input){
        .mode = mode_of(config),
        .now_s = offer->now_s,
        .floor_s = offer_floor_s(record),
        .built_s = version_time_s(),
        .running_known = offer->running != SLOT_NONE,
        .running_good = offer->running != SLOT_NONE && health_of_running(offer) == BOOT_HEALTH_GOOD,
        .compatible = config->compatible,
        .allow_downgrade = config->allow_downgrade,
        .has_floor = record->has_floor,
        .floor_serial = record->floor_serial,
        .has_armed_serial = armed && armed->has_serial,
        .armed_serial = armed ? armed->serial : 0,
        .max_bytes = config->max_bytes_per_update,
    };
    if (!manifest)
        return;
    ret_input->image_bytes = manifest->file_size;
    ret_input->is_empty = manifest->file_size == 0;
    fill_parts(offer, ret_input);
    ret_input->release_compatible = manifest->release.compatible;
    ret_input->has_serial = manifest->release.has_serial;
    ret_input->serial = manifest->release.serial;
    ret_input->expires_s = manifest->release.expires;
    ret_input->created_s = manifest->release.created;
    ret_input->rollout = manifest->release.rollout;
    ret_input->rollout_why = *offer->machine_id ? NULL : offer->machine_id_why;
    ret_input->rollout_position = rollout_position(offer->machine_id, manifest->sha256);
    ret_input->failed_why = record_find_failed(record, offer->release);
    ret_input->cancelled = record_release_is_same(&record->cancelled, offer->release);
}
