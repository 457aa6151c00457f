/* SPDX-License-Identifier: MIT */
#include "common/base/version.h"

#include "common/version_generated.h"

static const struct {
    const char *text;
    uint64_t time_s;
} version = {VERSION_TEXT_AND_TIME};

const char *version_text(void)
{
    return version.text;
}

uint64_t version_time_s(void)
{
    return version.time_s;
}
