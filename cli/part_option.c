/* SPDX-License-Identifier: MIT */
#include "cli/part_option.h"

#include <string.h>

bool part_option_parse(char *text, struct part_option *ret_option, struct error *error)
{
    char *value = strchr(text, '='), *slot = strchr(text, '@');

    if (!value || !value[1])
        return error_set(error, ERROR_REFUSED, "--part takes NAME=FILE, not %.100s", text);
    *value++ = '\0';
    *ret_option = (struct part_option){.name = text, .value = value};
    if (slot && slot < value) {
        if (strcmp(slot, "@a") != 0 && strcmp(slot, "@b") != 0)
            return error_set(error, ERROR_REFUSED, "--part %.100s= names no slot; NAME@a= and NAME@b= do",
                             text);
        ret_option->slot = slot[1] == 'a' ? MANIFEST_PART_OF_A : MANIFEST_PART_OF_B;
        *slot = '\0';
    }
    const char *why = manifest_part_check_name(text);
    return !why || error_set(error, ERROR_REFUSED, "--part: %.100s %s", text, why);
}
