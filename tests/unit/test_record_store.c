/* SPDX-License-Identifier: MIT */
#include "daemon/parts/record_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

struct scene {
    char root[64];
    char folder[96]; /* StateDirectory= */
    struct event_base *base;
    struct pool *pool;
    struct record_store *store;
    unsigned begun, ended;
    unsigned flushed;
    bool failed;
    uint64_t floor_seen; /* the file's, when `flush` said so */
};

static void on_began(void *owner)
{
    struct scene *scene = owner;

    scene->begun++;
}

static void on_ended(void *owner)
{
    struct scene *scene = owner;

    scene->ended++;
}

static bool open_store(struct scene *scene, struct record_store **ret_store, struct error *error)
{
    static const struct record_store_events events = {.began = on_began, .ended = on_ended};
    struct record_store_deps deps = {.base = scene->base, .pool = scene->pool, .folder = scene->folder};

    return record_store_new(&deps, &events, scene, ret_store, error);
}

static int setup(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    strcpy(scene->root, "/tmp/test_record_store.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    snprintf(scene->folder, sizeof(scene->folder), "%s/state", scene->root);
    scene->base = event_base_new();
    assert_true(pool_new(scene->base, 1, &scene->pool, NULL));
    assert_true(open_store(scene, &scene->store, NULL));
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -r %s", scene->root);

    pool_free(scene->pool);
    assert_null(record_store_free(scene->store));
    event_base_free(scene->base);
    assert_int_equal(system(command), 0);
    free(scene);
    return 0;
}

static char *path_of(const struct scene *scene, const char *name)
{
    return alloc_printf("%s/%s", scene->folder, name);
}

static bool exists(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = path_of(scene, name);

    return access(path, F_OK) == 0;
}

static void write_file(const struct scene *scene, const char *name, const char *text)
{
    CLEANUP_FREE char *path = path_of(scene, name);

    assert_true(file_replace(path, text, strlen(text), 0600, NULL));
}

/* The floor that stands on the medium: each save writes another one, so it tells which state that is. */
static uint64_t read_floor(const struct scene *scene)
{
    CLEANUP_FREE char *path = path_of(scene, "record.json");
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    CLEANUP_FREE char *text = NULL;
    size_t size;

    assert_true(file_read(path, RECORD_SIZE_MAX, &text, &size, NULL));
    assert_true(record_parse(text, size, record, NULL));
    return record->floor_serial;
}

static void set_floor(struct scene *scene, uint64_t serial)
{
    struct record *record = record_store_record(scene->store);

    record->has_floor = true;
    record->floor_serial = serial;
}

static void on_flushed(void *owner, const struct error *error)
{
    struct scene *scene = owner;

    scene->flushed++;
    scene->failed = error != NULL;
    if (!error)
        scene->floor_seen = read_floor(scene);
}

static void run_until_idle(struct scene *scene)
{
    while (record_store_is_busy(scene->store))
        event_base_loop(scene->base, EVLOOP_ONCE);
}

static void reopen(struct scene *scene)
{
    record_store_free(scene->store);
    assert_true(open_store(scene, &scene->store, NULL));
}

static void test_saves_coalesce_and_the_latest_wins(void **state)
{
    struct scene *scene = *state;

    for (uint64_t serial = 1; serial <= 5; serial++) {
        set_floor(scene, serial);
        record_store_save(scene->store);
    }
    run_until_idle(scene);
    assert_int_equal(scene->begun, 2);
    assert_int_equal(scene->ended, 2);
    assert_int_equal(read_floor(scene), 5);
    reopen(scene);
    assert_int_equal(record_store_record(scene->store)->floor_serial, 5);
}

/* The job that was under way when it was asked does not hold what is waited for. */
static void test_a_flush_waits_for_the_record_as_it_is(void **state)
{
    struct scene *scene = *state;

    set_floor(scene, 1);
    record_store_save(scene->store);
    set_floor(scene, 2);
    record_store_flush(scene->store, on_flushed);
    run_until_idle(scene);
    assert_int_equal(scene->flushed, 1);
    assert_false(scene->failed);
    assert_int_equal(scene->floor_seen, 2);
}

/* What the power cut would leave is the old record, whole. */
static void test_a_save_that_fails_keeps_the_old_record(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *blocker = path_of(scene, "record.json.new");

    set_floor(scene, 1);
    record_store_flush(scene->store, on_flushed);
    run_until_idle(scene);
    /* The temporary file cannot be made where a folder is. */
    assert_int_equal(mkdir(blocker, 0700), 0);
    set_floor(scene, 2);
    record_store_flush(scene->store, on_flushed);
    run_until_idle(scene);
    assert_int_equal(scene->flushed, 2);
    assert_true(scene->failed);
    assert_int_equal(read_floor(scene), 1);
    /* Not by itself, but with the next change. */
    assert_int_equal(rmdir(blocker), 0);
    record_store_save(scene->store);
    run_until_idle(scene);
    assert_int_equal(read_floor(scene), 2);
}

/* How many lines of the log tell of it. */
static unsigned count_complaints(FILE *log)
{
    unsigned count = 0;
    char line[1024];

    rewind(log);
    while (fgets(line, sizeof(line), log))
        count += strstr(line, "cannot be saved") != NULL;
    return count;
}

static void test_a_full_disk_is_told_once_in_a_row(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *blocker = path_of(scene, "record.json.new");
    FILE *log = tmpfile();
    int old = dup(STDERR_FILENO);

    assert_int_equal(mkdir(blocker, 0700), 0);
    assert_true(dup2(fileno(log), STDERR_FILENO) >= 0);
    for (int i = 0; i < 3; i++) {
        record_store_save(scene->store);
        run_until_idle(scene);
    }
    assert_int_equal(rmdir(blocker), 0);
    record_store_save(scene->store);
    run_until_idle(scene);
    assert_int_equal(mkdir(blocker, 0700), 0);
    record_store_save(scene->store);
    run_until_idle(scene);
    assert_true(dup2(old, STDERR_FILENO) >= 0);
    close(old);
    assert_int_equal(count_complaints(log), 2);
    fclose(log);
}

static void keep(struct scene *scene, char *text, char *signature)
{
    record_store_keep_manifest(scene->store, &(struct record_store_manifest){
                                                 .text = text,
                                                 .size = strlen(text),
                                                 .signature = signature,
                                                 .signature_size = signature ? strlen(signature) : 0,
                                             });
}

static void expect_kept(struct scene *scene, const char *text, const char *signature)
{
    struct record_store_manifest kept;

    assert_true(record_store_has_manifest(scene->store));
    assert_true(record_store_read_manifest(scene->store, true, &kept, NULL));
    assert_string_equal(kept.text, text);
    assert_int_equal(kept.size, strlen(text));
    if (signature)
        assert_string_equal(kept.signature, signature);
    else
        assert_null(kept.signature);
    free(kept.text);
    free(kept.signature);
}

static void test_the_manifest_goes_with_the_record(void **state)
{
    struct scene *scene = *state;
    char first[] = "one", second[] = "two", signature[] = "by a key";

    assert_false(record_store_has_manifest(scene->store));
    keep(scene, first, signature);
    assert_false(record_store_has_manifest(scene->store));
    record_store_save(scene->store);
    run_until_idle(scene);
    expect_kept(scene, "one", "by a key");
    keep(scene, second, NULL);
    record_store_save(scene->store);
    run_until_idle(scene);
    expect_kept(scene, "two", NULL);
}

static bool part_holds(const struct scene *scene, const char *name, enum manifest_part_slot slot,
                       const char *expected)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    return record_store_read_part(scene->store, name, slot, &text, &size, NULL) &&
           strcmp(text, expected) == 0;
}

