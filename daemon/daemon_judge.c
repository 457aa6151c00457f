/* SPDX-License-Identifier: MIT */
/* Judging what the server offers, by the rules and by what the slots hold. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/wall_clock.h"
#include "daemon/decide/offer.h"

void daemon_judge_set_result(struct daemon *daemon, const char *result)
{
    snprintf(daemon->record->check_result, sizeof(daemon->record->check_result), "%s", result);
}

/* What is offered, in the form that the daemon and doctor share. */
static struct offer offer_of(const struct daemon *daemon)
{
    const struct release *release = checker_release(daemon->checker);

    return (struct offer){
        .config = daemon->config,
        .places = daemon->fixed,
        .record = daemon->record,
        .boot = &daemon->view->boot,
        .running = daemon->view->running,
        .falling_back = daemon->update.falling_back,
        .now_s = wall_clock_now_s(),
        .machine_id = daemon->view->machine_id,
        .machine_id_why = daemon->view->machine_id_why,
        .manifest = release ? release->manifest : NULL,
        .release = checker_offered(daemon->checker),
    };
}

static const struct record_release *find_armed(const struct daemon *daemon)
{
    struct offer offer = offer_of(daemon);

    return offer_find_armed(&offer);
}

static enum slot find_holder(const struct daemon *daemon)
{
    struct offer offer = offer_of(daemon);

    return offer_find_holder(&offer);
}

bool daemon_judge_next_is_given_up(const struct daemon *daemon)
{
    enum slot running = daemon->view->running, next = daemon->view->boot.next;

    return daemon_boot_other_is_next(daemon) && !daemon->update.falling_back &&
           daemon->record->slots[next].state == BOOT_HEALTH_INVALID &&
           daemon_slot_health(daemon, running) == BOOT_HEALTH_GOOD;
}

bool daemon_judge_has_places(const struct daemon *daemon)
{
    const struct manifest_parts *parts = &checker_release(daemon->checker)->manifest->parts;

    for (uint32_t i = 0; i < parts->count; i++)
        if (!slots_find_place(daemon->view->slots, parts->list[i].name, SLOT_A))
            return false;
    return true;
}

/* Whether the parts' images have room in the target, those that are copied from the running slot, too. */
static void fill_room(const struct daemon *daemon, const struct release *release, struct policy_input *input)
{
    const struct slots *slots = daemon->view->slots;
    enum slot target = slots_target(slots);
    struct slots_need needs[2 * MANIFEST_PARTS_MAX];
    const struct manifest_parts *parts = &release->manifest->parts;
    unsigned count = 0;
    struct error error;

    if (target == SLOT_NONE)
        return;
    for (uint32_t i = 0; i < parts->count; i++)
        needs[count++] =
            (struct slots_need){.name = parts->list[i].name,
                                .bytes = release_part(release, i, (unsigned)target)->manifest->file_size};
    for (unsigned i = 0; i < slots->part_count; i++) {
        const char *name = slots->parts[i].name;
        const struct record_part *kept =
            record_slot_part(&daemon->record->slots[daemon->view->running], name);
        if (kept && !manifest_parts_find(parts, name))
            needs[count++] = (struct slots_need){.name = name, .bytes = kept->bytes};
    }
    if (!slots_target_check_room(slots, target, needs, count, &error))
        snprintf(input->room_why, sizeof(input->room_why), "%s", error.message);
}

