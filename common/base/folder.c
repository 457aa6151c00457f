/* SPDX-License-Identifier: MIT */
#include "common/base/folder.h"

#include <stddef.h>

struct dirent *folder_next(DIR *folder)
{
    struct dirent *entry;

    do {
        entry = folder ? readdir(folder) : NULL;
    } while (entry && entry->d_name[0] == '.');
    return entry;
}

void folder_close_pointer(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}
