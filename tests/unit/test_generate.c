/* SPDX-License-Identifier: MIT */
/* generate and diff on real files: what they write and count, and when they refuse to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/chunk_table.h"
#include "common/publish/diff.h"
#include "common/publish/generate.h"
#include "tests/unit/publisher.h"

struct fixture {
    char folder[32];
    char *image;
    char *chunks;
    char *json;
};

static int set_up(void **state)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));

    strcpy(fixture->folder, "/tmp/test_generate.XXXXXX");
    if (!mkdtemp(fixture->folder))
        return -1;
    fixture->image = alloc_printf("%s/image", fixture->folder);
    fixture->chunks = alloc_printf("%s.chunks", fixture->image);
    fixture->json = alloc_printf("%s.json", fixture->image);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf %s", fixture->folder);

    int result = system(command);
    free(fixture->image);
    free(fixture->chunks);
    free(fixture->json);
    free(fixture);
    return result;
}

static void write_file(const char *path, const void *data, size_t size)
{
    struct error error;

    if (!file_replace(path, data, size, 0644, &error))
        fail_msg("%s", error.message);
}

static struct generate_settings settings_of(const struct fixture *fixture)
{
    return (struct generate_settings){.image_path = fixture->image, .chunk_size = 100000, .average = 4096};
}

static void must_generate(const struct generate_settings *settings, struct generate_result *result)
{
    struct error error;

    if (!generate_files(settings, result, &error))
        fail_msg("%s", error.message);
}

static void assert_refused(const struct generate_settings *settings, enum error_kind kind, const char *words)
{
    struct generate_result result;
    struct error error = {0};

    assert_false(generate_files(settings, &result, &error));
    assert_int_equal(error.kind, kind);
    if (!strstr(error.message, words))
        fail_msg("no \"%s\" in: %s", words, error.message);
}

static struct manifest *read_manifest(const struct fixture *fixture)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;
    struct manifest *manifest = NULL;
    struct error error;

    if (!file_read(fixture->json, MANIFEST_SIZE_MAX, &text, &size, &error) ||
        !manifest_parse(text, size, &manifest, &error))
        fail_msg("%s", error.message);
    return manifest;
}

/* Both files of an image of `size` bytes against its bytes. */
static void check_image(struct fixture *fixture, size_t size, uint32_t chunk_size)
{
    CLEANUP_FREE uint8_t *data = noise(size, size + 1);
    struct generate_settings settings = settings_of(fixture);
    struct generate_result result;
    uint8_t sha256[DIGEST_SHA256_SIZE];

    settings.chunk_size = chunk_size;
    write_file(fixture->image, data, size);
    must_generate(&settings, &result);
    struct manifest *manifest = read_manifest(fixture);

    digest_sha256(data, size, sha256);
    assert_memory_equal(manifest->sha256, sha256, sizeof(sha256));
    assert_memory_equal(result.sha256, sha256, sizeof(sha256));
    assert_int_equal(manifest->file_size, size);
    assert_int_equal(manifest->file_hash, digest_xxh32(data, size));
    assert_int_equal(result.file_hash, manifest->file_hash);
    assert_int_equal(manifest->chunk_count, (size + chunk_size - 1) / chunk_size);
    for (uint32_t i = 0; i < manifest->chunk_count; i++) {
        size_t offset = (size_t)i * chunk_size;
        assert_int_equal(
            manifest->chunk_hashes[i],
            digest_xxh32(data + offset, size - offset < chunk_size ? size - offset : chunk_size));
    }

    char *table_data;
    size_t table_size;
    struct chunk_table *table;
    struct error error;
    assert_string_equal(manifest->chunks.url, "image.chunks");
    assert_true(file_read(fixture->chunks, 1 << 20, &table_data, &table_size, &error));
    assert_int_equal(manifest->chunks.size_bytes, table_size);
    digest_sha256(table_data, table_size, sha256);
    assert_memory_equal(manifest->chunks.sha256, sha256, sizeof(sha256));
    if (!chunk_table_parse((uint8_t *)table_data, table_size, size, &table, &error))
        fail_msg("%s", error.message);
    assert_int_equal(chunk_table_count(table), result.table_count);
    for (uint32_t i = 0; i < chunk_table_count(table); i++) {
        const uint8_t *chunk = data + chunk_table_offset(table, i);
        assert_true(chunk_table_key(table, i) == digest_xxh3(chunk, chunk_table_size(table, i)));
        assert_true(chunk_table_proves(table, i, chunk));
    }
    chunk_table_free(table);
    manifest_free(manifest);
}

