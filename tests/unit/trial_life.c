/* SPDX-License-Identifier: MIT */
#include "trial_life.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "daemon/decide/trial.h"

/* How a start of moonsinterd ends. */
enum end { END_NONE, END_POWER_CUT, END_DAEMON, END_REBOOT, END_REST };

/* As daemon/decide/policy.c has it. */
enum { FAILED_SWITCHES_MAX = 3 };

struct record_release life_release(int number)
{
    struct record_release release = {0};

    snprintf(release.version, sizeof(release.version), "%d.0", number);
    memset(release.sha256, '0' + number, sizeof(release.sha256) - 1);
    return release;
}

void life_init(struct life *life, enum loader_kind kind, unsigned tries, enum life_quality quality)
{
    *life = (struct life){.quality = quality, .holds = {LIFE_OLD, LIFE_OLD}, .boot = 1};
    life->memory = alloc_zeroed(sizeof(*life->memory));
    life->medium = alloc_zeroed(sizeof(*life->medium));
    record_init(life->medium);
    for (int i = SLOT_A; i <= SLOT_B; i++)
        life->medium->slots[i] =
            (struct record_slot){.state = BOOT_HEALTH_GOOD, .release = life_release(LIFE_OLD)};
    loader_init(&life->loader, kind, tries);
    snprintf(life->boot_id, sizeof(life->boot_id), "boot-%u", life->boot);
}

void life_finish(struct life *life)
{
    free(life->memory);
    free(life->medium);
}

static void break_rule(struct life *life, const char *rule)
{
    if (!life->broken)
        life->broken = rule;
}

/* --- the machine --- */

static void count_boot(struct life *life)
{
    const struct loader *loader = &life->loader;
    int runs = life->holds[loader->running];

    if (runs == 0)
        break_rule(life, "what boots is a whole image");
    life->tries += runs == LIFE_OFFERED && loader->trial == loader->running;
}

static void boot(struct life *life, bool argument)
{
    /* A release that panics leads to the loader again and again, by plain reboots. */
    for (int i = 0; i < 20; i++, argument = false) {
        loader_start(&life->loader, argument);
        life->boot++;
        count_boot(life);
        if (life->loader.kind == LOADER_FILE || life->quality != LIFE_PANICS ||
            life->holds[life->loader.running] != LIFE_OFFERED)
            break;
        if (i == 19)
            break_rule(life, "a release that does not come up is left");
    }
    snprintf(life->boot_id, sizeof(life->boot_id), "boot-%u", life->boot);
}

static struct trial_machine describe(const struct life *life)
{
    struct boot_state boot = loader_read(&life->loader);
    struct boot_abilities abilities = loader_abilities(&life->loader);

    return (struct trial_machine){
        .running = life->loader.running,
        .next = boot.next,
        .trial = boot.trial,
        .tries_left = boot.tries_left,
        .running_bad =
            boot.health[life->loader.running] == BOOT_HEALTH_BAD && boot.trial != life->loader.running,
        .loader_tries_again = abilities.tries && life->loader.tries > 1,
        .in_place_reboot = abilities.in_place_reboot,
        .reboot_argument = abilities.reboot_argument,
        .boot_id = life->boot_id,
        .now_s = life->boot,
    };
}

/* --- moonsinterd --- */

static struct trial_outcome step(struct life *life, const struct trial_event *event)
{
    struct trial_machine machine = describe(life);
    struct trial_outcome outcome;

    trial_step(life->memory, &machine, event, &outcome);
    return outcome;
}

static bool save(struct life *life)
{
    bool saved = !life->save_fails;

    life->save_fails = false;
    if (saved)
        *life->medium = *life->memory;
    return saved;
}

static bool write(struct life *life, bool (*change)(struct loader *loader, enum slot slot), enum slot slot)
{
    bool fails = life->write_fails;

    life->write_fails = false;
    return !fails && change(&life->loader, slot);
}

static enum end end_in_order(struct life *life, enum end end)
{
    step(life, &(struct trial_event){.kind = TRIAL_EVENT_ENDED});
    save(life);
    return end;
}

static enum end order_mark_bad(struct life *life)
{
    const struct loader *loader = &life->loader;
    struct boot_state boot = loader_read(loader);

