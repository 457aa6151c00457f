/* SPDX-License-Identifier: MIT */
#include "common/publish/report/diff_advice.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/timestamp.h"

struct advice_list {
    struct diff_advice *items;
    size_t count;
};

static void add(struct advice_list *list, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(struct advice_list *list, const char *code, const char *format, ...)
{
    va_list args;

    assert(list->count < DIFF_ADVICE_MAX);
    struct diff_advice *advice = &list->items[list->count++];
    advice->code = code;
    va_start(args, format);
    vsnprintf(advice->text, sizeof(advice->text), format, args);
    va_end(args);
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)((double)part * 100 / (double)whole + 0.5) : 0;
}

static bool is_file_system(const struct superblock *superblock)
{
    return superblock->kind == SUPERBLOCK_SQUASHFS || superblock->kind == SUPERBLOCK_EROFS ||
           superblock->kind == SUPERBLOCK_EXT4;
}

/* A file system that is compressed or encrypted as a whole hides what it shares with the old one. */
static void advise_on_wrapping(const struct diff_facts *facts, struct advice_list *list)
{
    const struct superblock *superblock = &facts->new_superblock;

    if (superblock->kind == SUPERBLOCK_COMPRESSED_FILE)
        add(list, "compressed-as-a-whole",
            "NEW is a %s file. A change near its beginning changes all that follows, and devices write it to "
            "their slot as it is. Publish the image itself, and let generate --pack compress it in pieces.",
            superblock->compression);
    if (superblock->kind == SUPERBLOCK_ENCRYPTED)
        add(list, "encrypted",
            "NEW is an encrypted volume (LUKS). Where its key or its layout changes, every byte does; what is to "
            "be updated often is better encrypted on the device, or not at all.");
}

static void advise_on_formats(const struct diff_facts *facts, struct advice_list *list)
{
    const struct superblock *new_one = &facts->new_superblock, *old_one = &facts->old_superblock;
    const char *new_compression = new_one->compression ? new_one->compression : "none";
    const char *old_compression = old_one->compression ? old_one->compression : "none";

    if (!is_file_system(new_one) || !is_file_system(old_one))
        return;
    if (new_one->kind != old_one->kind)
        add(list, "other-file-system",
            "OLD is %s and NEW is %s. Such a change costs most of an image once; the updates after it are small "
            "again.",
            superblock_kind_name(old_one->kind), superblock_kind_name(new_one->kind));
    else if (strcmp(new_compression, old_compression) != 0 || new_one->block_size != old_one->block_size)
        add(list, "other-compression",
            "OLD was made with compression %s and blocks of %" PRIu32 " KiB, NEW with %s and %" PRIu32
            " KiB. Keep both from one release to the next: a change of either costs most of an image.",
            old_compression, old_one->block_size / 1024, new_compression, new_one->block_size / 1024);
}

/* Files that are compressed within the image. */
static void advise_on_compression(const struct diff_facts *facts, struct advice_list *list)
{
    const struct superblock *superblock = &facts->new_superblock;
    uint64_t fetched = facts->fate_bytes[DIFF_FATE_FETCH] + facts->fate_bytes[DIFF_FATE_PATCH];
    char text[16];

    if (!is_file_system(superblock) || !superblock->compression)
        return;
    /* More than a twentieth of the image is fetched, and compressing that again saves less than a tenth. */
    if (fetched > facts->new_size / 20 && facts->fetched_packed > fetched / 10 * 9)
        add(list, "compressed-inside",
            "The files in NEW are compressed (%s), so that one changed byte changes its whole block, and the %s "
            "that OLD lacks cannot be compressed again (to %u %%). In an uncompressed erofs or ext4, published "
            "with --pack and --base, the same files usually travel in less; docs/publishing.md has figures.",
            superblock->compression, text_format_bytes(text, sizeof(text), fetched),
            percent(facts->fetched_packed, fetched));
    if (superblock->kind == SUPERBLOCK_SQUASHFS && superblock->block_size > 128 * 1024)
        add(list, "large-blocks",
            "NEW compresses %" PRIu32
            " KiB at a time, and a changed byte costs all of that. Blocks of 128 KiB "
            "(mksquashfs -b 128K) make the image a little larger and its updates smaller.",
            superblock->block_size / 1024);
}

