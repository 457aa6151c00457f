/* SPDX-License-Identifier: MIT */
/*
 * Phased rollout: which share of the devices takes a release, and when each device's turn comes, computed
 * from only the manifest and the device's machine-id. Specified in docs/manifest.md, so that other programs
 * give the same answers. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/manifest.h"

enum {
    ROLLOUT_MACHINE_ID_SIZE = 32, /* hex digits of a machine-id(5), without the terminating zero */
};

/* What a rollout says to one device. */
enum rollout_answer {
    ROLLOUT_ANSWER_NOW,      /* its turn has come, or there is no rollout */
    ROLLOUT_ANSWER_HOLD,     /* no device's turn comes until another manifest says so */
    ROLLOUT_ANSWER_EXCLUDED, /* this device is beyond the share that takes this release */
    ROLLOUT_ANSWER_LATER,    /* its turn comes later */
    ROLLOUT_ANSWER_NO_CLOCK, /* it depends on the time, but this machine's clock is before the release was
                                made */
};

/* Whether `text` is a machine-id: 32 lower-case hex digits, not all of them zero. */
bool rollout_is_machine_id(const char *text);

/* The device's position in the order of this image's rollout: uniform over all 32 bits, different for each
 * image, and the machine-id cannot be computed from it. */
uint32_t rollout_position(const char *machine_id, const uint8_t image_sha256[DIGEST_SHA256_SIZE]);

/* Whether the answer depends on the device or the time; that of a hold, for example, does not. */
bool rollout_needs_position(const struct manifest_rollout *rollout);

/* The answer at `now_s` (Unix time) for the device at `position`; `created_s` is the release's, 0 = not
 * given. *ret_turn_s is set for LATER: when its turn comes. */
enum rollout_answer rollout_judge(const struct manifest_rollout *rollout, uint64_t created_s,
                                  uint32_t position, uint64_t now_s, uint64_t *ret_turn_s);