/* Sizes around the chunk sizes and around what is read at once (1 MiB). */
static void test_images(void **state)
{
    static const size_t sizes[] = {1, 99999, 100000, 100001, 1048575, 1048576, 1048577, 2500000};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_image(*state, sizes[i], 100000);
    check_image(*state, 1100000, 1);
    check_image(*state, 3000000, 7);
    check_image(*state, 3000000, 1048576);
    check_image(*state, 3000000, 2000000);
    check_image(*state, 3000000, MANIFEST_CHUNK_SIZE_MAX);
}

static void test_reproducible_and_mode(void **state)
{
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture);
    struct generate_result result;
    struct error error;
    CLEANUP_FREE char *first = NULL;
    CLEANUP_FREE char *second = NULL;
    size_t first_size, second_size;
    char version[] = "1", compatible[] = "x";

    settings.release = (struct manifest_release){
        .version = version, .has_serial = true, .serial = 0, .created = 1795354749, .compatible = compatible};
    write_file(fixture->image, "abc", 3);
    must_generate(&settings, &result);
    assert_true(file_read(fixture->json, 10000, &first, &first_size, &error));
    must_generate(&settings, &result);
    assert_true(file_read(fixture->json, 10000, &second, &second_size, &error));
    assert_string_equal(first, second);
    assert_int_equal(first_size, result.manifest_size_bytes);
    assert_non_null(strstr(first,
                           "\"release\":{\"version\":\"1\",\"serial\":0,\"created\":\"2026-11-22T13:39:09Z\","
                           "\"compatible\":\"x\"}}}\n"));

    struct stat status;
    CLEANUP_FREE char *left = alloc_printf("%s.new", fixture->json);
    assert_int_equal(stat(left, &status), -1);
    assert_int_equal(stat(fixture->json, &status), 0);
    assert_int_equal(status.st_mode & 0444, 0444);
}

static void test_odd_names(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *image = alloc_printf("%s/a b:c#d?%%", fixture->folder);
    CLEANUP_FREE char *json = alloc_printf("%s.json", image);
    struct generate_settings settings = {.image_path = image, .chunk_size = 1, .average = 1024};
    struct generate_result result;

    write_file(image, "x", 1);
    must_generate(&settings, &result);
    free(fixture->json);
    fixture->json = alloc_string(json);
    struct manifest *manifest = read_manifest(fixture);
    assert_string_equal(manifest->chunks.url, "a%20b%3Ac%23d%3F%25.chunks");
    manifest_free(manifest);
}

static void test_refused(void **state)
{
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture);

    assert_refused(&settings, ERROR_SYSTEM, "No such file");
    assert_int_equal(mkdir(fixture->image, 0755), 0);
    assert_refused(&settings, ERROR_REFUSED, "no regular file");
    assert_int_equal(rmdir(fixture->image), 0);
    assert_int_equal(mkfifo(fixture->image, 0600), 0);
    assert_refused(&settings, ERROR_REFUSED, "no regular file");
    assert_int_equal(unlink(fixture->image), 0);
    write_file(fixture->image, "abc", 3);
    settings.average = 3000;
    assert_refused(&settings, ERROR_REFUSED, "power of two");
    settings.average = 4096;
    /* Refused from the size alone: the file has no bytes on the medium. */
    settings.chunk_size = 1;
    assert_int_equal(truncate(fixture->image, (off_t)1 << 40), 0);
    assert_refused(&settings, ERROR_REFUSED, "larger CHUNK_SIZE");
    assert_int_equal(truncate(fixture->image, 3), 0);
    assert_int_equal(mkdir(fixture->json, 0755), 0);
    assert_refused(&settings, ERROR_REFUSED, "image.json");
    assert_int_equal(rmdir(fixture->json), 0);
    /* Nobody's update: a device would go on running what its slot held before. */
    assert_int_equal(truncate(fixture->image, 0), 0);
    assert_refused(&settings, ERROR_REFUSED, "is empty");
}

/* From the size alone, for 3 TiB have more chunks of at most 128 KiB than a table has rows. */
static void test_too_large_for_any_table(void **state)
{
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture);

    write_file(fixture->image, "", 0);
    assert_int_equal(truncate(fixture->image, (off_t)3 << 40), 0);
    settings.chunk_size = 16 << 20;
    settings.average = 32768;
    assert_refused(&settings, ERROR_REFUSED, "larger average");
}

