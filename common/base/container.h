/* SPDX-License-Identifier: MIT */
/* From a member back to the structure it is embedded in. */
#pragma once

#include <stddef.h>

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
