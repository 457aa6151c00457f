/* SPDX-License-Identifier: MIT */
/*
 * Where a report goes: a file, which is replaced when the report is complete; a link, whose target is
 * replaced then; a device or a pipe, into which it is written; or standard output. Never one of the images.
 * This is checked before the long work. The command's own thread, except where a function says otherwise; may
 * block on the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/publish/diff_images.h"
#include "common/base/error.h"

enum diff_output_kind {
    DIFF_OUTPUT_FILE,   /* a regular file, or one to be created */
    DIFF_OUTPUT_STREAM, /* a character device or a pipe, which is written into */
    DIFF_OUTPUT_STDOUT, /* so no events may be written there */
};

struct file_writer;

struct diff_output {
    enum diff_output_kind kind;
    char *path; /* links followed */
    int fd;     /* DIFF_OUTPUT_STREAM */
    struct file_writer *writer;
};

/* Finds out what `path` is ("-" is standard output) and opens it if it is a stream. Refuses what cannot be
 * written, and all images. diff_output_finish() must follow in every case. */
bool diff_output_init(struct diff_output *output, const char *path, const struct diff_images *images,
                      struct error *error);

/* If the report goes to a file, creates the temporary file. */
bool diff_output_begin(struct diff_output *output, struct error *error);

/* Writes the report and puts it in its place. For DIFF_OUTPUT_FILE any thread may call it. */
bool diff_output_write(struct diff_output *output, const char *data, size_t size, struct error *error);

/* Removes the temporary file, if there is one. Any thread may call it. */
void diff_output_remove(struct diff_output *output);

/* Closes and frees, and removes what was not written. */
void diff_output_finish(struct diff_output *output);
