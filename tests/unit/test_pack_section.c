/* SPDX-License-Identifier: MIT */
/* A section of the pack: only what the manifest names comes out. */
#include "common/image/pack_section.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/image/zstd_frame.h"
#include "tests/unit/publisher.h"

enum { SIZE = 5000 };

struct fixture {
    uint8_t content[SIZE], frame[2 * SIZE];
    struct manifest_section section;
};

static struct fixture shared;

static int set_up(void **state)
{
    struct dice dice = {3};
    struct zstd_packer *packer = zstd_packer_new(3);
    size_t size;

    dice_fill(&dice, shared.content, SIZE);
    assert_int_equal(
        zstd_pack(packer, NULL, 0, shared.content, SIZE, shared.frame, sizeof(shared.frame), &size), 0);
    zstd_packer_free(packer);
    shared.section = (struct manifest_section){.size = (uint32_t)size, .unpacked = SIZE};
    digest_sha256(shared.frame, size, shared.section.sha256);
    return 0;
}

static void test_what_the_manifest_names(void **state)
{
    uint8_t *unpacked = NULL;
    struct error error;

    assert_true(pack_section_unpack(&shared.section, shared.frame, "index", &unpacked, &error));
    assert_memory_equal(unpacked, shared.content, SIZE);
    free(unpacked);
}

static void assert_refused(enum error_kind kind)
{
    uint8_t *unpacked = NULL;
    struct error error;

    assert_false(pack_section_unpack(&shared.section, shared.frame, "index", &unpacked, &error));
    assert_null(unpacked);
    assert_int_equal(error.kind, kind);
    assert_non_null(strstr(error.message, "the pack's index"));
}

static void test_other_bytes(void **state)
{
    for (uint32_t i = 0; i < shared.section.size; i += 97) {
        shared.frame[i] ^= 1;
        assert_refused(ERROR_MISMATCH);
        shared.frame[i] ^= 1;
    }
}

/* The digest is right, but not what is said of the content. */
static void test_another_size(void **state)
{
    const uint32_t sizes[] = {0, SIZE - 1, SIZE + 1, 2 * SIZE};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        shared.section.unpacked = sizes[i];
        assert_refused(ERROR_FORMAT);
    }
}

static void test_no_frame(void **state)
{
    memset(shared.frame, 'x', shared.section.size);
    digest_sha256(shared.frame, shared.section.size, shared.section.sha256);
    assert_refused(ERROR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_the_manifest_names, set_up),
        cmocka_unit_test_setup(test_other_bytes, set_up),
        cmocka_unit_test_setup(test_another_size, set_up),
        cmocka_unit_test_setup(test_no_frame, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