static void no_file_is_left(const struct fixture *fixture, const char *suffix)
{
    CLEANUP_FREE char *path = alloc_printf("%s%s", fixture->image, suffix);

    if (access(path, F_OK) == 0)
        fail_msg("%s was left", path);
}

/* Whatever keeps the last file from its place is known before the first one takes its own. */
static void test_no_half_publication(void **state)
{
    static const char *const suffixes[] = {".pack", ".chunks", ".json.minisig", ".json"};
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture);
    struct minisign_secret_key key = {.key = {.id = {1}}, .seed = {2}};

    write_file(fixture->image, "abc", 3);
    settings.with_pack = true;
    settings.sign_key = &key;
    for (size_t i = 0; i < 4; i++) {
        CLEANUP_FREE char *path = alloc_printf("%s%s", fixture->image, suffixes[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        assert_refused(&settings, ERROR_REFUSED, "is a folder");
        assert_int_equal(rmdir(path), 0);
        for (size_t j = 0; j < 4; j++) {
            CLEANUP_FREE char *temporary = alloc_printf("%s.new", suffixes[j]);
            no_file_is_left(fixture, suffixes[j]);
            no_file_is_left(fixture, temporary);
        }
    }
    free(fixture->image);
    fixture->image = alloc_printf("%s/new\nline", fixture->folder);
    settings.image_path = fixture->image;
    write_file(fixture->image, "abc", 3);
    assert_refused(&settings, ERROR_REFUSED, "--trusted-comment");
    for (size_t i = 0; i < 4; i++)
        no_file_is_left(fixture, suffixes[i]);
}

/* A second run neither touches what the first one writes nor leaves anything; when the first has ended, it
 * can. */
static void test_two_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture), other = settings_of(fixture);
    struct generate_result result;
    struct generate *first;
    struct error error;

    write_file(fixture->image, "abc", 3);
    settings.with_pack = true;
    assert_true(generate_new(&settings, &first, &error));
    assert_refused(&other, ERROR_REFUSED, "another generate is at work on");
    assert_true(generate_run(first, &result, &error));
    generate_free(first);
    must_generate(&other, &result);
    /* What one that was killed has left is in nobody's way. */
    CLEANUP_FREE char *left = alloc_printf("%s.new", fixture->json);
    write_file(left, "half of a manifest that was longer than the whole of the new one is ever going to be",
               80);
    must_generate(&settings, &result);
    manifest_free(read_manifest(fixture));
    no_file_is_left(fixture, ".json.new");
}

static void test_abandoned(void **state)
{
    static const char *const suffixes[] = {".pack",     ".chunks",     ".json",
                                           ".pack.new", ".chunks.new", ".json.new"};
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture);
    struct generate_result result;
    struct generate *generate;
    struct error error;

    write_file(fixture->image, "abc", 3);
    settings.with_pack = true;
    assert_true(generate_new(&settings, &generate, &error));
    assert_true(generate_abandon(generate));
    assert_true(generate_abandon(generate));
    assert_false(generate_run(generate, &result, &error));
    assert_int_equal(error.kind, ERROR_CANCELLED);
    generate_free(generate);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
        no_file_is_left(fixture, suffixes[i]);
    /* Too late: it is in its place already. */
    assert_true(generate_new(&settings, &generate, &error));
    assert_true(generate_run(generate, &result, &error));
    assert_false(generate_abandon(generate));
    generate_free(generate);
    manifest_free(read_manifest(fixture));
}

static void test_an_input_is_not_overwritten(void **state)
{
    static const char *const suffixes[] = {".pack",     ".chunks",     ".json",
                                           ".pack.new", ".chunks.new", ".json.new"};
    struct fixture *fixture = *state;

    write_file(fixture->image, "abc", 3);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        CLEANUP_FREE char *path = alloc_printf("%s%s", fixture->image, suffixes[i]);
        CLEANUP_FREE char *contents = NULL;
        const char *bases[] = {path};
        struct generate_settings settings = settings_of(fixture);
        size_t size;
        settings.base_paths = bases;
        settings.base_count = 1;
        write_file(path, "a base", 6);
        assert_refused(&settings, ERROR_REFUSED, "would be overwritten");
        assert_true(file_read(path, 100, &contents, &size, NULL));
        assert_string_equal(contents, "a base");
        assert_int_equal(unlink(path), 0);
    }
}

