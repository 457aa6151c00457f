/* SPDX-License-Identifier: MIT */
#include "common/base/varint.h"

#include "common/base/le.h"

size_t varint_write(uint8_t *data, uint64_t value)
{
    size_t size = 0;

    for (; value > 0x7f; value >>= 7)
        data[size++] = (uint8_t)(value | 0x80);
    data[size++] = (uint8_t)value;
    return size;
}

static uint64_t byte_reader_fail(struct byte_reader *reader)
{
    reader->failed = true;
    reader->left = 0;
    return 0;
}

uint64_t byte_reader_varint(struct byte_reader *reader)
{
    uint64_t value = 0;

    for (size_t i = 0; i < VARINT_SIZE_MAX && i < reader->left; i++) {
        uint8_t byte = reader->data[i];
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte & 0x80)
            continue;
        /* A last byte of zero means that there is a shorter form. Of the tenth byte only the lowest bit fits
         * into 64. */
        if ((byte == 0 && i > 0) || (i == VARINT_SIZE_MAX - 1 && byte > 1))
            break;
        reader->data += i + 1;
        reader->left -= i + 1;
        return value;
    }
    return byte_reader_fail(reader);
}

uint32_t byte_reader_fixed32(struct byte_reader *reader)
{
    const uint8_t *data = byte_reader_bytes(reader, sizeof(uint32_t));

    return data ? le_read_u32(data) : 0;
}

uint64_t byte_reader_fixed64(struct byte_reader *reader)
{
    const uint8_t *data = byte_reader_bytes(reader, sizeof(uint64_t));

    return data ? le_read_u64(data) : 0;
}

const uint8_t *byte_reader_bytes(struct byte_reader *reader, size_t size)
{
    const uint8_t *data = reader->data;

    if (reader->failed || reader->left < size) {
        byte_reader_fail(reader);
        return NULL;
    }
    reader->data += size;
    reader->left -= size;
    return data;
}