void daemon_policy_input(const struct daemon *daemon, struct policy_input *ret_input)
{
    const struct config *config = daemon->config;
    const struct record *record = daemon->record;
    enum slot running = daemon->view->running, next = daemon->view->boot.next;
    const struct installer_plan *plan = installer_plan(daemon->installer);
    struct offer offer = offer_of(daemon);

    offer_fill_input(&offer, ret_input);
    ret_input->operator_asked = daemon->update.purpose == UPDATE_PURPOSE_INSTALL;
    /* this machine */
    ret_input->running_why = daemon->view->slots->why;
    ret_input->keys_why = daemon_trust(daemon).demanded ? config->keys_why : NULL;
    ret_input->name_why = daemon->view->slots->name_why;
    ret_input->loader_why = *daemon->view->look_why ? daemon->view->look_why : daemon->view->loader_why;
    ret_input->look_why = *daemon->view->look_why ? daemon->view->look_why : NULL;
    ret_input->storage_why = daemon->view->storage_why;
    ret_input->parts_why = daemon->view->slots->parts_why;
    ret_input->slot_bytes = daemon->view->slot_bytes;
    if (offer.manifest)
        fill_room(daemon, checker_release(daemon->checker), ret_input);
    /* the boot */
    ret_input->can_fall_back = boot_selection_abilities(daemon->boot)->trial;
    ret_input->allow_no_fallback = config->allow_no_fallback;
    ret_input->falling_back = daemon->update.falling_back;
    ret_input->next_invalid =
        next != SLOT_NONE && next != running && record->slots[next].state == BOOT_HEALTH_INVALID;
    ret_input->reboots_in_vain = trial_failed_switches(record, daemon->boot_id);
    ret_input->reboot_argument = daemon_boot_argument(daemon);
    ret_input->windows = config->windows;
    ret_input->window_count = config->window_count;
    /* the plan */
    if (offer.manifest && plan) {
        ret_input->planned = record_release_is_same(&plan->release, offer.release);
        ret_input->plan_bytes = plan_download_bytes(&plan->totals) + plan->totals.manifest_bytes;
    }
}

/* Whether the armed release is to be taken back, because the publisher now offers something newer that is not
 * installed: it runs already, or a rule holds it. The publisher may have found the armed one to be harmful.
 * Only serials prove that an offer is newer, as an old manifest can be replayed; without serials an operator
 * who asks for the check decides. A slot that was given up (taking it back may have failed once) never stays
 * selected, whatever is offered. */
static bool takes_armed_back(const struct daemon *daemon, const struct policy_input *input,
                             const struct policy_verdict *verdict)
{
    const struct record_release *armed = find_armed(daemon), *offered = checker_offered(daemon->checker);

    if (daemon_judge_next_is_given_up(daemon))
        return true;
    if (!armed || !input->running_good || input->parts_why || record_release_is_same(armed, offered) ||
        policy_verdict_refuses(verdict))
        return false;
    if (armed->has_serial && offered->has_serial)
        return offered->serial > armed->serial;
    return daemon->update.purpose != UPDATE_PURPOSE_POLL;
}

/* A release that is not acceptable is recorded as an error, once; one that only has to wait is not. */
static void remember_refusal(struct daemon *daemon)
{
    const struct policy_verdict *verdict = &daemon->install_verdict;
    const struct record *record = daemon->record;
    struct error error;

    for (size_t i = 0; i < verdict->count; i++) {
        if (!verdict->blocks[i].refuses)
            continue;
        error_set(&error, ERROR_REFUSED, "%s", verdict->blocks[i].why);
        if (record->error_kind != ERROR_REFUSED || strcmp(record->error_message, error.message) != 0) {
            log_error("the release is refused: %s", error.message);
            record_set_error(daemon->record, &error, wall_clock_now_s());
        }
        return;
    }
}

static void post_held(struct daemon *daemon, enum update_event_kind kind, bool planned, bool takes_back)
{
    const struct policy_verdict *verdict = &daemon->install_verdict;
    char reason[RECORD_TEXT_SIZE];

    snprintf(reason, sizeof(reason), "release %.100s is held: %.250s", daemon_offer_name(daemon),
             verdict->blocks[0].why);
    remember_refusal(daemon);
    daemon_post(daemon,
                &(struct update_event){.kind = kind,
                                       .planned = planned,
                                       .takes_back = takes_back,
                                       .other_selected = daemon_boot_other_is_next(daemon)},
                reason);
}

/* Drops from the verdict what does not matter for a release that `holder` holds already: such a device is
 * simply up to date. "expired" stays, since a server may keep devices back by never offering anything newer,
 * and so does "parts-mixed", for then what runs is no release.
 * Everything stays while the running slot holds the offer and another release waits for its boot, which then
 * goes on waiting. */
static void find_complaints(const struct daemon *daemon, enum slot holder, struct policy_verdict *verdict)
{
    bool all = holder == daemon->view->running && find_armed(daemon);
    size_t kept = 0;

    for (size_t i = 0; i < verdict->count; i++)
        if (all || strcmp(verdict->blocks[i].what, "expired") == 0 ||
            strcmp(verdict->blocks[i].what, "parts-mixed") == 0)
            verdict->blocks[kept++] = verdict->blocks[i];
    verdict->count = kept;
}

