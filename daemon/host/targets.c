/* SPDX-License-Identifier: MIT */
#include "daemon/host/targets.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct targets *targets_new(void)
{
    return alloc_zeroed(sizeof(struct targets));
}

void targets_add(struct targets *targets, const char *name, struct device *device, uint64_t image_bytes)
{
    assert(targets->count < sizeof(targets->list) / sizeof(targets->list[0]));
    struct target *target = &targets->list[targets->count++];
    snprintf(target->name, sizeof(target->name), "%s", name);
    target->device = device;
    target->image_bytes = image_bytes;
}

const struct target *targets_find(const struct targets *targets, const char *name)
{
    for (unsigned i = 0; i < targets->count; i++)
        if (strcmp(targets->list[i].name, name) == 0)
            return &targets->list[i];
    return NULL;
}

struct targets *targets_close(struct targets *targets)
{
    for (unsigned i = 0; targets && i < targets->count; i++)
        device_close(targets->list[i].device);
    free(targets);
    return NULL;
}
