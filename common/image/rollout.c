/* SPDX-License-Identifier: MIT */
#include "common/image/rollout.h"

#include <string.h>

#include "common/base/alloc.h"

bool rollout_is_machine_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == ROLLOUT_MACHINE_ID_SIZE && !text[ROLLOUT_MACHINE_ID_SIZE] &&
           strspn(text, "0") != ROLLOUT_MACHINE_ID_SIZE;
}

uint32_t rollout_position(const char *machine_id, const uint8_t image_sha256[DIGEST_SHA256_SIZE])
{
    char hex[DIGEST_SHA256_HEX_SIZE];
    uint8_t digest[DIGEST_SHA256_SIZE];

    digest_sha256_to_hex(image_sha256, hex);
    CLEANUP_FREE char *text = alloc_printf("moonsinter rollout 1\n%s\n%s\n", machine_id, hex);
    digest_sha256(text, strlen(text), digest);
    return (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 | digest[3];
}

bool rollout_needs_position(const struct manifest_rollout *rollout)
{
    return rollout->present && !rollout->hold &&
           (rollout->percent < MANIFEST_PERCENT_MAX || rollout->duration_s > 0);
}

enum rollout_answer rollout_judge(const struct manifest_rollout *rollout, uint64_t created_s,
                                  uint32_t position, uint64_t now_s, uint64_t *ret_turn_s)
{
    /* Without a start the rollout begins when the release was made. */
    uint64_t start_s = rollout->start_s ? rollout->start_s : created_s;

    if (!rollout->present)
        return ROLLOUT_ANSWER_NOW;
    if (rollout->hold)
        return ROLLOUT_ANSWER_HOLD;
    /* position / 2^32 >= percent / 100, without rounding */
    if ((uint64_t)position * MANIFEST_PERCENT_MAX >= (uint64_t)rollout->percent << 32)
        return ROLLOUT_ANSWER_EXCLUDED;
    if (!rollout->start_s && !rollout->duration_s)
        return ROLLOUT_ANSWER_NOW;
    if (now_s < created_s)
        return ROLLOUT_ANSWER_NO_CLOCK;
    /* Both factors are below 2^32, so this cannot overflow. */
    uint64_t turn_s = start_s + ((rollout->duration_s * position) >> 32);
    if (now_s >= turn_s)
        return ROLLOUT_ANSWER_NOW;
    *ret_turn_s = turn_s;
    return ROLLOUT_ANSWER_LATER;
}
