/* SPDX-License-Identifier: MIT */
/* Finds the structure that a member is embedded in. */
#pragma once

#include <stddef.h>

/* The `type` whose member `member` is at `pointer`. */
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
