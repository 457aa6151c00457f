/* SPDX-License-Identifier: MIT */
/*
 * Reads a Raspberry Pi's config.txt as its firmware does, as far as it matters to which root file system it
 * leads. Pure; any thread.
 */
#pragma once

#include <stdbool.h>

/* What config.txt says to a start from one partition. */
struct rpi_config {
    char *cmdline;     /* name of the file with the kernel's command line */
    bool by_partition; /* it has the filter [boot_partition=N] */
    bool certain;      /* no other filter stands before the name, such as one for a model */
};

/* `text` is config.txt's, `partition` the number of the partition that it is read from. Freed by
 * rpi_config_finish(). */
void rpi_config_read(const char *text, unsigned partition, struct rpi_config *ret_config);

void rpi_config_finish(struct rpi_config *config);

/* The value of the last root= on a command line, which ends with the line; NULL = it has none. Freed by the
 * caller. */
char *rpi_config_root(const char *cmdline);
