/* SPDX-License-Identifier: MIT */
/* The manifests of a set's parts: fetched once, taken over where they are the same, and refused where they
 * are another's. */
#include "common/sinter/release_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/io/later.h"
#include "tests/unit/publisher.h"
#include "tests/unit/range_server.h"

enum { IMAGES = 3, IMAGE_SIZE = 5000 };

/* The set has a part "boot" for both slots and a part "uki" with an image for each. */
struct scene {
    struct event_base *base;
    struct pool *pool;
    struct http *http;
    struct range_server *server;
    struct url *url;
    struct release *images[IMAGES];
    struct range_file *files[IMAGES];
    enum range_fault fault;
    const char *fault_path;
    struct release_parts *parts;
    struct release *set; /* whose parts are fetched */
    struct later *cancel;
    /* what was told */
    unsigned dones, retries;
    struct release *release; /* the set, if it was had whole */
    struct error error;
};

static char part_urls[IMAGES][16] = {"boot.json", "uki-a.json", "uki-b.json"};
static const char *const part_paths[IMAGES] = {"/boot.json", "/uki-a.json", "/uki-b.json"};

static enum range_fault choose_fault(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct scene *scene = owner;

    return scene->fault_path && strcmp(path, scene->fault_path) == 0 ? scene->fault : RANGE_FAULT_NONE;
}

static struct release *make_image(struct scene *scene, const char *path, uint64_t seed)
{
    struct url *url = range_server_url(scene->server, path);
    uint8_t *data = noise(IMAGE_SIZE, seed), *table;
    size_t table_size;

    chunk_table_free(publish_table(data, IMAGE_SIZE, 1024, &table, &table_size));
    struct release *release = publish_release(url, data, IMAGE_SIZE, 1000, table, table_size);
    free(table);
    free(data);
    url_free(url);
    return release;
}

static void put_image(struct scene *scene, int number, uint64_t seed)
{
    static const char *const paths[IMAGES] = {"/boot", "/uki-a", "/uki-b"};

    release_free(scene->images[number]);
    scene->images[number] = make_image(scene, paths[number], seed);
    scene->files[number] =
        range_server_put(scene->server, part_paths[number], scene->images[number]->manifest_text,
                         scene->images[number]->manifest_size, NULL);
}

/* The release of the set as it is published now, without its parts. */
static struct release *make_set(struct scene *scene)
{
    struct manifest_part parts[2] = {
        {.name = "boot", .files = {publish_part(part_urls[0], scene->images[0])}},
        {.name = "uki",
         .per_slot = true,
         .files = {publish_part(part_urls[1], scene->images[1]),
                   publish_part(part_urls[2], scene->images[2])}},
    };
    uint8_t *data = noise(IMAGE_SIZE, 99), *table;
    size_t table_size;

    chunk_table_free(publish_table(data, IMAGE_SIZE, 1024, &table, &table_size));
    struct release *set = publish_set(scene->url, data, IMAGE_SIZE, table, table_size, parts, 2);
    free(table);
    free(data);
    return set;
}

static int set_up(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));
    struct http_settings settings = {0};

    scene->base = event_base_new();
    assert_true(pool_new(scene->base, 1, &scene->pool, NULL));
    assert_true(http_new(scene->base, &settings, &scene->http, NULL));
    scene->server = range_server_new(scene->base);
    scene->url = range_server_url(scene->server, "/root");
    for (int i = 0; i < IMAGES; i++)
        put_image(scene, i, (uint64_t)i + 1);
    range_server_set_fault(scene->server, choose_fault, scene);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    release_free(scene->release);
    for (int i = 0; i < IMAGES; i++)
        release_free(scene->images[i]);
    later_free(scene->cancel);
    http_free(scene->http);
    pool_free(scene->pool);
    range_server_free(scene->server);
    event_base_free(scene->base);
    url_free(scene->url);
    free(scene);
    return 0;
}

static void on_done(void *owner, const struct error *error, uint64_t retry_after_ms)
{
    struct scene *scene = owner;

    scene->dones++;
    scene->parts = NULL;
    if (error)
        scene->error = *error;
    else
        scene->release = scene->set;
    event_base_loopbreak(scene->base);
}

static void start(struct scene *scene, struct release *set, struct release *earlier)
{
    scene->dones = scene->retries = 0;
    scene->release = NULL;
    scene->set = set;
    scene->parts = release_parts_start(scene->http, scene->pool, set, earlier, on_done, scene);
    assert_int_equal(scene->dones, 0);
}

