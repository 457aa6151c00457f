/* SPDX-License-Identifier: MIT */
/* The record's file as it is found at a start. Blocks on the medium: before the loop runs. */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/decide/record.h"

/* Reads `path` into *record. A missing file is a first start and gives an empty record. One that cannot be
 * understood gives an empty record too, is moved aside to PATH.bad, and said in *ret_complaint (a sentence,
 * freed by the caller; NULL where all is well). Fails only where the file is there and cannot be read. */
bool record_load(const char *path, struct record *record, char **ret_complaint, struct error *error);
