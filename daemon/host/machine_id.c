/* SPDX-License-Identifier: MIT */
#include "daemon/host/machine_id.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

enum { FILE_SIZE_MAX = 4096 };

bool machine_id_read(char ret_id[ROLLOUT_MACHINE_ID_SIZE + 1], char *ret_why, size_t why_size)
{
    static const char path[] = "/etc/machine-id";
    CLEANUP_FREE char *text = NULL;
    struct error error;
    size_t size;

    if (!file_read(path, FILE_SIZE_MAX, &text, &size, &error)) {
        snprintf(ret_why, why_size, "%.200s", error.message);
        return false;
    }
    text[strcspn(text, "\n")] = '\0';
    if (!rollout_is_machine_id(text)) {
        snprintf(ret_why, why_size, "%s holds no machine-id; see systemd-machine-id-setup(1)", path);
        return false;
    }
    memcpy(ret_id, text, ROLLOUT_MACHINE_ID_SIZE + 1);
    return true;
}