static void wait_for_end(struct scene *scene)
{
    assert_int_equal(event_base_dispatch(scene->base), 0);
    assert_int_equal(scene->dones, 1);
}

/* Takes `set`; the result is in scene->release. */
static bool fetch(struct scene *scene, struct release *set, struct release *earlier)
{
    start(scene, set, earlier);
    wait_for_end(scene);
    if (!scene->release)
        release_free(set);
    return scene->release != NULL;
}

static unsigned requests(const struct scene *scene)
{
    return scene->files[0]->requests + scene->files[1]->requests + scene->files[2]->requests;
}

static void test_all_are_fetched(void **state)
{
    struct scene *scene = *state;
    struct release *set = make_set(scene);

    assert_false(release_has_parts(set));
    assert_true(fetch(scene, set, NULL));
    assert_true(release_has_parts(scene->release));
    assert_ptr_equal(scene->release, set);
    assert_string_equal(release_part(set, 0, 0)->manifest_text, scene->images[0]->manifest_text);
    assert_ptr_equal(release_part(set, 0, 1), release_part(set, 0, 0));
    for (unsigned slot = 0; slot < 2; slot++)
        assert_string_equal(release_part(set, 1, slot)->manifest_text,
                            scene->images[1 + slot]->manifest_text);
    assert_true(url_is_equal(release_part(set, 1, 1)->image_url, scene->images[2]->image_url));
    assert_int_equal(requests(scene), IMAGES);
    assert_true(release_check_sum(set, NULL));
}

/* Only what is new is asked for; the rest comes with its stock, and with the trust of the new set. */
static void test_what_is_the_same_is_taken_over(void **state)
{
    struct scene *scene = *state;

    assert_true(fetch(scene, make_set(scene), NULL));
    struct release *earlier = scene->release, *kept = release_part(earlier, 1, 1);
    kept->stock.table = alloc_zeroed(1);
    uint8_t *table = kept->stock.table;
    put_image(scene, 0, 50);
    struct release *set = make_set(scene);
    set->verdict.sha256_only = true;
    assert_true(fetch(scene, set, earlier));
    assert_int_equal(scene->files[0]->requests, 1);
    assert_int_equal(scene->files[1]->requests, 1);
    assert_int_equal(scene->files[2]->requests, 1);
    assert_ptr_equal(release_part(set, 1, 1), kept);
    assert_ptr_equal(release_part(set, 1, 1)->stock.table, table);
    assert_true(release_part(set, 1, 1)->verdict.sha256_only && release_part(set, 0, 0)->verdict.sha256_only);
    assert_false(release_has_parts(earlier));
    release_free(earlier);
}

/* Under other names, and one manifest that two slots share goes to one of them. */
static void test_it_may_lie_elsewhere(void **state)
{
    struct scene *scene = *state;

    assert_true(fetch(scene, make_set(scene), NULL));
    struct release *earlier = scene->release;
    struct url *elsewhere = range_server_url(scene->server, "/new/root");
    url_free(scene->url);
    scene->url = elsewhere;
    struct release *set = make_set(scene);
    assert_true(fetch(scene, set, earlier));
    assert_int_equal(requests(scene), IMAGES);
    struct url *image = range_server_url(scene->server, "/new/uki-b");
    assert_true(url_is_equal(release_part(set, 1, 1)->image_url, image));
    url_free(image);
    image = range_server_url(scene->server, "/new/uki-b.json");
    assert_true(url_is_equal(release_part(set, 1, 1)->manifest_url, image));
    url_free(image);
    release_free(earlier);
}

static void test_alike_for_both_slots(void **state)
{
    struct scene *scene = *state;

    assert_true(fetch(scene, make_set(scene), NULL));
    struct release *earlier = scene->release;
    struct release *same = make_image(scene, "/uki-a", 2);
    release_free(scene->images[2]);
    scene->images[2] = same;
    scene->files[2] =
        range_server_put(scene->server, part_paths[2], same->manifest_text, same->manifest_size, NULL);
    struct release *set = make_set(scene);
    assert_true(fetch(scene, set, earlier));
    assert_int_equal(scene->files[1]->requests + scene->files[2]->requests, 2);
    assert_ptr_not_equal(release_part(set, 1, 0), release_part(set, 1, 1));
    assert_true(release_has_parts(set));
    release_free(earlier);
}

