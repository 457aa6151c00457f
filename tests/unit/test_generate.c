/* SPDX-License-Identifier: MIT */
/* Publishing an image: what generate writes, refuses and warns of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/chunk_table.h"
#include "common/publish/diff.h"
#include "common/publish/generate.h"
#include "tests/unit/publish_scene.h"
#include "tests/unit/publisher.h"

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
    publish_scene_write(fixture->image, data, size);
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
    publish_scene_write(fixture->image, "abc", 3);
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

    publish_scene_write(image, "x", 1);
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
    publish_scene_write(fixture->image, "abc", 3);
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

    publish_scene_write(fixture->image, "", 0);
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

    publish_scene_write(fixture->image, "abc", 3);
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
    publish_scene_write(fixture->image, "abc", 3);
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

    publish_scene_write(fixture->image, "abc", 3);
    settings.with_pack = true;
    assert_true(generate_new(&settings, &first, &error));
    assert_refused(&other, ERROR_REFUSED, "another generate is at work on");
    assert_true(generate_run(first, &result, &error));
    generate_free(first);
    must_generate(&other, &result);
    /* What one that was killed has left is in nobody's way. */
    CLEANUP_FREE char *left = alloc_printf("%s.new", fixture->json);
    publish_scene_write(
        left, "half of a manifest that was longer than the whole of the new one is ever going to be", 80);
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

    publish_scene_write(fixture->image, "abc", 3);
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

    publish_scene_write(fixture->image, "abc", 3);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        CLEANUP_FREE char *path = alloc_printf("%s%s", fixture->image, suffixes[i]);
        CLEANUP_FREE char *contents = NULL;
        const char *bases[] = {path};
        struct generate_settings settings = settings_of(fixture);
        size_t size;
        settings.base_paths = bases;
        settings.base_count = 1;
        publish_scene_write(path, "a base", 6);
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

    publish_scene_write(fixture->image, "abc", 3);
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
    publish_scene_write(fixture->image, "abd", 3);
    assert_warned(&settings, "serial-not-above"); /* the number of another image */
    release->serial = 7;
    assert_warned(&settings, NULL);
    release->has_serial = false;
    assert_warned(&settings, "serial-missing");
    publish_scene_write(fixture->json, "no manifest", 11);
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

    publish_scene_write(fixture->image, image, 300000);
    publish_scene_write(other, foreign, 300000);
    publish_scene_write(copy, image, 300000);
    image[1000] ^= 1;
    publish_scene_write(base, image, 300000);
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
    publish_scene_write(copy, image, 300000);
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

    publish_scene_write(fixture->image, data, 3000000);
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
        publish_scene_write(fixture->image, data, 3000000);
        assert_refused(&settings, ERROR_SYSTEM, "changed while it was read");
        assert_int_equal(stat(fixture->json, &status), -1);
        assert_int_equal(stat(fixture->chunks, &status), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_images, publish_scene_set_up, publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_reproducible_and_mode, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_odd_names, publish_scene_set_up, publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_refused, publish_scene_set_up, publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_too_large_for_any_table, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_no_half_publication, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_two_at_once, publish_scene_set_up, publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_abandoned, publish_scene_set_up, publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_an_input_is_not_overwritten, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_warnings_of_times_and_serials, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_warnings_of_bases, publish_scene_set_up,
                                        publish_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_image_that_changes_while_it_is_read, publish_scene_set_up,
                                        publish_scene_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
