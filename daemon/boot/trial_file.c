/* SPDX-License-Identifier: MIT */
#include "daemon/boot/trial_file.h"

#include <errno.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

enum { TRIAL_FILE_MAX = 16 }; /* bytes */

char *trial_file_path(const char *root, const struct config *config)
{
    return alloc_printf("%s%s/boot-trial", root, config->state_directory);
}

bool trial_file_read(const char *path, enum slot *ret_slot, struct error *error)
{
    CLEANUP_FREE char *text = NULL;
    struct error cause = {0};
    size_t size;

    *ret_slot = SLOT_NONE;
    if (!file_read(path, TRIAL_FILE_MAX, &text, &size, &cause))
        return cause.code == ENOENT || error_set(error, cause.kind, "%s", cause.message);
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, slot_name(SLOT_NONE)) == 0 || slot_parse(text, ret_slot) == 0 ||
           error_set(error, ERROR_FORMAT,
                     "%s holds neither a slot nor \"%s\"; remove it if no slot is on trial", path,
                     slot_name(SLOT_NONE));
}

bool trial_file_write(const char *path, enum slot slot, struct error *error)
{
    CLEANUP_FREE char *text = alloc_printf("%s\n", slot_name(slot));
    enum slot written;

    if (!trial_file_read(path, &written, error))
        return false;
    if (written == slot)
        return true;
    if (!file_make_parent(path, error) || !file_replace(path, text, strlen(text), 0644, error) ||
        !trial_file_read(path, &written, error))
        return false;
    return written == slot ||
           error_set(error, ERROR_SYSTEM, "%s does not hold what was just written to it", path);
}
