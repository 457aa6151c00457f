/* SPDX-License-Identifier: MIT */
/* A configuration file. What is accepted is within bounds, and what is not has a sentence. */
#include "daemon/config/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "tests/fuzz/fuzz.h"

static void look_at_setting(void *owner, const struct config_setting *setting)
{
    size_t *length = owner;

    *length +=
        strlen(setting->section) + strlen(setting->key) + strlen(setting->value) + strlen(setting->origin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_problems problems = {0};
    struct config *config = NULL;
    size_t length = 0;
    CLEANUP_FD int fd = memfd_create("fuzz", MFD_CLOEXEC);

    if (fd < 0 || file_pwrite_full(fd, data, size, 0) < 0)
        abort();
    CLEANUP_FREE char *path = alloc_printf("/proc/self/fd/%d", fd);
    const struct config_request request = {.root = "/nonexistent", .file = path};
    if (config_load(&request, &config, &problems)) {
        assert(problems.errors == 0 && config->url && config->interval_ms >= 1000);
        assert(config->slot_names[0] && config->slot_names[1] && config->window_count <= CONFIG_LIST_MAX);
        config_each_setting(config, look_at_setting, &length);
        config_free(config);
    } else {
        assert(problems.errors > 0 && problems.count >= problems.errors);
    }
    config_problems_finish(&problems);
    return 0;
}
