/* SPDX-License-Identifier: MIT */
#include "tests/unit/byte_writer.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/varint.h"

void byte_writer_bytes(struct byte_writer *writer, const void *data, size_t size)
{
    if (writer->room - writer->size < size) {
        writer->room = (writer->size + size) * 2;
        writer->data = realloc(writer->data, writer->room);
        if (!writer->data)
            abort();
    }
    if (size)
        memcpy(writer->data + writer->size, data, size);
    writer->size += size;
}

void byte_writer_varint(struct byte_writer *writer, uint64_t value)
{
    uint8_t data[VARINT_SIZE_MAX];

    byte_writer_bytes(writer, data, varint_write(data, value));
}

void byte_writer_fixed32(struct byte_writer *writer, uint32_t value)
{
    value = htole32(value);
    byte_writer_bytes(writer, &value, sizeof(value));
}

void byte_writer_fixed64(struct byte_writer *writer, uint64_t value)
{
    value = htole64(value);
    byte_writer_bytes(writer, &value, sizeof(value));
}

void byte_writer_finish(struct byte_writer *writer)
{
    free(writer->data);
    *writer = (struct byte_writer){0};
}
