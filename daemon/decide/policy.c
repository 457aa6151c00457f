/* SPDX-License-Identifier: MIT */
#include "daemon/decide/policy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/text.h"
#include "common/base/timestamp.h"
#include "common/base/wall_clock.h"
#include "common/image/rollout.h"

/* One or two may be somebody's choice, such as another entry picked from the loader's menu. */
enum { REBOOTS_IN_VAIN_MAX = 3 };

/* `judge` returns true for "no objection"; otherwise it has filled in `why`, and `until_s` if it knows when
 * the objection ends. */
struct policy_rule {
    const char *what;
    bool (*judge)(const struct policy_input *input, struct policy_block *block);
};

__attribute__((format(printf, 2, 3))) static bool object(struct policy_block *block, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(block->why, sizeof(block->why), format, args);
    va_end(args);
    return false;
}

static bool judge_running_known(const struct policy_input *input, struct policy_block *block)
{
    if (input->running_known)
        return true;
    return object(block, "which slot runs cannot be determined%s%s, so none may be written",
                  input->running_why ? ": " : "", input->running_why ? input->running_why : "");
}

static bool judge_running_good(const struct policy_input *input, struct policy_block *block)
{
    if (!input->running_known || input->running_good)
        return true;
    return object(block, "the running slot is not marked good, so the other slot may be the only good one");
}

static bool judge_slot_name(const struct policy_input *input, struct policy_block *block)
{
    return !input->name_why || object(block, "%s", input->name_why);
}

static bool judge_keys(const struct policy_input *input, struct policy_block *block)
{
    return !input->keys_why || object(block, "%s", input->keys_why);
}

/* A build that failed may publish an empty image. "Installing" it would boot what the slot holds already
 * under the new name. */
static bool judge_empty_image(const struct policy_input *input, struct policy_block *block)
{
    block->refuses = true;
    if (!input->is_empty)
        return true;
    return object(block, "the image is empty: it has 0 bytes; publish the release anew");
}

/* A part that was left out would be that of another release, or none: a root with another kernel. */
static bool judge_part_unknown(const struct policy_input *input, struct policy_block *block)
{
    block->refuses = true;
    return !input->part_unknown ||
           object(
               block,
               "the release brings a part %s, and this device has no place for it: add [Part %s] with A= and "
               "B= to the settings and start moonsinterd anew, or publish a release without it",
               input->part_unknown, input->part_unknown);
}

/* The target's would stay, which is that of an older release. */
static bool judge_part_missing(const struct policy_input *input, struct policy_block *block)
{
    const char *name = input->part_missing;

    block->refuses = true;
    if (!name)
        return true;
    switch (input->part_missing_how) {
    case POLICY_MISSING_REFUSED:
        return object(block,
                      "the release does not bring the part %s, which this device has a place for: publish a "
                      "release that does, or set Missing=carry in [Part %s] to keep the running slot's",
                      name, name);
    case POLICY_MISSING_NOT_RECORDED:
        return object(
            block,
            "the release does not bring the part %s, and what the running slot has of it is not known "
            "to be what a release brought, so it is not copied: publish a release that brings it",
            name);
    case POLICY_MISSING_OF_ONE_SLOT:
        return object(block,
                      "the release does not bring the part %s, and that of the running slot is for this slot "
                      "only, so it is not copied: publish a release that brings it",
                      name);
    }
    return true;
}

/* Firmware may start one slot's kernel with the other one's root. */
static bool judge_parts_mixed(const struct policy_input *input, struct policy_block *block)
{
    return !input->parts_why || object(block, "%s", input->parts_why);
}

/* Asked before the download, which would be wasted if the target could not be armed after it. */
static bool judge_arming(const struct policy_input *input, struct policy_block *block)
{
    /* If the running slot is not known or not good, other rules say so, and loader_why would only repeat
     * it. */
    return !input->loader_why || (!input->look_why && !(input->running_known && input->running_good)) ||
           object(block, "%s", input->loader_why);
}

static bool judge_storage(const struct policy_input *input, struct policy_block *block)
{
    if (!input->storage_why)
        return true;
    return object(block, "StateDirectory= does not outlive a change of slot: %s", input->storage_why);
}

static bool judge_mode(const struct policy_input *input, struct policy_block *block)
{
    if (input->mode != POLICY_MODE_CHECK || input->operator_asked)
        return true;
    return object(block, "Mode=check installs only when asked: run moonsinter install");
}