static void assert_warned(const struct generate_settings *settings, const char *what)
{
    struct generate_result result;

    must_generate(settings, &result);
    assert_int_equal(result.warning_count, what ? 1 : 0);
    if (what)
        assert_string_equal(result.warnings[0].what, what);
}

static void test_warnings_of_times_and_serials(void **state)
{
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture);
    struct manifest_release *release = &settings.release;

    write_file(fixture->image, "abc", 3);
    release->expires = 2000;
    assert_warned(&settings, NULL); /* nobody said what time it is */
    settings.now_s = 1999;
    assert_warned(&settings, NULL);
    settings.now_s = 2000;
    assert_warned(&settings, "expires-past");
    settings.now_s = 1000;
    release->rollout =
        (struct manifest_rollout){.present = true, .percent = 100, .start_s = 1500, .duration_s = 500};
    assert_warned(&settings, "expires-before-rollout-ends");
    release->rollout.duration_s = 499;
    assert_warned(&settings, NULL);

    release->has_serial = true;
    release->serial = 7;
    assert_warned(&settings, NULL); /* the former has none */
    assert_warned(&settings, NULL); /* the same once more */
    release->serial = 6;
    assert_warned(&settings, "serial-not-above");
    write_file(fixture->image, "abd", 3);
    assert_warned(&settings, "serial-not-above"); /* the number of another image */
    release->serial = 7;
    assert_warned(&settings, NULL);
    release->has_serial = false;
    assert_warned(&settings, "serial-missing");
    write_file(fixture->json, "no manifest", 11);
    assert_warned(&settings, NULL);
}

static void test_warnings_of_bases(void **state)
{
    struct fixture *fixture = *state;
    struct generate_settings settings = settings_of(fixture);
    CLEANUP_FREE uint8_t *image = noise(300000, 1);
    CLEANUP_FREE uint8_t *foreign = noise(300000, 2);
    CLEANUP_FREE char *base = alloc_printf("%s/base", fixture->folder);
    CLEANUP_FREE char *copy = alloc_printf("%s/copy", fixture->folder);
    CLEANUP_FREE char *other = alloc_printf("%s/other", fixture->folder);
    const char *bases[] = {base, copy};
    struct generate_result result;

    write_file(fixture->image, image, 300000);
    write_file(other, foreign, 300000);
    write_file(copy, image, 300000);
    image[1000] ^= 1;
    write_file(base, image, 300000);
    settings.base_paths = bases;
    settings.base_count = 1;
    settings.span_max = PACK_SPAN_MAX_DEFAULT;
    settings.output_max = PACK_OUTPUT_MAX_DEFAULT;
    assert_warned(&settings, NULL);
    bases[0] = copy;
    assert_warned(&settings, "base-is-image");
    bases[0] = other;
    assert_warned(&settings, "base-useless");

    /* Twice, by the same name or by a copy: stored once, and told for both. */
    bases[0] = base;
    must_generate(&settings, &result);
    uint64_t once = result.pack_size_bytes;
    write_file(copy, image, 300000);
    settings.base_count = 2;
    for (int i = 0; i < 2; i++) {
        assert_warned(&settings, "base-twice");
        must_generate(&settings, &result);
        assert_int_equal(result.pack_size_bytes, once);
        assert_int_equal(result.pack.bases[1].patch_count, result.pack.bases[0].patch_count);
        struct manifest *manifest = read_manifest(fixture);
        assert_int_equal(manifest->pack.base_count, 1);
        manifest_free(manifest);
        bases[1] = base;
    }
}

/* What the progress callback does to the image once. */
struct meddler {
    const struct fixture *fixture;
    void (*meddle)(const struct fixture *fixture);
};

static void meddle_once(void *owner, const char *stage, uint64_t done, uint64_t total)
{
    struct meddler *meddler = owner;

    assert_in_range(done, 1, total);
    if (meddler->meddle)
        meddler->meddle(meddler->fixture);
    meddler->meddle = NULL;
}

static void overwrite(const struct fixture *fixture)
{
    CLEANUP_FD int fd = open(fixture->image, O_WRONLY | O_CLOEXEC);

    assert_int_equal(file_pwrite_full(fd, "x", 1, 0), 0);
    /* Whatever the clock's grain, the time of the change is another one. */
    struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    assert_int_equal(futimens(fd, times), 0);
}