    if (boot.health[slot_other(loader->running)] != BOOT_HEALTH_GOOD || boot.next != loader->running)
        return END_NONE;
    bool leaves = boot.trial == loader->running;
    life->rejects_asked++;
    step(life,
         &(struct trial_event){.kind = TRIAL_EVENT_REJECTING, .leaves = leaves, .reason = "marked bad"});
    save(life);
    if (!write(life, loader_reject, loader->running) && !leaves)
        step(life, &(struct trial_event){.kind = TRIAL_EVENT_REJECT_FAILED});
    save(life);
    return END_REBOOT;
}

static enum end order_mark_good(struct life *life)
{
    struct boot_state boot = loader_read(&life->loader);

    if (boot.trial == life->loader.running && write(life, loader_good, life->loader.running)) {
        step(life, &(struct trial_event){.kind = TRIAL_EVENT_MARKED_GOOD});
        save(life);
        life->goods_asked++;
    }
    return END_NONE;
}

static enum end strike(struct life *life, enum life_event event)
{
    switch (event) {
    case LIFE_POWER_CUT:
        return END_POWER_CUT;
    case LIFE_KILL:
        life->kills++;
        return END_DAEMON;
    case LIFE_RESTART:
        return end_in_order(life, END_DAEMON);
    case LIFE_REBOOT:
        return end_in_order(life, END_REBOOT);
    case LIFE_REBOOT_ARGUMENT:
        step(life, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_SEEN});
        life->argument = true;
        return end_in_order(life, END_REBOOT);
    case LIFE_SAVE_FAILS:
        life->save_fails = true;
        return END_NONE;
    case LIFE_WRITE_FAILS:
        life->write_fails = true;
        return END_NONE;
    case LIFE_MARK_BAD:
        return order_mark_bad(life);
    case LIFE_MARK_GOOD:
        return order_mark_good(life);
    case LIFE_INSTALL: {
        struct record_release offered = life_release(LIFE_OFFERED);
        life->installs_asked += record_find_failed(life->memory, &offered) != NULL;
        record_forget_failed(life->memory, &offered);
        return END_NONE;
    }
    case LIFE_EVENT_COUNT:
        break;
    }
    return END_NONE;
}

/* A moment at which something may strike. */
static enum end pass_moment(struct life *life)
{
    enum end end = END_NONE;

    life->moment++;
    for (unsigned i = 0; i < life->strike_count && end == END_NONE; i++)
        if (life->strikes[i].moment == life->moment)
            end = strike(life, life->strikes[i].event);
    return end;
}

#define MOMENT(life)                                                                                         \
    do {                                                                                                     \
        enum end moment_end = pass_moment(life);                                                             \
        if (moment_end != END_NONE)                                                                          \
            return moment_end;                                                                               \
    } while (false)

static enum end reboot(struct life *life, bool falling_back)
{
    struct trial_machine machine = describe(life);

    if (!falling_back && trial_failed_switches(life->memory, life->boot_id) >= FAILED_SWITCHES_MAX) {
        life->gave_up = true;
        return END_REST;
    }
    step(life, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_ASKED});
    enum end end = pass_moment(life);
    life->cut_while_asked += end != END_NONE && machine.reboot_argument;
    if (end != END_NONE)
        return end;
    if (!save(life) && life->memory->trial.reboot_asked) {
        step(life, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_FAILED});
        return END_DAEMON;
    }
    end = pass_moment(life);
    life->cut_while_asked += end != END_NONE && machine.reboot_argument;
    if (end != END_NONE)
        return end;
    life->argument = machine.reboot_argument && machine.trial == machine.next && machine.trial != SLOT_NONE;
    return END_REBOOT;
}

static enum end install(struct life *life)
{
    enum slot target = slot_other(life->loader.running);
    struct record_release offered = life_release(LIFE_OFFERED);

