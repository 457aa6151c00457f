/* SPDX-License-Identifier: MIT */
/* When advice is given and when it is not: one fact is changed at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/publish/report/diff_advice.h"

/* Two squashfs images of 100 MB that are as good as they can be. */
static struct diff_facts good_facts(void)
{
    struct superblock superblock = {
        .kind = SUPERBLOCK_SQUASHFS, .compression = "zstd", .block_size = 131072, .made_at = 1700000000};

    return (struct diff_facts){
        .new_superblock = superblock,
        .old_superblock = superblock,
        .new_size = 100000000,
        .fate_bytes = {[DIFF_FATE_KEEP] = 80000000, [DIFF_FATE_COPY] = 16000000, [DIFF_FATE_PATCH] = 4000000},
        .fetched_packed = 4000000,
    };
}

static struct diff_facts ext4_facts(void)
{
    struct diff_facts facts = good_facts();

    facts.new_superblock = facts.old_superblock =
        (struct superblock){.kind = SUPERBLOCK_EXT4, .block_size = 4096, .ext4 = {.uuid_in_checksums = true}};
    facts.inode_times.used = 1000;
    return facts;
}

/* The only advice is `code`; NULL: there is none. */
static void assert_advice(const struct diff_facts *facts, const char *code)
{
    struct diff_advice advice[DIFF_ADVICE_MAX];
    size_t count = diff_advise(facts, advice);

    if (!code) {
        if (count > 0)
            fail_msg("%s: %s", advice[0].code, advice[0].text);
        return;
    }
    assert_int_equal(count, 1);
    assert_string_equal(advice[0].code, code);
    assert_true(strlen(advice[0].text) > 40);
    assert_true(strlen(advice[0].text) < DIFF_ADVICE_TEXT_SIZE - 1);
}

static void test_nothing_to_say(void **state)
{
    struct diff_facts facts = good_facts();

    (void)state;
    assert_advice(&facts, NULL);
    facts = ext4_facts();
    assert_advice(&facts, NULL);
    facts = (struct diff_facts){0};
    assert_advice(&facts, NULL);
}

static void test_formats(void **state)
{
    struct diff_facts facts = good_facts();

    (void)state;
    facts.old_superblock.kind = SUPERBLOCK_EROFS;
    assert_advice(&facts, "other-file-system");
    facts = good_facts();
    facts.old_superblock.compression = NULL;
    assert_advice(&facts, "other-compression");
    facts = good_facts();
    facts.old_superblock.block_size = 65536;
    assert_advice(&facts, "other-compression");
    facts = good_facts();
    facts.old_superblock.block_size = facts.new_superblock.block_size = 1 << 20;
    assert_advice(&facts, "large-blocks");
    facts = good_facts();
    facts.new_superblock = (struct superblock){.kind = SUPERBLOCK_COMPRESSED_FILE, .compression = "xz"};
    assert_advice(&facts, "compressed-as-a-whole");
    facts.new_superblock = (struct superblock){.kind = SUPERBLOCK_ENCRYPTED};
    assert_advice(&facts, "encrypted");
}

static void test_figures(void **state)
{
    struct diff_facts facts = good_facts();

    (void)state;
    facts.fate_bytes[DIFF_FATE_KEEP] = 10000000;
    facts.fate_bytes[DIFF_FATE_COPY] = 86000000;
    assert_advice(&facts, "unsorted");
    facts.new_superblock.kind = facts.old_superblock.kind = SUPERBLOCK_UNKNOWN;
    assert_advice(&facts, "moved");
    facts = good_facts();
    facts.fate_bytes[DIFF_FATE_PATCH] = 20000000;
    facts.fetched_packed = 19000000;
    assert_advice(&facts, "compressed-inside");
    facts.fetched_packed = 10000000;
    assert_advice(&facts, NULL);
    facts = ext4_facts();
    memset(facts.fate_bytes, 0, sizeof(facts.fate_bytes));
    facts.fate_bytes[DIFF_FATE_FETCH] = facts.new_size;
    assert_advice(&facts, "nothing-in-common");
}

static void test_times(void **state)
{
    struct diff_facts facts = good_facts();

    (void)state;
    facts.new_superblock.made_at++;
    assert_advice(&facts, "made-at-other-times");
    facts.new_superblock.made_at = 0; /* it does not say */
    assert_advice(&facts, NULL);
    facts = ext4_facts();
    facts.inode_times.times_only = 10;
    assert_advice(&facts, NULL);
    facts.inode_times.times_only = 11;
    assert_advice(&facts, "inode-times");
}

static void test_ext4(void **state)
{
    struct diff_facts facts = ext4_facts();

    (void)state;
    facts.new_superblock.uuid[0] = 1;
    assert_advice(&facts, "other-uuid");
    facts.new_superblock.ext4.uuid_in_checksums = false;
    assert_advice(&facts, NULL);
    facts = ext4_facts();
    facts.new_superblock.ext4.hash_seed[0] = 1;
    assert_advice(&facts, "other-hash-seed");
    facts = ext4_facts();
    facts.new_superblock.ext4.has_journal = true;
    assert_advice(&facts, "journal");
}

/* Everything that can be said at once finds room. */
static void test_everything(void **state)
{
    struct diff_advice advice[DIFF_ADVICE_MAX];
    struct diff_facts facts = ext4_facts();

    (void)state;
    facts.new_superblock.compression = "a compression";
    facts.new_superblock.block_size = 1 << 20;
    facts.new_superblock.uuid[0] = facts.new_superblock.ext4.hash_seed[0] = 1;
    facts.new_superblock.ext4.has_journal = true;
    facts.new_superblock.made_at = UINT64_MAX;
    facts.old_superblock.made_at = 1;
    facts.inode_times = (struct inode_times){.used = UINT64_MAX, .times_only = UINT64_MAX};
    facts.new_size = UINT64_C(1) << 62;
    facts.fate_bytes[DIFF_FATE_COPY] = facts.new_size - 1;
    facts.fate_bytes[DIFF_FATE_FETCH] = facts.fetched_packed = facts.new_size / 4;
    size_t count = diff_advise(&facts, advice);
    assert_in_range(count, 7, DIFF_ADVICE_MAX);
    for (size_t i = 0; i < count; i++)
        assert_true(strlen(advice[i].text) < DIFF_ADVICE_TEXT_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_say), cmocka_unit_test(test_formats),
        cmocka_unit_test(test_figures),        cmocka_unit_test(test_times),
        cmocka_unit_test(test_ext4),           cmocka_unit_test(test_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