static void cut_off(const struct fixture *fixture)
{
    assert_int_equal(truncate(fixture->image, 1048576 + 10), 0);
}

static void grow(const struct fixture *fixture)
{
    assert_int_equal(truncate(fixture->image, 5000000), 0);
}

static void replace(const struct fixture *fixture)
{
    CLEANUP_FREE uint8_t *data = noise(3000000, 9);

    write_file(fixture->image, data, 3000000);
}

static void take_away(const struct fixture *fixture)
{
    assert_int_equal(unlink(fixture->image), 0);
}

static void test_image_that_changes_while_it_is_read(void **state)
{
    static void (*const meddlings[])(const struct fixture *) = {overwrite, cut_off, grow, replace, take_away};
    struct fixture *fixture = *state;
    struct stat status;

    for (size_t i = 0; i < sizeof(meddlings) / sizeof(meddlings[0]); i++) {
        CLEANUP_FREE uint8_t *data = noise(3000000, 9);
        struct meddler meddler = {.fixture = fixture, .meddle = meddlings[i]};
        struct generate_settings settings = settings_of(fixture);
        settings.progress = meddle_once;
        settings.owner = &meddler;
        write_file(fixture->image, data, 3000000);
        assert_refused(&settings, ERROR_SYSTEM, "changed while it was read");
        assert_int_equal(stat(fixture->json, &status), -1);
        assert_int_equal(stat(fixture->chunks, &status), -1);
    }
}

/* Bytes of NEW by what becomes of them, in a list of chunks without gaps. */
static void count_fates(const struct diff_result *result, uint64_t ret_bytes[DIFF_FATES])
{
    uint64_t offset = 0;

    memset(ret_bytes, 0, DIFF_FATES * sizeof(*ret_bytes));
    for (uint64_t i = 0; i < result->chunks; i++) {
        const struct diff_chunk *chunk = &result->chunk_list[i];
        assert_int_equal(chunk->offset, offset);
        ret_bytes[chunk->fate] += chunk->size;
        offset += chunk->size;
    }
    assert_int_equal(offset, result->new_size);
    assert_int_equal(ret_bytes[DIFF_FATE_PATCH], 0);
    assert_int_equal(ret_bytes[DIFF_FATE_FETCH], result->bytes_missing);
}

static struct diff_result must_diff_fates(struct fixture *fixture, const void *new_data, size_t new_size,
                                          const void *old_data, size_t old_size, uint32_t chunk_size,
                                          uint64_t ret_bytes[DIFF_FATES])
{
    CLEANUP_FREE char *new_path = alloc_printf("%s/new", fixture->folder);
    CLEANUP_FREE char *old_path = alloc_printf("%s/old", fixture->folder);
    struct diff_settings settings = {
        .new_path = new_path, .old_path = old_path, .chunk_size = chunk_size, .average = 1024};
    struct diff_result result;
    struct error error;

    write_file(new_path, new_data, new_size);
    write_file(old_path, old_data, old_size);
    if (!diff_files(&settings, &result, &error))
        fail_msg("%s", error.message);
    assert_int_equal(result.new_size, new_size);
    assert_int_equal(result.old_size, old_size);
    count_fates(&result, ret_bytes);
    diff_result_finish(&result);
    return result;
}

static struct diff_result must_diff(struct fixture *fixture, const void *new_data, size_t new_size,
                                    const void *old_data, size_t old_size, uint32_t chunk_size)
{
    uint64_t bytes[DIFF_FATES];

    return must_diff_fates(fixture, new_data, new_size, old_data, old_size, chunk_size, bytes);
}

static void test_diff_counts_as_the_ancestor(void **state)
{
    struct diff_result result = must_diff(*state, "aabbccd", 7, "aaxbcc", 6, 2);

    assert_int_equal(result.total, 3);
    assert_int_equal(result.same, 2);
    assert_int_equal(result.same_bytes, 4);
    /* The chunk in which only one file ends. */
    result = must_diff(*state, "aabb", 4, "aab", 3, 2);
    assert_int_equal(result.total, 2);
    assert_int_equal(result.same, 1);
    result = must_diff(*state, "aab", 3, "aab", 3, 2);
    assert_int_equal(result.total, 2);
    assert_int_equal(result.same, 2);
    assert_int_equal(result.same_bytes, 3);
    result = must_diff(*state, "", 0, "aab", 3, 2);
    assert_int_equal(result.total, 0);
    assert_int_equal(result.chunks, 0);
    assert_int_equal(result.table_bytes, 44);
}

