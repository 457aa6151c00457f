/* SPDX-License-Identifier: MIT */
#include "daemon/boot/rpi_config.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"

/* Whether what follows counts. A filter of one kind replaces an earlier one of that kind, and [all] all of
 * them. */
struct filters {
    bool right_partition;
    bool others; /* a filter that is not understood here is in force */
};

static void note_filter(struct filters *filters, const char *line, unsigned partition,
                        struct rpi_config *config)
{
    static const char by_partition[] = "[boot_partition=";

    if (strcmp(line, "[all]") == 0) {
        *filters = (struct filters){.right_partition = true};
    } else if (text_has_prefix(line, by_partition)) {
        char *end;
        unsigned long number = strtoul(line + strlen(by_partition), &end, 10);
        filters->right_partition = number == partition && strcmp(end, "]") == 0;
        config->by_partition = true;
    } else {
        filters->others = true;
    }
}

static void note_line(struct filters *filters, const char *line, unsigned partition,
                      struct rpi_config *config)
{
    static const char cmdline[] = "cmdline=";

    if (*line == '[') {
        note_filter(filters, line, partition, config);
    } else if (text_has_prefix(line, cmdline) && filters->right_partition) {
        free(config->cmdline);
        config->cmdline = alloc_string(line + strlen(cmdline));
        config->certain = !filters->others;
    }
}

void rpi_config_read(const char *text, unsigned partition, struct rpi_config *ret_config)
{
    struct filters filters = {.right_partition = true};
    struct rpi_config config = {.cmdline = alloc_string("cmdline.txt"), .certain = true};

    while (*text) {
        size_t length = strcspn(text, "\r\n"), blanks = strspn(text, " \t");
        size_t begin = blanks < length ? blanks : length, end = length;
        while (end > begin && (text[end - 1] == ' ' || text[end - 1] == '\t'))
            end--;
        CLEANUP_FREE char *line = alloc_printf("%.*s", (int)(end - begin), text + begin);
        note_line(&filters, line, partition, &config);
        text += length + strspn(text + length, "\r\n");
    }
    *ret_config = config;
}

void rpi_config_finish(struct rpi_config *config)
{
    free(config->cmdline);
    *config = (struct rpi_config){0};
}

char *rpi_config_root(const char *cmdline)
{
    static const char key[] = "root=";
    const char *end = cmdline + strcspn(cmdline, "\r\n");
    char *root = NULL;

    for (const char *at = cmdline; at < end;) {
        size_t length = strcspn(at, " \t\r\n");
        if (text_has_prefix(at, key)) {
            free(root);
            root = alloc_printf("%.*s", (int)(length - strlen(key)), at + strlen(key));
        }
        at += length + strspn(at + length, " \t");
    }
    return root;
}
