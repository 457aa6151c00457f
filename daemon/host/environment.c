/* SPDX-License-Identifier: MIT */
#include "daemon/host/environment.h"

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/text.h"

char **environment_for_programs(void)
{
    static const char *const ours[] = {"NOTIFY_SOCKET=",  "WATCHDOG_",      "LISTEN_",
                                       "JOURNAL_STREAM=", "INVOCATION_ID=", "SYSTEMD_EXEC_PID="};
    size_t count = 0, kept = 0;

    while (environ[count])
        count++;
    char **copy = alloc_zeroed((count + 1) * sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        bool is_ours = false;
        for (size_t j = 0; j < sizeof(ours) / sizeof(ours[0]); j++)
            is_ours |= text_has_prefix(environ[i], ours[j]);
        if (!is_ours)
            copy[kept++] = environ[i];
    }
    return copy;
}