static const char *holder_result(const struct daemon *daemon, enum slot holder)
{
    return holder == daemon->view->running ? "up-to-date" : "pending";
}

/* What is offered is in a slot already. It may have been published again under a higher serial; anything
 * older than that is refused from then on. */
static void judge_unchanged(struct daemon *daemon, enum slot holder, const struct policy_input *input)
{
    const struct record_release *offered = checker_offered(daemon->checker);
    bool runs = holder == daemon->view->running;
    struct policy_verdict verdict;

    policy_judge_release(input, &verdict);
    if (verdict.count == 0)
        record_accept(daemon->record, offered, input->now_s);
    if (verdict.count == 0 && (runs ? input->running_good : offered->is_signed) &&
        record_lend(daemon->record, holder, offered, runs))
        log_notice("slot %s holds what is published as release %s now", slot_name(holder),
                   daemon_offer_name(daemon));
    bool takes_back = takes_armed_back(daemon, input, &verdict);
    find_complaints(daemon, holder, &verdict);
    daemon->install_verdict = verdict;
    daemon_judge_set_result(daemon, holder_result(daemon, holder));
    if (verdict.count)
        /* `planned` is true, as there is nothing to plan. */
        post_held(daemon, UPDATE_EVENT_CHECK_HELD, true, takes_back);
    else
        daemon_post(daemon,
                    &(struct update_event){.kind = UPDATE_EVENT_CHECK_UNCHANGED,
                                           .takes_back = takes_back,
                                           .other_selected = daemon_boot_other_is_next(daemon)},
                    holder_result(daemon, holder));
}

/* Whether the running slot has to be read to know what it holds: nothing is recorded on a machine that was
 * installed by other means. An older daemon, which ran meanwhile, drops what it does not know of a set, which
 * is then recorded without its parts. */
static bool must_identify(const struct daemon *daemon)
{
    const struct release *release = checker_release(daemon->checker);
    enum slot running = daemon->view->running;

    /* An image of 0 bytes would match any slot. */
    if (running == SLOT_NONE || !release->manifest->has_sha256 || !release->manifest->file_size ||
        !daemon_judge_has_places(daemon))
        return false;
    const struct record_slot *kept = &daemon->record->slots[running];
    bool is_known = *kept->release.sha256 || *kept->release.manifest_sha256;
    bool lacks_parts = release->manifest->parts.count && !kept->part_count &&
                       record_release_is_same(&kept->release, checker_offered(daemon->checker));
    return (!is_known || lacks_parts) && !checker_has_identified(daemon->checker);
}

/* Whether the last plan for the same release and slots exceeds what a poll may fetch. */
static bool is_still_too_much(const struct daemon *daemon, const struct policy_input *input)
{
    const struct installer_plan *plan = installer_plan(daemon->installer);

    return daemon->update.purpose == UPDATE_PURPOSE_POLL && daemon->view->slots && plan &&
           plan->slot == slots_target(daemon->view->slots) && input->max_bytes &&
           input->plan_bytes > input->max_bytes;
}

/* In this order: if it is not known what the running slot holds, that is read first. A release that a slot
 * holds already is only reported. One to which a rule objects is held. Any other is to be installed, or
 * planned first if a rule needs the plan. */
