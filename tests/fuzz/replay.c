/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target once for each file of the folders named on the command line, and reports in TAP. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "tests/fuzz/fuzz.h"

enum { SEED_SIZE_MAX = 1024 * 1024 };

static int replay_file(const char *path)
{
    CLEANUP_FREE char *data = NULL;
    struct error error;
    size_t size;

    if (!file_read(path, SEED_SIZE_MAX, &data, &size, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return -1;
    }
    /* Of just that size, so that a sanitizer sees one byte too many read. */
    CLEANUP_FREE char *exact = malloc(size ? size : 1);
    if (!exact)
        return -1;
    for (size_t i = 0; i < size; i++)
        exact[i] = data[i];
    return LLVMFuzzerTestOneInput((const uint8_t *)exact, size);
}

static int replay_folder(const char *folder, unsigned *count)
{
    DIR *stream = opendir(folder);
    int status = 0;

    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        if (entry->d_name[0] == '.')
            continue;
        CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, entry->d_name);
        int result = replay_file(path);
        printf("%s %u - %s\n", result == 0 ? "ok" : "not ok", ++*count, entry->d_name);
        status |= result != 0;
    }
    if (stream)
        closedir(stream);
    return status;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    int status = 0;

    for (int i = 1; i < argc; i++)
        status |= replay_folder(argv[i], &count);
    printf("1..%u\n", count);
    return count == 0 || status ? 1 : 0;
}