/* The files of a set, and which of them stay with the next one. */
static void test_the_manifests_of_parts(void **state)
{
    struct scene *scene = *state;
    char text[] = "set", boot[] = "boot", a[] = "uki of a", b[] = "uki of b";
    struct record_store_manifest manifest = {.text = text, .size = 3};

    manifest.parts.count = 3;
    manifest.parts.list[0] = (struct kept_part){"boot", MANIFEST_PART_OF_BOTH, boot, 4};
    manifest.parts.list[1] = (struct kept_part){"uki", MANIFEST_PART_OF_A, a, 8};
    manifest.parts.list[2] = (struct kept_part){"uki", MANIFEST_PART_OF_B, b, 8};
    write_file(scene, "part-old.json", "of an earlier set");
    write_file(scene, "partial.json", "somebody else's");
    record_store_keep_manifest(scene->store, &manifest);
    assert_false(exists(scene, "part-boot.json"));
    record_store_flush(scene->store, on_flushed);
    run_until_idle(scene);
    assert_false(scene->failed);
    assert_true(exists(scene, "part-boot.json") && exists(scene, "part-uki.a.json"));
    assert_true(part_holds(scene, "boot", MANIFEST_PART_OF_BOTH, "boot"));
    assert_true(part_holds(scene, "uki", MANIFEST_PART_OF_A, "uki of a"));
    assert_true(part_holds(scene, "uki", MANIFEST_PART_OF_B, "uki of b"));
    assert_false(part_holds(scene, "boot", MANIFEST_PART_OF_A, "boot"));
    assert_false(exists(scene, "part-old.json"));
    assert_true(exists(scene, "partial.json"));

    /* What stays the same is not written again. */
    CLEANUP_FREE char *path = path_of(scene, "part-boot.json");
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    strcpy(a, "uki of A");
    manifest.parts.count = 2;
    record_store_keep_manifest(scene->store, &manifest);
    record_store_flush(scene->store, on_flushed);
    run_until_idle(scene);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_true(part_holds(scene, "uki", MANIFEST_PART_OF_A, "uki of A"));
    assert_false(exists(scene, "part-uki.b.json"));

    /* A save that keeps no other manifest leaves them, and a single image leaves none. */
    record_store_flush(scene->store, on_flushed);
    run_until_idle(scene);
    assert_true(exists(scene, "part-boot.json"));
    manifest.parts.count = 0;
    record_store_keep_manifest(scene->store, &manifest);
    record_store_flush(scene->store, on_flushed);
    run_until_idle(scene);
    assert_false(exists(scene, "part-boot.json") || exists(scene, "part-uki.a.json"));
}

