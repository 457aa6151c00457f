/* SPDX-License-Identifier: MIT */
/* Frames: back and forth, against a prefix, and nothing accepted that is not the one frame that was expected.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publisher.h"

#include "common/base/alloc.h"
#include "common/image/zstd_frame.h"

enum { CONTENT_SIZE = 100 * 1000, PREFIX_SIZE = 300 * 1000 };

/* Content that a prefix helps with: pieces of the prefix with some bytes changed. */
struct sample {
    uint8_t *prefix, *content, *frame, *out;
    size_t room;
    struct zstd_packer *packer;
    struct zstd_unpacker *unpacker;
};

static int set_up(void **state)
{
    struct sample *sample = alloc_zeroed(sizeof(*sample));
    struct dice dice = {7};

    sample->prefix = alloc_zeroed(PREFIX_SIZE);
    sample->content = alloc_zeroed(CONTENT_SIZE);
    sample->out = alloc_zeroed(CONTENT_SIZE);
    sample->room = zstd_pack_bound(CONTENT_SIZE);
    sample->frame = alloc_zeroed(sample->room);
    dice_fill(&dice, sample->prefix, PREFIX_SIZE);
    memcpy(sample->content, sample->prefix + 1000, CONTENT_SIZE);
    for (size_t at = 0; at < CONTENT_SIZE; at += 5000)
        sample->content[at] ^= 0x55;
    sample->packer = zstd_packer_new(19);
    sample->unpacker = zstd_unpacker_new();
    assert_non_null(sample->packer);
    assert_non_null(sample->unpacker);
    *state = sample;
    return 0;
}

static int tear_down(void **state)
{
    struct sample *sample = *state;

    zstd_packer_free(sample->packer);
    zstd_unpacker_free(sample->unpacker);
    free(sample->prefix);
    free(sample->content);
    free(sample->frame);
    free(sample->out);
    free(sample);
    return 0;
}

static size_t must_pack(struct sample *sample, size_t prefix_size)
{
    size_t size = 0;

    assert_int_equal(zstd_pack(sample->packer, sample->prefix, prefix_size, sample->content, CONTENT_SIZE,
                               sample->frame, sample->room, &size),
                     0);
    return size;
}

/* Unpacks an exact copy, so that a sanitizer sees a read past the end. */
static int unpack(struct sample *sample, size_t prefix_size, size_t frame_size, size_t content_size)
{
    uint8_t *copy = alloc_zeroed(frame_size ? frame_size : 1),
            *out = alloc_zeroed(content_size ? content_size : 1);

    memcpy(copy, sample->frame, frame_size);
    int result =
        zstd_unpack(sample->unpacker, sample->prefix, prefix_size, copy, frame_size, out, content_size);
    if (result == 0 && content_size <= CONTENT_SIZE)
        memcpy(sample->out, out, content_size);
    free(copy);
    free(out);
    return result;
}

static void assert_content(struct sample *sample)
{
    assert_memory_equal(sample->out, sample->content, CONTENT_SIZE);
}

static void test_back_and_forth(void **state)
{
    struct sample *sample = *state;
    size_t alone = must_pack(sample, 0);

    assert_true(alone > CONTENT_SIZE / 2);
    assert_int_equal(unpack(sample, 0, alone, CONTENT_SIZE), 0);
    assert_content(sample);
    size_t against = must_pack(sample, PREFIX_SIZE);
    assert_true(against < 2000);
    memset(sample->out, 0, CONTENT_SIZE);
    assert_int_equal(unpack(sample, PREFIX_SIZE, against, CONTENT_SIZE), 0);
    assert_content(sample);
    /* The prefix does not stick. */
    assert_int_equal(must_pack(sample, 0), alone);
    assert_int_equal(unpack(sample, 0, alone, CONTENT_SIZE), 0);
}

static void test_equal_input_makes_equal_bytes(void **state)
{
    struct sample *sample = *state;
    struct zstd_packer *other = zstd_packer_new(19);
    size_t size = must_pack(sample, PREFIX_SIZE), other_size = 0;
    CLEANUP_FREE uint8_t *frame = alloc_zeroed(sample->room);

    assert_int_equal(zstd_pack(other, sample->prefix, PREFIX_SIZE, sample->content, CONTENT_SIZE, frame,
                               sample->room, &other_size),
                     0);
    assert_int_equal(other_size, size);
    assert_memory_equal(frame, sample->frame, size);
    zstd_packer_free(other);
}