static void test_diff_in_chunks_larger_than_a_block(void **state)
{
    CLEANUP_FREE uint8_t *data = noise(3000000, 1);
    CLEANUP_FREE uint8_t *other = noise(3000000, 1);

    other[1500000] ^= 1;
    struct diff_result result = must_diff(*state, data, 3000000, other, 3000000, 1600000);
    assert_int_equal(result.total, 2);
    assert_int_equal(result.same, 1);
    assert_int_equal(result.same_bytes, 1400000);
}

static void test_diff_finds_chunks_anywhere(void **state)
{
    CLEANUP_FREE uint8_t *old_data = noise(500000, 1);
    CLEANUP_FREE uint8_t *new_data = malloc(500003);

    memcpy(new_data, "abc", 3);
    memcpy(new_data + 3, old_data, 500000);
    struct diff_result result = must_diff(*state, new_data, 500003, old_data, 500000, 1000);
    assert_int_equal(result.same, 0);
    assert_in_range(result.bytes_missing, 1, 8192);
    assert_in_range(result.chunks_missing, 1, 2);
    assert_int_equal(result.table_bytes, 44 + 44 * result.chunks);
    result = must_diff(*state, old_data, 500000, old_data, 500000, 1000);
    assert_int_equal(result.bytes_missing, 0);
}

/* Equal chunks are fetched once. */
static void test_diff_counts_repeated_chunks_once(void **state)
{
    CLEANUP_FREE uint8_t *zeros = alloc_zeroed(409600);
    struct diff_result result = must_diff(*state, zeros, 409600, "x", 1, 1000);

    assert_int_equal(result.chunks, 100);
    assert_int_equal(result.chunks_missing, 1);
    assert_int_equal(result.bytes_missing, 4096);
}

static void test_diff_says_what_becomes_of_chunks(void **state)
{
    CLEANUP_FREE uint8_t *old_data = noise(400000, 1);
    CLEANUP_FREE uint8_t *new_data = noise(400000, 1);
    uint64_t bytes[DIFF_FATES];

    /* The first half is changed in one place, the second moved by as much as came in between. */
    new_data[100000] ^= 1;
    memmove(new_data + 201000, new_data + 200000, 199000);
    must_diff_fates(*state, new_data, 400000, old_data, 400000, 1000, bytes);
    assert_in_range(bytes[DIFF_FATE_KEEP], 190000, 200000);
    assert_in_range(bytes[DIFF_FATE_COPY], 190000, 199000);
    assert_in_range(bytes[DIFF_FATE_FETCH], 2000, 20000);
    /* Zeros are the same at the same place, wherever the chunks before them ended. */
    memset(old_data + 100000, 0, 300000);
    memset(new_data + 100000, 0, 300000);
    memcpy(new_data, "other", 5);
    must_diff_fates(*state, new_data + 1, 399999, old_data + 1, 399999, 1000, bytes);
    assert_in_range(bytes[DIFF_FATE_KEEP], 380000, 399999);
    /* A chunk that repeats is fetched once. */
    memset(new_data, 1, 400000);
    must_diff_fates(*state, new_data, 400000, old_data, 400000, 1000, bytes);
    assert_in_range(bytes[DIFF_FATE_FETCH], 4096, 8192);
    assert_int_equal(bytes[DIFF_FATE_COPY], 400000 - bytes[DIFF_FATE_FETCH]);
}

static void test_diff_refused(void **state)
{
    struct fixture *fixture = *state;
    struct diff_settings settings = {
        .new_path = fixture->image, .old_path = fixture->folder, .chunk_size = 1, .average = 1024};
    struct diff_result result;
    struct error error;

    assert_false(diff_files(&settings, &result, &error));
    assert_int_equal(error.code, ENOENT);
    write_file(fixture->image, "x", 1);
    assert_false(diff_files(&settings, &result, &error));
    settings.old_path = fixture->image;
    settings.average = 0;
    assert_false(diff_files(&settings, &result, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_images, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reproducible_and_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_odd_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_large_for_any_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_half_publication, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_abandoned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_input_is_not_overwritten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_warnings_of_times_and_serials, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_warnings_of_bases, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_image_that_changes_while_it_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_diff_counts_as_the_ancestor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_diff_in_chunks_larger_than_a_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_diff_finds_chunks_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_diff_counts_repeated_chunks_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_diff_says_what_becomes_of_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_diff_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