static bool judge_compatible(const struct policy_input *input, struct policy_block *block)
{
    block->refuses = true;
    if (!input->compatible || !*input->compatible)
        return true;
    if (input->release_compatible && strcmp(input->compatible, input->release_compatible) == 0)
        return true;
    if (!input->release_compatible)
        return object(block, "the release does not say what it is for, and Compatible=%.80s is set",
                      input->compatible);
    return object(block, "the release is for \"%.80s\" and this device is \"%.80s\"",
                  input->release_compatible, input->compatible);
}

static bool judge_serial(const struct policy_input *input, struct policy_block *block)
{
    block->refuses = true;
    if (input->allow_downgrade)
        return true;
    if (input->has_floor && !input->has_serial)
        return object(block, "the release has no serial and this device ran serial %" PRIu64 " already",
                      input->floor_serial);
    if (input->has_floor && input->serial < input->floor_serial)
        return object(block,
                      "serial %" PRIu64 " is older than %" PRIu64 ", which this device ran already; "
                      "AllowDowngrade=yes permits it",
                      input->serial, input->floor_serial);
    /* Otherwise somebody could replay the release before the armed one and so keep a fix from its boot. */
    if (input->has_armed_serial && (!input->has_serial || input->serial < input->armed_serial))
        return object(block,
                      "serial %" PRIu64 " waits for its boot and this release is older, or has no serial; "
                      "moonsinter cancel takes the one that waits back, AllowDowngrade=yes permits this one",
                      input->armed_serial);
    return true;
}

static bool judge_expires(const struct policy_input *input, struct policy_block *block)
{
    char expires[TIMESTAMP_TEXT_SIZE], floor[TIMESTAMP_TEXT_SIZE];

    block->refuses = true;
    if (!input->expires_s || (input->now_s < input->expires_s && input->floor_s < input->expires_s))
        return true;
    timestamp_format(expires, input->expires_s);
    if (input->floor_s < input->expires_s)
        return object(block, "the release expired at %s; publish it anew, or check this machine's clock",
                      expires);
    return object(block,
                  "the release expired at %s, and by what was installed here before it is %s or later; "
                  "publish it anew",
                  expires, timestamp_format(floor, input->floor_s));
}

/* An operator who asks for the release on this one device overrides the rollout, even one that is on hold. */
static bool judge_rollout(const struct policy_input *input, struct policy_block *block)
{
    const struct manifest_rollout *rollout = &input->rollout;
    char text[TIMESTAMP_TEXT_SIZE];
    uint64_t turn_s = 0;

    if (input->operator_asked)
        return true;
    if (rollout_needs_position(rollout) && input->rollout_why)
        return object(block, "the release is rolled out in steps and this device has no place in them: %s",
                      input->rollout_why);
    switch (rollout_judge(rollout, input->created_s, input->rollout_position, input->now_s, &turn_s)) {
    case ROLLOUT_ANSWER_NOW:
        return true;
    case ROLLOUT_ANSWER_HOLD:
        return object(
            block, "the publisher has paused this release; a newer manifest or moonsinter install goes on");
    case ROLLOUT_ANSWER_EXCLUDED:
        return object(block,
                      "the release goes to %u %% of the devices so far and this is none of them; a newer "
                      "manifest or moonsinter install goes on",
                      rollout->percent);
    case ROLLOUT_ANSWER_LATER:
        block->until_s = turn_s;
        return object(block, "this device's turn in the rollout comes at %s", timestamp_format(text, turn_s));
    case ROLLOUT_ANSWER_NO_CLOCK:
        return object(
            block,
            "the release is rolled out by the clock and this machine's is before %s, when the release "
            "was made; set it",
            timestamp_format(text, input->created_s));
    }
    return true;
}

static bool judge_failed_before(const struct policy_input *input, struct policy_block *block)
{
    if (!input->failed_why || input->operator_asked)
        return true;
    return object(block,
                  "this release failed here before (%.150s); a newer one or moonsinter install goes on",
                  input->failed_why);
}

static const char cancelled_why[] = "this release was cancelled; a newer one or moonsinter install goes on";

static bool judge_cancelled(const struct policy_input *input, struct policy_block *block)
{
    if (!input->cancelled || input->operator_asked)
        return true;
    return object(block, "%s", cancelled_why);
}

static bool judge_unsteady(const struct policy_input *input, struct policy_block *block)
{
    char until[TIMESTAMP_TEXT_SIZE];

    if (input->now_s >= input->unsteady_until_s || input->operator_asked)
        return true;
    block->until_s = input->unsteady_until_s;
    return object(block,
                  "the server offers another release time and again, and each costs a download: the next is "
                  "looked at from %s on, or when moonsinter check asks",
                  timestamp_format(until, input->unsteady_until_s));
}

