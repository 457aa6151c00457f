/* SPDX-License-Identifier: MIT */
/*
 * Where a report goes. FILE is whatever its user names: a file, which is replaced when the report is whole; a
 * link, whose target is; a device or a pipe, into which is written; or standard output. Never one of the
 * images. Judged before the long work. The command's own thread, but for what says otherwise; may block as
 * the file may.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum diff_output_kind {
    DIFF_OUTPUT_FILE,   /* a regular file, or none yet */
    DIFF_OUTPUT_STREAM, /* written into as it stands: a character device, a pipe */
    DIFF_OUTPUT_STDOUT, /* so that the events have to stay away from there */
};

struct file_writer;

struct diff_output {
    enum diff_output_kind kind;
    char *path; /* links followed */
    int fd;     /* DIFF_OUTPUT_STREAM */
    struct file_writer *writer;
};

/* Finds out what `path` is ("-" is standard output) and opens it where it is a stream. Refuses what cannot
 * be, and the two images. diff_output_finish() follows in every case. */
bool diff_output_init(struct diff_output *output, const char *path, const char *const images[2],
                      struct error *error);

/* Creates the temporary file where it is a file. */
bool diff_output_begin(struct diff_output *output, struct error *error);

/* Writes it; for DIFF_OUTPUT_FILE from any thread. */
bool diff_output_write(struct diff_output *output, const char *data, size_t size, struct error *error);

/* Removes the temporary file; from any thread. */
void diff_output_remove(struct diff_output *output);

/* Closes and frees, and removes what was not written. */
void diff_output_finish(struct diff_output *output);
