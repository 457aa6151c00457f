/* SPDX-License-Identifier: MIT */
/* What is in a folder. Blocks; any thread. */
#pragma once

#include <dirent.h>

/* Put before a variable of type DIR *: closes the folder when the variable goes out of scope. */
#define CLEANUP_FOLDER __attribute__((cleanup(folder_close_pointer)))

/* The next entry whose name does not begin with a dot; NULL after the last one, and where `folder` is NULL,
 * as opendir() returns it where there is none. */
struct dirent *folder_next(DIR *folder);

/* For CLEANUP_FOLDER only. */
void folder_close_pointer(DIR **folder);