static bool judge_slot_size(const struct policy_input *input, struct policy_block *block)
{
    char image[16], slot[16];

    if (!input->slot_bytes || input->image_bytes <= input->slot_bytes)
        return !*input->room_why || object(block, "%s", input->room_why);
    return object(block, "the image (%s, %" PRIu64 " bytes) is larger than the slot (%s, %" PRIu64 " bytes)",
                  text_format_bytes(image, sizeof(image), input->image_bytes), input->image_bytes,
                  text_format_bytes(slot, sizeof(slot), input->slot_bytes), input->slot_bytes);
}

static bool judge_bytes(const struct policy_input *input, struct policy_block *block)
{
    char plan[16], limit[16];

    if (!input->max_bytes || !input->planned || input->plan_bytes <= input->max_bytes)
        return true;
    return object(block, "the update would download %s and MaxBytesPerUpdate= allows %s",
                  text_format_bytes(plan, sizeof(plan), input->plan_bytes),
                  text_format_bytes(limit, sizeof(limit), input->max_bytes));
}

static bool judge_fall_back(const struct policy_input *input, struct policy_block *block)
{
    if (!policy_wants_reboot(input) || input->can_fall_back || input->allow_no_fallback ||
        input->operator_asked || input->falling_back)
        return true;
    return object(block,
                  "this boot loader cannot fall back by itself; AllowNoFallback=yes lets Mode=reboot go on");
}

/* Told in every mode, because any reboot goes to that slot until the next check deselects it. */
static bool judge_next(const struct policy_input *input, struct policy_block *block)
{
    if (!input->next_invalid || input->operator_asked || input->falling_back)
        return true;
    return object(
        block, "the slot that boots next was given up and not verified since; the next check deselects it, "
               "and until then a reboot goes there nevertheless");
}

/* The loader ignores the boot selection: it may lack moonsinter's script, or read another file than the one
 * that is written. A machine that reboots again and again would be of no use. */
static bool judge_loader(const struct policy_input *input, struct policy_block *block)
{
    if (!policy_wants_reboot(input) || input->reboots_in_vain < REBOOTS_IN_VAIN_MAX || input->operator_asked)
        return true;
    return object(
        block,
        "the boot loader was to start the other slot and started this one, %u times; see that it goes by "
        "the boot selection (docs/boot.md), then run moonsinter reboot",
        input->reboots_in_vain);
}

static bool judge_window(const struct policy_input *input, struct policy_block *block)
{
    uint64_t until_s;
    char opens[64] = "", now[TIMESTAMP_TEXT_SIZE];

    if (!policy_wants_reboot(input) || !input->window_count || input->operator_asked || input->falling_back)
        return true;
    /* The clock of a board without a battery begins in 1970 at each boot. */
    if (input->now_s < input->built_s)
        return object(block,
                      "the clock says %s, which cannot be, so no window is open until it is set "
                      "(systemd-timesyncd)",
                      timestamp_format(now, input->now_s));
    if (window_find(input->windows, input->window_count, input->now_s, &until_s))
        return true;
    struct tm local;
    if (wall_clock_local((int64_t)until_s, &local))
        strftime(opens, sizeof(opens), ", at %a %H:%M", &local);
    block->until_s = until_s;
    return object(block, "the machine reboots when its next window opens%s local time", opens);
}

/* moonsinterd does not reboot in this mode, so whoever does has to know the argument. */
static bool judge_argument(const struct policy_input *input, struct policy_block *block)
{
    if (policy_wants_reboot(input) || !input->reboot_argument)
        return true;
    return object(block,
                  "a plain reboot does not try the new slot, for the firmware has to be told: run moonsinter "
                  "reboot, or systemctl reboot --reboot-argument=\"%.40s\"",
                  input->reboot_argument);
}

/* Without the boot selection it is not known where a reboot would lead. */
static bool judge_selection(const struct policy_input *input, struct policy_block *block)
{
    if (!policy_wants_reboot(input) || !input->look_why || input->operator_asked || input->falling_back)
        return true;
    return object(block, "what boots next is not known: %s", input->look_why);
}

