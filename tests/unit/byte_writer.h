/* SPDX-License-Identifier: MIT */
/*
 * Puts together what a pack's sections hold, number by number, for tests that write them well or badly.
 * Failing to grow aborts.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct byte_writer {
    uint8_t *data;
    size_t size, room;
};

void byte_writer_bytes(struct byte_writer *writer, const void *data, size_t size);

void byte_writer_varint(struct byte_writer *writer, uint64_t value);

void byte_writer_fixed32(struct byte_writer *writer, uint32_t value);

void byte_writer_fixed64(struct byte_writer *writer, uint64_t value);

/* Frees the bytes; the writer is empty then. */
void byte_writer_finish(struct byte_writer *writer);