static void test_what_does_not_fit_is_not_packed(void **state)
{
    struct sample *sample = *state;
    size_t size = must_pack(sample, PREFIX_SIZE), other = 12345;

    assert_int_equal(zstd_pack(sample->packer, sample->prefix, PREFIX_SIZE, sample->content, CONTENT_SIZE,
                               sample->frame, size - 1, &other),
                     -ENOSPC);
    assert_int_equal(other, 12345);
    /* And the next one is as if nothing had been. */
    assert_int_equal(must_pack(sample, PREFIX_SIZE), size);
    assert_int_equal(unpack(sample, PREFIX_SIZE, size, CONTENT_SIZE), 0);
    assert_content(sample);
}

static void test_other_sizes_are_refused(void **state)
{
    struct sample *sample = *state;
    size_t size = must_pack(sample, 0);

    assert_int_equal(unpack(sample, 0, size, CONTENT_SIZE - 1), -EBADMSG);
    assert_int_equal(unpack(sample, 0, size, CONTENT_SIZE + 1), -EBADMSG);
    assert_int_equal(unpack(sample, 0, size, 0), -EBADMSG);
    sample->frame[size] = 0;
    assert_int_equal(unpack(sample, 0, size + 1, CONTENT_SIZE), -EBADMSG);
    for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 997)
        assert_int_equal(unpack(sample, 0, cut, CONTENT_SIZE), -EBADMSG);
    assert_int_equal(unpack(sample, 0, size, CONTENT_SIZE), 0);
}

/* Whatever is flipped, it is refused or comes out with the size it should have, never outside its buffers. */
static void test_flipped_bits(void **state)
{
    struct sample *sample = *state;
    size_t size = must_pack(sample, PREFIX_SIZE);

    for (size_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit += at < 20 ? 1 : 5) {
            sample->frame[at] ^= (uint8_t)(1 << bit);
            int result = unpack(sample, PREFIX_SIZE, size, CONTENT_SIZE);
            assert_true(result == 0 || result == -EBADMSG);
            sample->frame[at] ^= (uint8_t)(1 << bit);
        }
    assert_int_equal(unpack(sample, PREFIX_SIZE, size, CONTENT_SIZE), 0);
    assert_content(sample);
    /* Without the bytes it was made against it is no frame, or another content. */
    memset(sample->out, 0, CONTENT_SIZE);
    if (unpack(sample, 0, size, CONTENT_SIZE) == 0)
        assert_memory_not_equal(sample->out, sample->content, CONTENT_SIZE);
}

static void test_frames_of_another_kind_are_refused(void **state)
{
    /* A skippable frame, zstd's format of version 0.7, a frame with a checksum, and one with a dictionary. */
    static const uint8_t frames[][16] = {
        {0x50, 0x2a, 0x4d, 0x18, 8, 0, 0, 0},
        {0x27, 0xb5, 0x2f, 0xfd, 0x20, 1, 0xc0, 0, 0},
        {0x28, 0xb5, 0x2f, 0xfd, 0x24, 1, 9, 0, 0, 'a', 0, 0, 0, 0},
        {0x28, 0xb5, 0x2f, 0xfd, 0x21, 5, 1, 9, 0, 0, 'a'},
    };
    static const size_t sizes[] = {16, 9, 14, 11};
    struct sample *sample = *state;

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        memcpy(sample->frame, frames[i], sizeof(frames[i]));
        assert_int_equal(unpack(sample, 0, sizes[i], 1), -EBADMSG);
        assert_int_equal(unpack(sample, 0, sizes[i], 0), -EBADMSG);
    }
    static const uint8_t plain[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 9, 0, 0, 'a'};
    memcpy(sample->frame, plain, sizeof(plain));
    assert_int_equal(unpack(sample, 0, sizeof(plain), 1), 0);
    assert_int_equal(sample->out[0], 'a');
}

static void test_nothing_at_all(void **state)
{
    struct sample *sample = *state;
    size_t size = 0;

    assert_int_equal(
        zstd_pack(sample->packer, NULL, 0, sample->content, 0, sample->frame, sample->room, &size), 0);
    assert_int_equal(unpack(sample, 0, size, 0), 0);
    assert_int_equal(unpack(sample, 0, size, 1), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_back_and_forth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_equal_input_makes_equal_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_does_not_fit_is_not_packed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_sizes_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flipped_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frames_of_another_kind_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_at_all, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