static const struct policy_rule install_rules[] = {
    {"running-slot-unknown", judge_running_known},
    {"running-slot-not-good", judge_running_good},
    {"parts-mixed", judge_parts_mixed},
    {"slot-name", judge_slot_name},
    {"boot-selection", judge_arming},
    {"state-not-shared", judge_storage},
    {"mode", judge_mode},
    {"unsafe-keys", judge_keys},
    {"empty-image", judge_empty_image},
    {"part-unknown", judge_part_unknown},
    {"part-missing", judge_part_missing},
    {"compatible", judge_compatible},
    {"downgrade", judge_serial},
    {"expired", judge_expires},
    {"rollout", judge_rollout},
    {"failed-before", judge_failed_before},
    {"cancelled", judge_cancelled},
    {"unsteady-server", judge_unsteady},
    {"slot-too-small", judge_slot_size},
    {"max-bytes", judge_bytes},
};

static const struct policy_rule reboot_rules[] = {
    {"no-fallback", judge_fall_back}, {"next-slot-invalid", judge_next},
    {"loader-stays", judge_loader},   {"boot-selection", judge_selection},
    {"reboot-window", judge_window},  {"reboot-argument", judge_argument},
};

static void judge_all(const struct policy_rule *rules, size_t count, const struct policy_input *input,
                      struct policy_verdict *verdict)
{
    verdict->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct policy_block *block = &verdict->blocks[verdict->count];
        memset(block, 0, sizeof(*block));
        block->what = rules[i].what;
        if (!rules[i].judge(input, block))
            verdict->count++;
    }
}

#define RULE_COUNT(rules) (sizeof(rules) / sizeof((rules)[0]))
/* At least one place is left for policy_add_block(). */
_Static_assert(RULE_COUNT(install_rules) < POLICY_BLOCKS_MAX,
               "a verdict has room for every rule's objection");
_Static_assert(RULE_COUNT(reboot_rules) < POLICY_BLOCKS_MAX, "a verdict has room for every rule's objection");

void policy_judge_install(const struct policy_input *input, struct policy_verdict *ret_verdict)
{
    judge_all(install_rules, RULE_COUNT(install_rules), input, ret_verdict);
}

void policy_judge_release(const struct policy_input *input, struct policy_verdict *ret_verdict)
{
    struct policy_verdict all;

    policy_judge_install(input, &all);
    ret_verdict->count = 0;
    for (size_t i = 0; i < all.count; i++)
        if (all.blocks[i].refuses || strcmp(all.blocks[i].what, "parts-mixed") == 0)
            ret_verdict->blocks[ret_verdict->count++] = all.blocks[i];
}

bool policy_verdict_refuses(const struct policy_verdict *verdict)
{
    for (size_t i = 0; i < verdict->count; i++)
        if (verdict->blocks[i].refuses)
            return true;
    return false;
}

void policy_judge_reboot(const struct policy_input *input, struct policy_verdict *ret_verdict)
{
    judge_all(reboot_rules, RULE_COUNT(reboot_rules), input, ret_verdict);
}

void policy_add_block(struct policy_verdict *verdict, const char *what, const char *why)
{
    if (verdict->count == POLICY_BLOCKS_MAX)
        return;

    struct policy_block *block = &verdict->blocks[verdict->count++];
    memset(block, 0, sizeof(*block));
    block->what = what;
    block->elsewhere = true;
    snprintf(block->why, sizeof(block->why), "%s", why);
}

void policy_hold(struct policy_verdict *verdict, const char *what, const char *why)
{
    verdict->count = 0;
    policy_add_block(verdict, what, why);
}

void policy_hold_cancelled(struct policy_verdict *verdict)
{
    policy_hold(verdict, "cancelled", cancelled_why);
}

bool policy_verdict_has(const struct policy_verdict *verdict, const char *what)
{
    for (size_t i = 0; i < verdict->count; i++)
        if (strcmp(verdict->blocks[i].what, what) == 0)
            return true;
    return false;
}

uint64_t policy_verdict_wait_ms(const struct policy_verdict *verdict, uint64_t now_s)
{
    uint64_t wait_ms = UINT64_MAX / 2;

    for (size_t i = 0; i < verdict->count; i++) {
        uint64_t until_s = verdict->blocks[i].until_s;
        if (until_s > now_s && until_s - now_s < wait_ms / 1000)
            wait_ms = (until_s - now_s) * 1000;
    }
    return wait_ms;
}

bool policy_verdict_is_same(const struct policy_verdict *a, const struct policy_verdict *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++)
        same = a->blocks[i].what == b->blocks[i].what && a->blocks[i].until_s == b->blocks[i].until_s &&
               strcmp(a->blocks[i].why, b->blocks[i].why) == 0;
    return same;
}

bool policy_needs_plan(const struct policy_input *input)
{
    return input->max_bytes && !input->planned;
}

bool policy_wants_reboot(const struct policy_input *input)
{
    return input->mode == POLICY_MODE_REBOOT || input->operator_asked;
}