/* What is in use stays whole. */
static void test_a_part_that_is_missing(void **state)
{
    struct scene *scene = *state;

    assert_true(fetch(scene, make_set(scene), NULL));
    struct release *earlier = scene->release;
    put_image(scene, 2, 51);
    scene->fault_path = part_paths[2];
    scene->fault = RANGE_FAULT_MISSING;
    assert_false(fetch(scene, make_set(scene), earlier));
    assert_int_equal(scene->error.kind, ERROR_REMOTE);
    assert_non_null(strstr(scene->error.message, "does not fit together"));
    assert_non_null(strstr(scene->error.message, "part uki"));
    assert_true(release_has_parts(earlier));
    release_free(earlier);
}

/* It is refused before anything is asked for, whatever could have been taken over before it. */
static void test_a_reference_that_leads_nowhere(void **state)
{
    struct scene *scene = *state;
    char good[sizeof(part_urls[0])];

    memcpy(good, part_urls[2], sizeof(good));
    assert_true(fetch(scene, make_set(scene), NULL));
    struct release *earlier = scene->release;
    snprintf(part_urls[2], sizeof(part_urls[2]), "http:far.json");
    assert_false(fetch(scene, make_set(scene), earlier));
    memcpy(part_urls[2], good, sizeof(good));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    assert_int_equal(requests(scene), IMAGES);
    assert_true(release_has_parts(earlier));
    release_free(earlier);
}

static void test_a_part_of_another_release(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *longer = alloc_printf("%s\n", scene->images[1]->manifest_text);
    size_t size = scene->images[1]->manifest_size;

    /* Other bytes, more bytes, and fewer: both are read twice. */
    for (size_t i = 0; i < 3; i++) {
        struct release *set = make_set(scene);
        scene->fault_path = i == 0 ? part_paths[1] : NULL;
        scene->fault = RANGE_FAULT_BAD_BYTES;
        if (i > 0)
            scene->files[1] =
                range_server_put(scene->server, part_paths[1], longer, i == 1 ? size + 1 : size - 1, NULL);
        unsigned before = scene->files[1]->requests;
        assert_false(fetch(scene, set, NULL));
        assert_int_equal(scene->error.kind, ERROR_MISMATCH);
        assert_non_null(strstr(scene->error.message, "does not fit together"));
        /* No more is taken than the set names. */
        assert_int_equal(strstr(scene->error.message, "longer") != NULL, i == 1);
        assert_int_equal(scene->files[1]->requests - before, 2);
        assert_int_equal(scene->files[2]->requests, 0);
    }
}

/* It serves the next reading. */
static void test_what_was_had_of_a_set(void **state)
{
    struct scene *scene = *state;
    struct release *set = make_set(scene), *next = make_set(scene);

    scene->fault_path = part_paths[2];
    scene->fault = RANGE_FAULT_MISSING;
    start(scene, set, NULL);
    wait_for_end(scene);
    assert_null(scene->release);
    assert_non_null(release_part(set, 0, 0));
    assert_non_null(release_part(set, 1, 0));
    assert_null(release_part(set, 1, 1));
    scene->fault_path = NULL;
    assert_true(fetch(scene, next, set));
    assert_int_equal(scene->files[0]->requests, 1);
    assert_int_equal(scene->files[1]->requests, 1);
    assert_true(release_has_parts(next));
    release_free(set);
}

/* As where only one slot's image is made: it is neither asked for nor counted, nor does it take what is the
 * same. */
static void test_a_slot_that_is_left_out(void **state)
{
    struct scene *scene = *state;
    struct release *set = make_set(scene), *next = make_set(scene);

    set->manifest->parts.list[1].files[0].size_bytes = RELEASE_PARTS_SIZE_MAX;
    start(scene, set, NULL);
    release_parts_leave_out(scene->parts, 1, 0);
    wait_for_end(scene);
    assert_ptr_equal(scene->release, set);
    assert_int_equal(scene->files[1]->requests, 0);
    assert_null(release_part(set, 1, 0));
    assert_non_null(release_part(set, 1, 1));
    memcpy(next->manifest->parts.list[1].files[0].sha256, next->manifest->parts.list[1].files[1].sha256,
           DIGEST_SHA256_SIZE);
    start(scene, next, set);
    release_parts_leave_out(scene->parts, 1, 0);
    wait_for_end(scene);
    assert_null(release_part(next, 1, 0));
    assert_non_null(release_part(next, 1, 1));
    assert_int_equal(requests(scene), 2);
    release_free(set);
}