    step(life, &(struct trial_event){.kind = TRIAL_EVENT_GIVEN_UP, .slot = target});
    MOMENT(life);
    if (!save(life))
        return END_DAEMON;
    MOMENT(life);
    if (!write(life, loader_invalidate, target))
        return END_DAEMON;
    MOMENT(life);
    life->holds[target] = 0;
    MOMENT(life);
    life->holds[target] = LIFE_OFFERED;
    MOMENT(life);
    step(life, &(struct trial_event){.kind = TRIAL_EVENT_ARMING, .slot = target, .release = &offered});
    MOMENT(life);
    if (!save(life) || !write(life, loader_arm, target)) {
        step(life, &(struct trial_event){.kind = TRIAL_EVENT_ARM_FAILED, .slot = target});
        save(life);
        return END_DAEMON;
    }
    unsigned before = life->moment;
    enum end end = pass_moment(life);
    life->cut_while_armed += end != END_NONE && life->moment > before;
    if (end != END_NONE)
        return end;
    step(life, &(struct trial_event){.kind = TRIAL_EVENT_ARMED});
    end = pass_moment(life);
    life->cut_while_armed += end != END_NONE;
    if (end != END_NONE)
        return end;
    life->cut_while_armed += !save(life);
    MOMENT(life);
    return reboot(life, false);
}

static enum end reject(struct life *life)
{
    step(life, &(struct trial_event){
                   .kind = TRIAL_EVENT_REJECTING, .leaves = true, .reason = "its health checks failed"});
    MOMENT(life);
    save(life);
    MOMENT(life);
    /* Where it cannot be written, the loader leaves by itself what was not marked good. */
    if (!write(life, loader_reject, life->loader.running))
        step(life, &(struct trial_event){.kind = TRIAL_EVENT_REJECT_FAILED});
    MOMENT(life);
    save(life);
    return reboot(life, true);
}

static enum end judge_trial(struct life *life)
{
    MOMENT(life);
    if (life->quality == LIFE_PANICS && life->holds[life->loader.running] == LIFE_OFFERED) {
        life->kills++;
        return END_DAEMON;
    }
    if (trial_restarted_too_often(life->memory) ||
        (life->quality == LIFE_UNFIT && life->holds[life->loader.running] == LIFE_OFFERED))
        return reject(life);
    if (!write(life, loader_good, life->loader.running))
        return END_DAEMON;
    MOMENT(life);
    step(life, &(struct trial_event){.kind = TRIAL_EVENT_MARKED_GOOD});
    MOMENT(life);
    save(life);
    return END_NONE;
}

static enum end check(struct life *life)
{
    struct record_release offered = life_release(LIFE_OFFERED);

    MOMENT(life);
    if (life->holds[life->loader.running] != LIFE_OFFERED && !record_find_failed(life->memory, &offered))
        return install(life);
    /* What became of the check is saved, and with it whatever was not saved before. */
    save(life);
    return save(life) ? END_REST : END_DAEMON;
}

static enum end run_daemon(struct life *life)
{
    *life->memory = *life->medium;
    life->starts++;
    if (life->loader.kind == LOADER_FILE) {
        loader_start(&life->loader, false);
        count_boot(life);
    }
    struct trial_machine machine = describe(life);
    MOMENT(life);
    struct trial_outcome outcome = step(life, &(struct trial_event){.kind = trial_start_kind(&machine)});
    MOMENT(life);
    save(life);
    if (outcome.start == TRIAL_START_PENDING)
        return reboot(life, outcome.falling_back);
    enum end end = outcome.start == TRIAL_START_TRIAL ? judge_trial(life) : END_NONE;
    return end == END_NONE ? check(life) : end;
}

/* Whether the machine could get back, at any moment. */
static void check_way_back(struct life *life)
{
    const struct loader *loader = &life->loader;
    enum slot other = slot_other(loader->running);

    if (loader->startable[loader->running] && life->holds[loader->running] == 0)
        break_rule(life, "a slot that runs is not written");
    if (loader->trial == loader->running && (!loader->startable[other] || life->holds[other] != LIFE_OLD))
        break_rule(life, "beside a slot on trial stands a good one");
}

bool life_run(struct life *life)
{
    while (life->starts < LIFE_STARTS_MAX) {
        enum end end = run_daemon(life);
        check_way_back(life);
        if (end == END_REST &&
            life->moment >= (life->strike_count ? life->strikes[life->strike_count - 1].moment : 0))
            return true;
        bool argument = life->argument;
        life->argument = false;
        if ((end == END_POWER_CUT || end == END_REBOOT) && life->loader.kind != LOADER_FILE)
            boot(life, end == END_REBOOT && argument);
    }
    return false;
}
