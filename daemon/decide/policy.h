/* SPDX-License-Identifier: MIT */
/*
 * May we install, may we reboot: one small rule each, all of them asked, every one that says no is reported.
 * Pure but for the time zone: whatever a rule needs (the time, what the record remembers, what the kernel
 * says of the slots) is in its input. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/image/manifest.h"
#include "daemon/decide/window.h"

enum policy_mode {
    POLICY_MODE_CHECK,   /* look and report */
    POLICY_MODE_INSTALL, /* install and arm for the next boot, whoever makes it */
    POLICY_MODE_REBOOT,  /* and reboot into it */
};

/* What the rules look at. Strings are the caller's and may be NULL where nothing is known or forbidden. */
struct policy_input {
    enum policy_mode mode;
    bool operator_asked; /* overrides the mode, the rollout, and what is remembered against the release */
    uint64_t now_s;      /* Unix time by this machine's clock */
    uint64_t floor_s;    /* it is not before this, whatever the clock says */
    uint64_t built_s;    /* nor before this program was made */

    /* this machine */
    bool running_known;
    const char *running_why; /* why it is not known */
    bool running_good;       /* not on trial, not rejected */
    const char *keys_why;    /* why no signature can be believed, where one is demanded; NULL = they can */
    const char *name_why;    /* why a slot's name cannot be relied on; NULL = both can */
    const char *loader_why;  /* why the target could not be armed, or the boot selection not read; NULL = all
                                is  well */
    const char *look_why;    /* why the boot selection cannot be read now; NULL = it can */
    const char *storage_why; /* why the state folder does not outlive a change of slot; NULL = it does */
    uint64_t slot_bytes;     /* of the target, 0 = not known */
    const char *compatible;  /* NULL or "" = whatever is offered */
    bool allow_downgrade;
    bool has_floor;
    uint64_t floor_serial;
    bool has_armed_serial; /* a release that has one waits for its boot */
    uint64_t armed_serial;
    uint64_t max_bytes; /* MaxBytesPerUpdate, 0 = no limit */

    /* the release */
    uint64_t image_bytes;
    bool is_empty; /* the image has 0 bytes */
    const char *release_compatible;
    bool has_serial;
    uint64_t serial;
    uint64_t expires_s; /* 0 = never */
    uint64_t created_s; /* 0 = not given */
    struct manifest_rollout rollout;
    uint32_t rollout_position; /* this device's, see rollout_position() */
    const char *rollout_why;   /* why it has none; NULL = it has */
    const char *failed_why;    /* this very release failed here before: how */
    uint64_t unsteady_until_s; /* Unix time before which no poll looks at it, see turns.h; 0 = none */
    bool cancelled;            /* this very release was cancelled by an operator */
    bool planned;              /* plan_bytes is known */
    uint64_t plan_bytes;       /* to be downloaded */

    /* the boot */
    bool can_fall_back;     /* the boot loader gets back to the good slot by itself */
    bool allow_no_fallback; /* AllowNoFallback=yes */
    bool falling_back;      /* the reboot leads back to a good slot, so it may not wait for convenience */
    bool next_invalid;      /* what boots next is recorded to hold no whole image */
    unsigned
        reboots_in_vain; /* boots that were ended for the slot that boots next, and this one runs still */
    const char *reboot_argument; /* what the firmware has to be told to try what is armed; NULL = nothing */
    const struct config_window *windows; /* in which the machine may reboot; none = at any time */
    size_t window_count;
};

struct policy_block {
    const char *what; /* static, kebab-case: "mode", "compatible", ... */
    bool refuses;     /* the release itself is not acceptable, and waiting does not change that */
    char why[480];    /* a sentence */
    bool elsewhere;   /* not by a rule: policy_add_block() */
    uint64_t until_s; /* Unix time when it ends by itself, 0 = not by time alone */
};

enum { POLICY_BLOCKS_MAX = 20 };

struct policy_verdict {
    struct policy_block blocks[POLICY_BLOCKS_MAX];
    size_t count; /* 0 = yes */
};

/* May this release be installed now? */
void policy_judge_install(const struct policy_input *input, struct policy_verdict *ret_verdict);

/* Is the release itself acceptable here, whoever asks, now or later? The rules of policy_judge_install()
 * whose blocks refuse. */
void policy_judge_release(const struct policy_input *input, struct policy_verdict *ret_verdict);

/* Whether a block of a verdict refuses the release itself. */
bool policy_verdict_refuses(const struct policy_verdict *verdict);

/* May the machine reboot now, into what is armed? */
void policy_judge_reboot(const struct policy_input *input, struct policy_verdict *ret_verdict);

/* Adds a reason that was found elsewhere (a target that is in use, say); one too many is dropped. */
void policy_add_block(struct policy_verdict *verdict, const char *what, const char *why);

/* Makes that the only reason: it holds from now on, whatever held before. */
void policy_hold(struct policy_verdict *verdict, const char *what, const char *why);

/* The same for a release that an operator just cancelled, with the words of the rule that holds it from then
 * on. */
void policy_hold_cancelled(struct policy_verdict *verdict);

/* Whether `what` is among the reasons. */
bool policy_verdict_has(const struct policy_verdict *verdict, const char *what);

/* Milliseconds until the first of the reasons ends by itself; UINT64_MAX / 2, which is never, where none
 * does. */
uint64_t policy_verdict_wait_ms(const struct policy_verdict *verdict, uint64_t now_s);

/* Whether both say the same to a reader. */
bool policy_verdict_is_same(const struct policy_verdict *a, const struct policy_verdict *b);

/* Whether a limit can only be judged with the plan. */
bool policy_needs_plan(const struct policy_input *input);

/* Whether anybody here makes the reboot at all; with the other modes it is others' to make, and nothing holds
 * it. */
bool policy_wants_reboot(const struct policy_input *input);
