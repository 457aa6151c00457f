/* SPDX-License-Identifier: MIT */
/*
 * The rules: may a release be installed, may the machine reboot. Each rule is one small function; all of
 * them are asked, and each one that says no is reported. Pure, except for the time zone: whatever a rule
 * needs (the time, what the record remembers, what the kernel says of the slots) is in its input. Never
 * blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/image/manifest.h"
#include "daemon/decide/window.h"

enum policy_mode {
    POLICY_MODE_CHECK,   /* look and report */
    POLICY_MODE_INSTALL, /* also install, and arm for the next boot, whoever makes it */
    POLICY_MODE_REBOOT,  /* also reboot into it */
};

/* Why a part that a release lacks is not copied from the running slot. */
enum policy_missing {
    POLICY_MISSING_REFUSED,      /* Missing=refuse */
    POLICY_MISSING_NOT_RECORDED, /* it is not known what the running slot's place holds */
    POLICY_MISSING_OF_ONE_SLOT,  /* each slot has an image of its own */
};

/* What the rules look at. Strings are the caller's; NULL = not known, or nothing is wrong. */
struct policy_input {
    enum policy_mode mode;
    bool operator_asked; /* overrides the mode, the rollout, and what is remembered against the release */
    uint64_t now_s;      /* Unix time by this machine's clock */
    uint64_t floor_s;    /* the earliest time it can be, whatever the clock says */
    uint64_t built_s;    /* when this program was built */

    /* this machine */
    bool running_known;
    const char *running_why; /* why it is not known */
    bool running_good;       /* not on trial, not rejected */
    const char *keys_why; /* why the keys cannot be relied on, if a signature is demanded; NULL = they can */
    const char *name_why; /* why a slot's name cannot be relied on; NULL = both can */
    const char *
        loader_why; /* why the target cannot be armed or the boot selection not be read; NULL = all is well */
    const char *look_why;    /* why the boot selection cannot be read now; NULL = it can */
    const char *storage_why; /* why the state folder does not outlive a change of slot; NULL = it does */
    const char *parts_why;   /* why the parts that run are not those of the running slot, see struct slots;
                                NULL = they are, or nobody can tell */
    uint64_t slot_bytes;     /* of the target, 0 = not known */
    char room_why[512];      /* which part's place is too small for its image, a sentence; "" = none */
    const char *compatible;  /* NULL or "" = any release fits */
    bool allow_downgrade;
    bool has_floor;
    uint64_t floor_serial;
    bool has_armed_serial; /* a release with a serial waits for its boot */
    uint64_t armed_serial;
    uint64_t max_bytes; /* MaxBytesPerUpdate, 0 = no limit */

    /* the release */
    uint64_t image_bytes;
    bool is_empty;            /* the image has 0 bytes */
    const char *part_unknown; /* a part that this device has no place for; NULL = none */
    const char *part_missing; /* a part of this device that the release lacks and that cannot be carried over;
                                 NULL = none */
    enum policy_missing part_missing_how;
    const char *release_compatible;
    bool has_serial;
    uint64_t serial;
    uint64_t expires_s; /* 0 = never */
    uint64_t created_s; /* 0 = not given */
    struct manifest_rollout rollout;
    uint32_t rollout_position; /* this device's, see rollout_position() */
    const char *rollout_why;   /* why this device has no position; NULL = it has one */
    const char *failed_why;    /* how this very release failed here before; NULL = it did not */
    uint64_t unsteady_until_s; /* Unix time before which no poll may look at it, see turns.h; 0 = none */
    bool cancelled;            /* this very release was cancelled by an operator */
    bool planned;              /* plan_bytes is known */
    uint64_t plan_bytes;       /* to be downloaded */

    /* the boot */
    bool can_fall_back;       /* the boot loader goes back to the good slot by itself */
    bool allow_no_fallback;   /* AllowNoFallback=yes */
    bool falling_back;        /* the reboot leads back to a good slot, so it waits for nobody's convenience */
    bool next_invalid;        /* what boots next is recorded to hold no whole image */
    unsigned reboots_in_vain; /* how many reboots into the slot that boots next led back to this one */
    const char *reboot_argument; /* the reboot argument without which the firmware does not try the armed
                                    slot; NULL = none is needed */
    const struct config_window *windows; /* when the machine may reboot; none = at any time */
    size_t window_count;
};

struct policy_block {
    const char *what; /* static, kebab-case: "mode", "compatible", ... */
    bool refuses;     /* the release itself is not acceptable, and waiting does not change that */
    char why[480];    /* a sentence */
    bool elsewhere;   /* added by policy_add_block() and not by a rule */
    uint64_t until_s; /* Unix time when it ends by itself; 0 = time alone does not end it */
};

enum { POLICY_BLOCKS_MAX = 24 };

struct policy_verdict {
    struct policy_block blocks[POLICY_BLOCKS_MAX];
    size_t count; /* 0 = yes */
};

/* May this release be installed now? */
void policy_judge_install(const struct policy_input *input, struct policy_verdict *ret_verdict);

/* Is the release itself acceptable here, whoever asks, now or later? Only those blocks of
 * policy_judge_install() that refuse, and "parts-mixed", which says that no slot runs as it was released. */
void policy_judge_release(const struct policy_input *input, struct policy_verdict *ret_verdict);

/* Whether a block of a verdict refuses the release itself. */
bool policy_verdict_refuses(const struct policy_verdict *verdict);

/* May the machine reboot now, into what is armed? */
void policy_judge_reboot(const struct policy_input *input, struct policy_verdict *ret_verdict);

/* Adds a reason that was not found by a rule, such as a target in use. Dropped if the verdict is full. */
void policy_add_block(struct policy_verdict *verdict, const char *what, const char *why);

/* Makes this the only reason of the verdict. */
void policy_hold(struct policy_verdict *verdict, const char *what, const char *why);

/* policy_hold() for a release that an operator just cancelled, in the words of the rule that will hold it
 * from now on. */
void policy_hold_cancelled(struct policy_verdict *verdict);

/* Whether `what` is among the reasons. */
bool policy_verdict_has(const struct policy_verdict *verdict, const char *what);

/* Milliseconds until the first of the reasons ends by itself; UINT64_MAX / 2, which stands for never, if none
 * does. */
uint64_t policy_verdict_wait_ms(const struct policy_verdict *verdict, uint64_t now_s);

/* Whether both read the same to people. */
bool policy_verdict_is_same(const struct policy_verdict *a, const struct policy_verdict *b);

/* Whether there is a limit that can only be judged with the plan, which is not made yet. */
bool policy_needs_plan(const struct policy_input *input);

/* Whether moonsinterd makes the reboot itself; in the other modes somebody else makes it, and nothing holds
 * it. */
bool policy_wants_reboot(const struct policy_input *input);