void daemon_judge_offer(struct daemon *daemon, bool planned)
{
    enum slot holder = find_holder(daemon);
    struct policy_input input;
    struct policy_verdict verdict;
    char reason[RECORD_TEXT_SIZE];

    /* The old verdict stays until there is a new one, because a check that fails or is cancelled goes back to
     * HELD. */
    bool polled = daemon->update.purpose == UPDATE_PURPOSE_POLL;
    uint64_t wait_ms = polled ? checker_wait_ms(daemon->checker, daemon->config->interval_ms) : 0;
    if (!wait_ms && must_identify(daemon)) {
        if (polled)
            checker_note_look(daemon->checker);
        checker_identify(daemon->checker, daemon->view->slots, daemon->view->running);
        return;
    }
    daemon_policy_input(daemon, &input);
    if (holder != SLOT_NONE) {
        judge_unchanged(daemon, holder, &input);
        return;
    }
    /* Rounded up, plus one second, as the clock may be a second behind. */
    if (wait_ms && !planned)
        input.unsteady_until_s = input.now_s + wait_ms / 1000 + 1;
    /* Only a plan made in this check counts, as the slots may have changed since. The exception: what was too
     * much for the budget is not scanned again at each poll, only when an operator asks for a check. */
    input.planned = input.planned && (planned || is_still_too_much(daemon, &input));
    policy_judge_install(&input, &verdict);
    if (verdict.count) {
        daemon->install_verdict = verdict;
        daemon_judge_set_result(daemon, "update");
        /* Nothing can be planned for a slot that is too small, so no plan is asked for. */
        planned |= policy_verdict_has(&verdict, "slot-too-small");
        post_held(daemon, UPDATE_EVENT_CHECK_HELD, planned, takes_armed_back(daemon, &input, &verdict));
        return;
    }
    if (polled && !planned)
        checker_note_look(daemon->checker);
    bool plan_needed = policy_needs_plan(&input);
    if (!plan_needed)
        daemon->install_verdict.count = 0;
    if (!plan_needed && input.operator_asked) {
        record_forget_failed(daemon->record, checker_offered(daemon->checker));
        memset(&daemon->record->cancelled, 0, sizeof(daemon->record->cancelled));
    }
    daemon_judge_set_result(daemon, "update");
    snprintf(reason, sizeof(reason), "release %.200s is offered", daemon_offer_name(daemon));
    daemon_post(daemon,
                &(struct update_event){
                    .kind = UPDATE_EVENT_CHECK_OFFERS, .planned = planned, .plan_needed = plan_needed},
                reason);
}

/* The result as it is by what is offered and which slot runs now. If the last check failed, that stays
 * true. */
static void set_result_anew(struct daemon *daemon, const char *result)
{
    if (*daemon->record->check_result && strcmp(daemon->record->check_result, "failed") != 0)
        daemon_judge_set_result(daemon, result);
}

void daemon_judge_anew(struct daemon *daemon, bool may_look)
{
    const struct release *release = checker_release(daemon->checker);
    static const struct update_event nothing_holds = {.kind = UPDATE_EVENT_JUDGED_FREE};
    enum slot holder = release ? find_holder(daemon) : SLOT_NONE;
    bool was_held = daemon->update.state == UPDATE_STATE_HELD;
    struct policy_input input;

    /* The verdict already says why the running slot is not known; keep it. */
    if (!release && daemon->view->running == SLOT_NONE)
        return;
    daemon->install_verdict.count = 0;
    set_result_anew(daemon, !release ? "" : holder != SLOT_NONE ? holder_result(daemon, holder) : "update");
    if (!release) {
        daemon_post(daemon, &nothing_holds, NULL);
        return;
    }
    daemon_policy_input(daemon, &input);
    /* The operator who asked for the last check did not ask for this one. */
    input.operator_asked = false;
    if (holder != SLOT_NONE) {
        policy_judge_release(&input, &daemon->install_verdict);
        find_complaints(daemon, holder, &daemon->install_verdict);
    } else {
        policy_judge_install(&input, &daemon->install_verdict);
    }
    if (daemon->install_verdict.count) {
        post_held(daemon, UPDATE_EVENT_JUDGED_HELD, false, false);
        poller_follow_hold(daemon->poller,
                           policy_verdict_wait_ms(&daemon->install_verdict, wall_clock_now_s()));
        return;
    }
    if (holder != SLOT_NONE) {
        daemon_post(daemon, &nothing_holds, holder_result(daemon, holder));
        return;
    }
    daemon_post(daemon, &nothing_holds, "nothing holds the release any longer");
    /* If nothing held it before, it waits for another reason, such as a pause after a failure. */
    if (may_look && was_held)
        poller_look_at_once(daemon->poller);
}

void daemon_judge_clock_was_set(struct daemon *daemon)
{
    const struct policy_verdict *verdict = &daemon->install_verdict;
    enum update_state state = daemon->update.state;

    if (!checker_release(daemon->checker) || (state != UPDATE_STATE_IDLE && state != UPDATE_STATE_HELD))
        return;
    /* A reason that no rule gave was found by trying (a target in use, say), and only trying again can end
     * it. */
    for (size_t i = 0; i < verdict->count; i++)
        if (verdict->blocks[i].elsewhere)
            return;
    daemon_judge_anew(daemon, true);
}
