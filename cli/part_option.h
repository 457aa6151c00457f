/* SPDX-License-Identifier: MIT */
/* --part NAME=VALUE, NAME@a=VALUE and NAME@b=VALUE, which several verbs take for what belongs to a set. Pure.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"

/* Points into the option's text. */
struct part_option {
    const char *name; /* as manifest_part_check_name() takes it */
    enum manifest_part_slot slot;
    char *value; /* not empty */
};

/* Cuts `text` up, which is changed by it. */
bool part_option_parse(char *text, struct part_option *ret_option, struct error *error);