static void test_a_manifest_that_could_not_be_written_is_written_later(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *blocker = path_of(scene, "record.json.new");
    char first[] = "one", second[] = "two", third[] = "three";

    assert_int_equal(mkdir(blocker, 0700), 0);
    keep(scene, first, NULL);
    record_store_save(scene->store);
    run_until_idle(scene);
    write_file(scene, "manifest.json", "of another moment");
    assert_int_equal(rmdir(blocker), 0);
    record_store_save(scene->store);
    run_until_idle(scene);
    expect_kept(scene, "one", NULL);

    /* Not one that is forgotten while it is under way, nor one in whose place there is another. */
    assert_int_equal(mkdir(blocker, 0700), 0);
    keep(scene, second, NULL);
    record_store_save(scene->store);
    record_store_drop_manifest(scene->store);
    run_until_idle(scene);
    write_file(scene, "manifest.json", "of another moment");
    keep(scene, second, NULL);
    record_store_save(scene->store);
    keep(scene, third, NULL);
    run_until_idle(scene);
    assert_int_equal(rmdir(blocker), 0);
    record_store_save(scene->store);
    run_until_idle(scene);
    expect_kept(scene, "three", NULL);
}

static void test_the_folder_is_one_daemons(void **state)
{
    struct scene *scene = *state;
    struct record_store *other;
    struct error error;

    assert_false(open_store(scene, &other, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    reopen(scene);
}

static void test_a_corrupt_record_is_kept_aside(void **state)
{
    struct scene *scene = *state;

    set_floor(scene, 7);
    record_store_save(scene->store);
    run_until_idle(scene);
    write_file(scene, "record.json", "{\"format\": 1, \"flo");
    reopen(scene);
    assert_false(record_store_record(scene->store)->has_floor);
    assert_int_equal(record_store_record(scene->store)->error_kind, ERROR_FORMAT);
    assert_true(exists(scene, "record.json.bad"));
    assert_false(exists(scene, "record.json"));
    /* And is told of at each start until there is another one. */
    reopen(scene);
    assert_int_equal(record_store_record(scene->store)->error_kind, ERROR_FORMAT);
}

/* Either of the two files says that signatures are demanded. */
static void test_trust_does_not_go_with_one_file(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *record = path_of(scene, "record.json");
    CLEANUP_FREE char *demand = path_of(scene, "signatures-demanded");

    assert_false(record_store_record(scene->store)->signed_accepted);
    record_store_record(scene->store)->signed_accepted = true;
    record_store_save(scene->store);
    run_until_idle(scene);
    assert_int_equal(unlink(record), 0);
    reopen(scene);
    assert_true(record_store_record(scene->store)->signed_accepted);
    record_store_save(scene->store);
    run_until_idle(scene);
    assert_int_equal(unlink(demand), 0);
    reopen(scene);
    assert_true(record_store_record(scene->store)->signed_accepted);
    record_store_save(scene->store);
    run_until_idle(scene);
    assert_true(exists(scene, "signatures-demanded"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_saves_coalesce_and_the_latest_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flush_waits_for_the_record_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_save_that_fails_keeps_the_old_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk_is_told_once_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_manifest_goes_with_the_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_manifests_of_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_manifest_that_could_not_be_written_is_written_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_folder_is_one_daemons, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_corrupt_record_is_kept_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trust_does_not_go_with_one_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