/* What has only moved is not fetched, but a device has to write it again. */
static void advise_on_order(const struct diff_facts *facts, struct advice_list *list)
{
    uint64_t kept = facts->fate_bytes[DIFF_FATE_KEEP], copied = facts->fate_bytes[DIFF_FATE_COPY];
    char text[16];

    if (copied <= facts->new_size / 2)
        return;
    text_format_bytes(text, sizeof(text), copied);
    if (facts->new_superblock.kind == SUPERBLOCK_SQUASHFS)
        add(list, "unsorted",
            "%u %% of NEW is in OLD, but only %u %% at the same place: one file that changed its size moved all "
            "after it. Nothing of that is fetched, but a device that updates its older slot in place writes up to %s "
            "anew. mksquashfs -sort, with the files that change often last, leaves the rest where it was.",
            percent(kept + copied, facts->new_size), percent(kept, facts->new_size), text);
    else
        add(list, "moved",
            "%u %% of NEW is in OLD, but only %u %% at the same place. Nothing of that is fetched, but a device that "
            "updates its older slot in place writes up to %s anew.",
            percent(kept + copied, facts->new_size), percent(kept, facts->new_size), text);
}

static void advise_on_times(const struct diff_facts *facts, struct advice_list *list)
{
    const struct inode_times *times = &facts->inode_times;
    uint64_t new_time = facts->new_superblock.made_at, old_time = facts->old_superblock.made_at;
    char new_text[TIMESTAMP_TEXT_SIZE], old_text[TIMESTAMP_TEXT_SIZE];

    /* A few such inodes are of files that somebody touched. */
    if (times->times_only > times->used / 100)
        add(list, "inode-times",
            "%" PRIu64 " of %" PRIu64
            " inodes differ in nothing but their times. Give every file the same times in "
            "each build (SOURCE_DATE_EPOCH, touch -h -d, debugfs for what mke2fs -d copies from the build folder).",
            times->times_only, times->used);
    if (new_time && old_time && new_time != old_time &&
        facts->new_superblock.kind == facts->old_superblock.kind) {
        timestamp_format(new_text, new_time);
        timestamp_format(old_text, old_time);
        add(list, "made-at-other-times",
            "The superblocks say that OLD was made at %s and NEW at %s. That costs a chunk or two by itself; where "
            "the tool also gives that time to files, it costs their inodes. Fixed times (SOURCE_DATE_EPOCH) make "
            "equal files equal images.",
            old_text, new_text);
    }
}

static void advise_on_ext4(const struct diff_facts *facts, struct advice_list *list)
{
    const struct superblock *new_one = &facts->new_superblock, *old_one = &facts->old_superblock;

    if (new_one->kind != SUPERBLOCK_EXT4 || old_one->kind != SUPERBLOCK_EXT4)
        return;
    if (new_one->ext4.uuid_in_checksums && memcmp(new_one->uuid, old_one->uuid, SUPERBLOCK_UUID_SIZE) != 0)
        add(list, "other-uuid",
            "The file systems have different UUIDs, and with metadata_csum every checksum of inodes, folders and "
            "groups depends on it. Fix it with mke2fs -U.");
    if (memcmp(new_one->ext4.hash_seed, old_one->ext4.hash_seed, SUPERBLOCK_UUID_SIZE) != 0)
        add(list, "other-hash-seed",
            "The file systems hash names with different seeds, so that large folders are laid out anew. Fix it with "
            "mke2fs -E hash_seed=.");
    if (new_one->ext4.has_journal)
        add(list, "journal",
            "NEW has a journal, which a root file system that is never written does not need; what was left in it is "
            "fetched as well. Leave it out with mke2fs -O ^has_journal.");
}

static void advise_on_nothing_in_common(const struct diff_facts *facts, struct advice_list *list)
{
    uint64_t found = facts->fate_bytes[DIFF_FATE_KEEP] + facts->fate_bytes[DIFF_FATE_COPY];

    if (list->count == 0 && facts->new_size > 0 && found < facts->new_size / 20)
        add(list, "nothing-in-common",
            "Next to nothing of NEW is in OLD (%u %%). Where both were made of much the same files, look for "
            "something in the build that is random, encrypts, or compresses all as one.",
            percent(found, facts->new_size));
}

size_t diff_advise(const struct diff_facts *facts, struct diff_advice ret_advice[DIFF_ADVICE_MAX])
{
    struct advice_list list = {.items = ret_advice};

    advise_on_wrapping(facts, &list);
    advise_on_formats(facts, &list);
    advise_on_times(facts, &list);
    advise_on_ext4(facts, &list);
    advise_on_compression(facts, &list);
    advise_on_order(facts, &list);
    advise_on_nothing_in_common(facts, &list);
    return list.count;
}
