/* SPDX-License-Identifier: MIT */
/*
 * Numbers of variable length, unsigned LEB128 in its shortest form (docs/manifest.md, 3), and a reader that
 * never leaves its bytes. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VARINT_SIZE_MAX = 10 }; /* bytes of the longest */

/* Writes `value`; returns how many bytes, at most VARINT_SIZE_MAX. */
size_t varint_write(uint8_t *data, uint64_t value);

/* Reads from memory, front to back. After the first thing that was not there or not well-formed, `failed` is
 * set and everything reads as 0 or NULL, so that callers may look at it once at the end of a record. */
struct byte_reader {
    const uint8_t *data;
    size_t left;
    bool failed;
};

uint64_t byte_reader_varint(struct byte_reader *reader);
uint32_t byte_reader_fixed32(struct byte_reader *reader);
uint64_t byte_reader_fixed64(struct byte_reader *reader);

/* The next `size` bytes where they lie; NULL where there are not so many. */
const uint8_t *byte_reader_bytes(struct byte_reader *reader, size_t size);
