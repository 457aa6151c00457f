/* SPDX-License-Identifier: MIT */
/* Judges what the server offers by the rules that might hold it. See daemon/doctor/doctor_private.h. */
#include "daemon/doctor/doctor_private.h"

#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "daemon/decide/offer.h"
#include "daemon/host/machine_id.h"
#include "daemon/host/set_images.h"

/* --- what the daemon remembers --- */

void doctor_read_record(struct doctor *doctor)
{
    const char *folder = doctor->config->state_directory;
    CLEANUP_FREE char *path = alloc_printf("%s/record.json", folder);
    CLEANUP_FREE char *demand = alloc_printf("%s/signatures-demanded", folder);
    CLEANUP_FREE char *signature = alloc_printf("%s/manifest.json.minisig", folder);
    CLEANUP_FREE char *text = NULL;
    struct error error;
    size_t size;

    /* Does not use the record store, which would move a broken record aside. */
    record_init(&doctor->record);
    if (access(path, F_OK) == 0 && (!file_read(path, RECORD_SIZE_MAX, &text, &size, &error) ||
                                    !record_parse(text, size, &doctor->record, &error)))
        doctor_tell(doctor, "record", BOOT_LEVEL_FAILURE,
                    "what moonsinterd remembers cannot be used, and it would begin anew: %s", error.message);
    if (access(demand, F_OK) == 0 || access(signature, F_OK) == 0)
        doctor->record.signed_accepted = true;
}

struct trust doctor_trust(const struct doctor *doctor)
{
    return (struct trust){.keys = doctor->config->keys,
                          .demanded = offer_must_be_signed(doctor->config, &doctor->record)};
}

void doctor_look_at_trust(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    size_t count = trust_keys_count(config->keys);
    char ids[512];

    trust_keys_list_ids(config->keys, ids, sizeof(ids));
    if (!doctor_trust(doctor).demanded)
        doctor_tell(
            doctor, "trust", BOOT_LEVEL_WARNING,
            "no signature is demanded, so whoever controls the server, or the way to it, decides what this "
            "device boots: put the publisher's key into %s%s%s",
            config->keys_folder, count ? "; of its keys counts none, by RequireSignature=no: " : "", ids);
    else if (count == 0)
        doctor_tell(doctor, "trust", BOOT_LEVEL_FAILURE,
                    "signatures are demanded, for a signed release was accepted before, and no key is there, "
                    "so nothing is installed: put the publisher's key into %s",
                    config->keys_folder);
    else
        doctor_tell(doctor, "trust", BOOT_LEVEL_OK, "manifests must be signed by %s: %s",
                    count == 1 ? "this key" : "one of these keys", ids);
}

/* --- the rules --- */

static struct offer offer_of(const struct doctor *doctor, const struct record_release *offered)
{
    return (struct offer){
        .config = doctor->config,
        .places = doctor->config,
        .record = &doctor->record,
        .boot = &doctor->boot_state,
        .running = doctor->slots->running,
        .now_s = wall_clock_now_s(),
        .machine_id = doctor->machine_id,
        .machine_id_why = doctor->machine_id_why,
        .manifest = doctor->release->manifest,
        .release = offered,
    };
}

/* What does not concern the release (which slot runs, the state folder, the sizes) is reported by other
 * findings. */
static void fill_input(const struct offer *offer, struct policy_input *ret_input)
{
    offer_fill_input(offer, ret_input);
    if (!ret_input->running_known)
        ret_input->running_known = ret_input->running_good = true;
}

/* Whether a reason ends by time or by an operator's word, so it is no failure of this device. */
static bool passes_by_itself(const struct policy_block *block)
{
    static const char *const waits[] = {"mode", "rollout", "cancelled", "running-slot-not-good"};

    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++)
        if (strcmp(block->what, waits[i]) == 0)
            return true;
    return false;
}

/* Returns whether an update would fail. */
static bool tell_block(struct doctor *doctor, const struct policy_block *block)
{
    bool waits = passes_by_itself(block);

    doctor_tell(doctor, "offer", waits ? BOOT_LEVEL_WARNING : BOOT_LEVEL_FAILURE,
                "the release would be held: %s (%s)", block->why, block->what);
    return !waits;
}