static void on_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct scene *scene = owner;

    scene->retries++;
    scene->fault_path = NULL;
}

static void test_patience(void **state)
{
    struct scene *scene = *state;

    scene->fault_path = part_paths[1];
    scene->fault = RANGE_FAULT_HALF;
    start(scene, make_set(scene), NULL);
    release_parts_set_patience(scene->parts, 60000, on_retry);
    wait_for_end(scene);
    assert_int_equal(scene->retries, 1);
    assert_true(release_has_parts(scene->release));
}

/* A server that gives no answer says nothing about the set. */
static void test_no_answer(void **state)
{
    struct scene *scene = *state;

    scene->fault_path = part_paths[0];
    scene->fault = RANGE_FAULT_HALF;
    assert_false(fetch(scene, make_set(scene), NULL));
    assert_int_equal(scene->error.kind, ERROR_NETWORK);
    assert_null(strstr(scene->error.message, "does not fit together"));
    assert_non_null(strstr(scene->error.message, "part boot"));
}

static void test_too_many_bytes(void **state)
{
    struct scene *scene = *state;
    struct release *set = make_set(scene);

    set->manifest->parts.list[0].files[0].size_bytes = RELEASE_PARTS_SIZE_MAX;
    assert_false(fetch(scene, set, NULL));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    assert_int_equal(requests(scene), 0);

    assert_true(fetch(scene, make_set(scene), NULL));
    release_part(scene->release, 1, 1)->manifest->file_size = MANIFEST_FILE_SIZE_MAX - 3 * IMAGE_SIZE;
    assert_true(release_check_sum(scene->release, NULL));
    release_part(scene->release, 1, 1)->manifest->file_size++;
    assert_false(release_check_sum(scene->release, &scene->error));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    assert_non_null(strstr(scene->error.message, "uki"));

    /* What is in use stays whole. */
    struct release *earlier = scene->release;
    set = make_set(scene);
    set->manifest->file_size = MANIFEST_FILE_SIZE_MAX;
    assert_false(fetch(scene, set, earlier));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    assert_true(release_has_parts(earlier));
    release_free(earlier);
}

static void on_cancel(void *owner)
{
    struct scene *scene = owner;

    scene->parts = release_parts_cancel(scene->parts);
    release_free(scene->set);
    event_base_loopbreak(scene->base);
}

/* At once, and after each number of turns of the loop, until it is done before; under valgrind or the
 * sanitizers this shows what is used after it was freed. */
static void test_cancelled_at_any_moment(void **state)
{
    struct scene *scene = *state;

    scene->cancel = later_new(scene->base, on_cancel, scene);
    assert_null(release_parts_cancel(NULL));
    scene->dones = 0;
    for (int turns = 0; scene->dones == 0; turns++) {
        assert_true(turns < 10000);
        start(scene, make_set(scene), NULL);
        for (int i = 0; i < turns && scene->dones == 0; i++)
            event_base_loop(scene->base, EVLOOP_ONCE);
        if (scene->dones == 0) {
            later_call(scene->cancel);
            event_base_dispatch(scene->base);
            assert_null(scene->parts);
        }
    }
    assert_true(release_has_parts(scene->release));
}

/* As after a restart. */
static void test_kept_from_before(void **state)
{
    struct scene *scene = *state;
    struct release *set = make_set(scene);

    for (int i = 0; i < IMAGES; i++) {
        const struct release *image = scene->images[i];
        char *text = alloc_string(image->manifest_text);
        assert_false(release_has_parts(set));
        /* Bytes of another part are refused, and stay the caller's. */
        assert_false(release_add_part(set, i < 2, i == 1, text, image->manifest_size, &scene->error));
        assert_int_equal(scene->error.kind, ERROR_MISMATCH);
        assert_true(release_add_part(set, i > 0, i == 2, text, image->manifest_size, NULL));
    }
    assert_true(release_has_parts(set));
    release_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_are_fetched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_the_same_is_taken_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_may_lie_elsewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_alike_for_both_slots, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_part_that_is_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_reference_that_leads_nowhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_part_of_another_release, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_had_of_a_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_slot_that_is_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_patience, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancelled_at_any_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kept_from_before, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