static bool tell_blocks(struct doctor *doctor, const struct policy_verdict *verdict)
{
    bool fails = false;

    for (size_t i = 0; i < verdict->count; i++)
        fails |= tell_block(doctor, &verdict->blocks[i]);
    return fails;
}

/* --- the plan, where a limit needs it --- */

struct planning {
    struct doctor *doctor;
    struct policy_input *input;
    struct error error;
    bool failed;
};

static void on_planned(void *owner, const struct plan_totals *totals)
{
    struct planning *planning = owner;

    planning->input->planned = true;
    planning->input->plan_bytes = plan_download_bytes(totals) + totals->manifest_bytes;
}

static void on_plan_done(void *owner, const struct error *error)
{
    struct planning *planning = owner;

    planning->failed = error != NULL;
    if (error)
        planning->error = *error;
    loop_end(planning->doctor->base);
}

/* Makes the plan as for an update; writes nothing. Reads both slots. */
static bool make_plan(struct doctor *doctor, struct http *http, struct policy_input *input)
{
    static const struct clone_set_events events = {.planned = on_planned, .done = on_plan_done};
    struct planning planning = {.doctor = doctor, .input = input};
    struct set_images images;

    set_images_find(doctor->release, doctor->slots, slots_target(doctor->slots), &images);
    struct clone_set_settings settings = set_images_settings(&images);
    settings.plan_only = true;
    settings.connections = doctor->config->connections;
    struct clone_set *clone = clone_set_new(doctor->base, http, doctor->pool, &settings, &events, &planning);
    clone_set_start(clone);
    loop_run(doctor->base);
    clone_set_free(clone);
    if (planning.failed)
        doctor_tell(doctor, "offer", BOOT_LEVEL_FAILURE, "what an update would cost cannot be planned: %s",
                    planning.error.message);
    return !planning.failed;
}

/* --- all of it --- */

/* Reports a release that is in a slot already; false if it would have to be installed. */
static bool tell_holder(struct doctor *doctor, const struct offer *offer)
{
    enum slot holder = offer_find_holder(offer);

    if (holder == SLOT_NONE)
        return false;
    doctor_tell(doctor, "offer", BOOT_LEVEL_OK, "it is what slot %s holds already, which %s",
                slot_name(holder), holder == offer->running ? "runs" : "boots next");
    return true;
}

void doctor_judge_offer(struct doctor *doctor, struct http *http)
{
    const struct release *release = doctor->release;
    struct record_release offered;
    struct policy_input input;
    struct policy_verdict verdict;
    char text[16];

    record_release_from(&offered, release);
    if (!doctor->slots)
        return;
    machine_id_read(doctor->machine_id, doctor->machine_id_why, sizeof(doctor->machine_id_why));
    struct offer offer = offer_of(doctor, &offered);
    fill_input(&offer, &input);
    bool held_here = tell_holder(doctor, &offer);
    policy_judge_install(&input, &verdict);
    if (held_here) {
        /* A server that has offered the same release for too long may be keeping devices back. */
        for (size_t i = 0; i < verdict.count; i++)
            if (strcmp(verdict.blocks[i].what, "expired") == 0)
                doctor_tell(doctor, "offer", BOOT_LEVEL_FAILURE, "%s (expired)", verdict.blocks[i].why);
        return;
    }
    if (tell_blocks(doctor, &verdict))
        return;
    enum slot target = slots_target(doctor->slots);
    if (policy_needs_plan(&input) && target != SLOT_NONE && doctor->slots->devices[target].present) {
        if (!make_plan(doctor, http, &input))
            return;
        policy_judge_install(&input, &verdict);
        if (policy_verdict_has(&verdict, "max-bytes")) {
            tell_block(doctor, &verdict.blocks[verdict.count - 1]);
            return;
        }
    }
    if (verdict.count == 0)
        doctor_tell(doctor, "offer", BOOT_LEVEL_OK, "it would be installed%s%s",
                    input.planned ? ", and download " : "",
                    input.planned ? text_format_bytes(text, sizeof(text), input.plan_bytes) : "");
}
