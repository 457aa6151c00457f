/* SPDX-License-Identifier: MIT */
/* The checker alone: what the server's answers make of what is known, and each way a question ends. */
#include "daemon/parts/checker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "tests/unit/clone_fixture.h"

enum ending { ENDING_NONE, ENDING_ANSWERED, ENDING_FAILED, ENDING_IDENTIFIED, ENDING_CANCELLED };

struct scene {
    struct fixture fixture;
    struct range_file *manifest;
    struct release *other; /* the publisher's next */
    struct checker *checker;
    struct checker_request request;
    /* of the last question */
    enum ending ending;
    bool is_new, holds_it;
    enum error_kind kind;
    uint64_t print_bytes, part_print_bytes;
    struct slots slots;
};

static void end(struct scene *scene, enum ending ending)
{
    assert_int_equal(scene->ending, ENDING_NONE);
    assert_int_equal(checker_state(scene->checker), CHECKER_IDLE);
    scene->ending = ending;
    event_base_loopbreak(scene->fixture.bench.base);
}

static void on_answered(void *owner, bool is_new, uint64_t retry_after_ms)
{
    struct scene *scene = owner;

    scene->is_new = is_new;
    end(scene, ENDING_ANSWERED);
}

static void on_failed(void *owner, const struct error *error, uint64_t retry_after_ms)
{
    struct scene *scene = owner;

    scene->kind = error->kind;
    end(scene, ENDING_FAILED);
}

static void on_identified(void *owner, bool holds_it, const struct slot_print *print,
                          const struct slot_print *part_prints)
{
    struct scene *scene = owner;

    scene->holds_it = holds_it;
    scene->print_bytes = print->bytes;
    scene->part_print_bytes = part_prints[0].bytes;
    end(scene, ENDING_IDENTIFIED);
}

static void on_cancelled(void *owner)
{
    end(owner, ENDING_CANCELLED);
}

static const struct checker_events events = {
    .answered = on_answered,
    .failed = on_failed,
    .identified = on_identified,
    .cancelled = on_cancelled,
};

static void publish(struct scene *scene, const struct release *release, const char *etag)
{
    scene->manifest = range_server_put(scene->fixture.server, "/image.json", release->manifest_text,
                                       release->manifest_size, etag);
}

static int set_up(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));
    struct fixture *fixture = &scene->fixture;

    fixture_set_up(fixture);
    scene->other = publish_release(fixture->url, fixture->image, IMAGE_SIZE - 1, FIXED_SIZE, fixture->chunks,
                                   fixture->chunks_size);
    publish(scene, fixture->release, "\"first\"");
    scene->request = (struct checker_request){.http = fixture->bench.http, .url = fixture->url};
    scene->checker = checker_new(fixture->bench.pool, &events, scene);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    checker_free(scene->checker);
    release_free(scene->other);
    fixture_tear_down(&scene->fixture);
    free(scene);
    return 0;
}

static enum ending turn(struct scene *scene)
{
    if (scene->ending == ENDING_NONE)
        assert_int_equal(event_base_dispatch(scene->fixture.bench.base), 0);
    return scene->ending;
}

static enum ending ask(struct scene *scene)
{
    scene->ending = ENDING_NONE;
    checker_ask(scene->checker, &scene->request);
    assert_int_equal(checker_state(scene->checker), CHECKER_ASKING);
    return turn(scene);
}

/* Slot B, with its part "boot" at `part_path`. */
static void start_identify(struct scene *scene, char *path, char *part_path)
{
    scene->slots.devices[SLOT_B].path = path;
    scene->slots.part_count = 1;
    strcpy(scene->slots.parts[0].name, "boot");
    scene->slots.parts[0].devices[SLOT_B].path = part_path;
    scene->ending = ENDING_NONE;
    checker_identify(scene->checker, &scene->slots, SLOT_B);
}

static enum ending identify(struct scene *scene, char *path, char *part_path)
{
    start_identify(scene, path, part_path);
    assert_int_equal(checker_state(scene->checker), CHECKER_IDENTIFYING);
    return turn(scene);
}

static enum range_fault answer_nothing(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return RANGE_FAULT_SILENT;
}

static enum range_fault have_nothing(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return RANGE_FAULT_MISSING;
}

static void test_a_release_and_then_the_same(void **state)
{
    struct scene *scene = *state;

    assert_null(checker_release(scene->checker));
    assert_string_equal(checker_offered(scene->checker)->manifest_sha256, "");
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_true(scene->is_new);
    assert_string_equal(checker_release(scene->checker)->manifest_text,
                        scene->fixture.release->manifest_text);
    assert_int_equal(strlen(checker_offered(scene->checker)->manifest_sha256), 64);

    unsigned long long sent_bytes = scene->manifest->sent_bytes;
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(scene->is_new);
    assert_int_equal(scene->manifest->sent_bytes, sent_bytes);
    assert_non_null(checker_release(scene->checker));

    publish(scene, scene->other, "\"second\"");
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_true(scene->is_new);
    assert_string_equal(checker_release(scene->checker)->manifest_text, scene->other->manifest_text);
}

/* The same manifest although the image's ETag is another one: then the ETag means nothing, until there is
 * another manifest. */
static void test_an_image_that_was_not_the_manifests(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(checker_ignores_etag(scene->checker));
    checker_note_overtaken(scene->checker);
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_true(scene->is_new);
    assert_true(checker_ignores_etag(scene->checker));
    /* Asked for whole once. */
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(scene->is_new);
    assert_true(checker_ignores_etag(scene->checker));
    publish(scene, scene->other, "\"second\"");
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(checker_ignores_etag(scene->checker));
}

static void test_no_answer_leaves_what_is_known(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(ask(scene), ENDING_ANSWERED);
    publish(scene, scene->other, "\"second\"");
    scene->fixture.fault = have_nothing;
    assert_int_equal(ask(scene), ENDING_FAILED);
    assert_int_equal(scene->kind, ERROR_REMOTE);
    assert_string_equal(checker_release(scene->checker)->manifest_text,
                        scene->fixture.release->manifest_text);
}

static void test_a_question_is_cancelled(void **state)
{
    struct scene *scene = *state;

    scene->fixture.fault = answer_nothing;
    scene->ending = ENDING_NONE;
    checker_cancel(scene->checker); /* nothing is under way */
    assert_int_equal(scene->ending, ENDING_NONE);
    checker_ask(scene->checker, &scene->request);
    checker_cancel(scene->checker);
    assert_int_equal(scene->ending, ENDING_CANCELLED);
    assert_null(checker_release(scene->checker));
}

static void test_what_a_slot_holds(void **state)
{
    struct scene *scene = *state;
    struct fixture *fixture = &scene->fixture;
    CLEANUP_FREE char *same = folder_write(fixture->folder, "same", fixture->image, IMAGE_SIZE);
    CLEANUP_FREE char *other = folder_write(fixture->folder, "other", fixture->chunks, fixture->chunks_size);

    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(checker_has_identified(scene->checker));
    assert_int_equal(identify(scene, other, NULL), ENDING_IDENTIFIED);
    assert_false(scene->holds_it);
    assert_true(checker_has_identified(scene->checker));
    assert_int_equal(identify(scene, same, NULL), ENDING_IDENTIFIED);
    assert_true(scene->holds_it);
    assert_int_equal(scene->print_bytes, IMAGE_SIZE);

    /* What is offered now is another image. */
    publish(scene, scene->other, "\"second\"");
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(checker_has_identified(scene->checker));
    start_identify(scene, same, NULL);
    checker_cancel(scene->checker);
    assert_int_equal(turn(scene), ENDING_CANCELLED);
    assert_false(checker_has_identified(scene->checker));
}

static void test_what_is_forgotten_comes_whole(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(ask(scene), ENDING_ANSWERED);
    checker_note_overtaken(scene->checker);
    checker_forget(scene->checker);
    assert_null(checker_release(scene->checker));
    assert_string_equal(checker_offered(scene->checker)->manifest_sha256, "");
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_true(scene->is_new);
    assert_false(checker_ignores_etag(scene->checker));
}

static enum range_fault have_no_part(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/boot.json") == 0 ? RANGE_FAULT_MISSING : RANGE_FAULT_NONE;
}

static enum range_fault answer_no_part(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/boot.json") == 0 ? RANGE_FAULT_SILENT : RANGE_FAULT_NONE;
}

/* A set is offered when all its manifests are there, and until then the release before it is. */
static void test_a_set(void **state)
{
    struct scene *scene = *state;
    struct fixture *fixture = &scene->fixture;
    char url[] = "boot.json";
    struct manifest_part part = {.name = "boot", .files = {publish_part(url, scene->other)}};
    struct release *set = publish_set(fixture->url, fixture->image, IMAGE_SIZE, fixture->chunks,
                                      fixture->chunks_size, &part, 1);
    struct range_file *file = range_server_put(fixture->server, "/boot.json", scene->other->manifest_text,
                                               scene->other->manifest_size, NULL);

    assert_int_equal(ask(scene), ENDING_ANSWERED);
    publish(scene, set, "\"second\"");
    fixture->fault = have_no_part;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(scene), ENDING_FAILED);
        assert_int_equal(scene->kind, ERROR_REMOTE);
        assert_null(checker_release(scene->checker)->parts[0][0]);
        assert_string_equal(checker_release(scene->checker)->manifest_text, fixture->release->manifest_text);
    }
    fixture->fault = answer_no_part;
    scene->ending = ENDING_NONE;
    checker_ask(scene->checker, &scene->request);
    for (int i = 0; i < 20; i++)
        event_base_loop(fixture->bench.base, EVLOOP_NONBLOCK);
    assert_int_equal(checker_state(scene->checker), CHECKER_ASKING);
    checker_cancel(scene->checker);
    assert_int_equal(scene->ending, ENDING_CANCELLED);
    fixture->fault = NULL;
    unsigned requests = file->requests;
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_true(scene->is_new);
    assert_string_equal(release_part(checker_release(scene->checker), 0, 1)->manifest_text,
                        scene->other->manifest_text);
    assert_int_equal(file->requests, requests + 1);
    /* Nothing is new, or only the manifest is asked for. */
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(scene->is_new);
    checker_note_overtaken(scene->checker);
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_true(scene->is_new);
    assert_int_equal(file->requests, requests + 1);
    assert_non_null(release_part(checker_release(scene->checker), 0, 0));
    release_free(set);
}

/* All images have to be in their places, each of its own slot. */
static void test_what_a_slot_holds_of_a_set(void **state)
{
    struct scene *scene = *state;
    struct fixture *fixture = &scene->fixture;
    CLEANUP_FREE char *root = folder_write(fixture->folder, "root", fixture->image, IMAGE_SIZE);
    CLEANUP_FREE char *boot_b = folder_write(fixture->folder, "boot-b", fixture->image, IMAGE_SIZE - 1);
    CLEANUP_FREE char *boot_a = folder_write(fixture->folder, "boot-a", fixture->image + 3, IMAGE_SIZE - 3);
    CLEANUP_FREE char *short_boot = folder_write(fixture->folder, "short", fixture->image, IMAGE_SIZE - 2);
    struct url *image_url = range_server_url(fixture->server, "/boot-a");
    struct release *part_a = publish_release(image_url, fixture->image + 3, IMAGE_SIZE - 3, FIXED_SIZE,
                                             fixture->chunks, fixture->chunks_size);
    char url_a[] = "boot-a.json", url_b[] = "boot.json";
    struct manifest_part part = {.name = "boot",
                                 .per_slot = true,
                                 .files = {publish_part(url_a, part_a), publish_part(url_b, scene->other)}};
    struct release *set = publish_set(fixture->url, fixture->image, IMAGE_SIZE, fixture->chunks,
                                      fixture->chunks_size, &part, 1);
    range_server_put(fixture->server, "/boot-a.json", part_a->manifest_text, part_a->manifest_size, NULL);
    range_server_put(fixture->server, "/boot.json", scene->other->manifest_text, scene->other->manifest_size,
                     NULL);

    publish(scene, set, "\"set\"");
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    char missing[] = "/nonexistent/boot", *places[] = {boot_a, root + strlen(root), short_boot, missing};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        assert_int_equal(identify(scene, root, places[i]), ENDING_IDENTIFIED);
        assert_false(scene->holds_it);
    }
    assert_int_equal(identify(scene, boot_b, boot_b), ENDING_IDENTIFIED);
    assert_false(scene->holds_it);
    assert_int_equal(identify(scene, root, boot_b), ENDING_IDENTIFIED);
    assert_true(scene->holds_it);
    assert_int_equal(scene->print_bytes, IMAGE_SIZE);
    assert_int_equal(scene->part_print_bytes, IMAGE_SIZE - 1);
    assert_true(checker_has_identified(scene->checker));
    start_identify(scene, root, boot_b);
    checker_cancel(scene->checker);
    assert_int_equal(turn(scene), ENDING_CANCELLED);
    release_free(set);
    release_free(part_a);
    url_free(image_url);
}

/* As after a restart. */
static void test_what_was_kept_is_not_fetched_again(void **state)
{
    struct scene *scene = *state;
    struct fixture *fixture = &scene->fixture;
    struct release *kept = publish_release(fixture->url, fixture->image, IMAGE_SIZE, FIXED_SIZE,
                                           fixture->chunks, fixture->chunks_size);

    kept->etag = alloc_string("\"first\"");
    checker_restore(scene->checker, kept);
    assert_ptr_equal(checker_release(scene->checker), kept);
    assert_int_equal(strlen(checker_offered(scene->checker)->manifest_sha256), 64);
    assert_int_equal(ask(scene), ENDING_ANSWERED);
    assert_false(scene->is_new);
}

static void test_releases_that_come_in_turn_have_to_wait(void **state)
{
    enum { DAY_MS = 24 * 3600 * 1000 };
    struct scene *scene = *state;
    bool waits = false;

    for (int i = 0; i < 20 && !waits; i++) {
        publish(scene, i % 2 ? scene->other : scene->fixture.release, i % 2 ? "\"second\"" : "\"first\"");
        assert_int_equal(ask(scene), ENDING_ANSWERED);
        waits = checker_wait_ms(scene->checker, DAY_MS) > 0;
        checker_note_look(scene->checker);
    }
    assert_true(waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_release_and_then_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_image_that_was_not_the_manifests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_answer_leaves_what_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_question_is_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_slot_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_forgotten_comes_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_slot_holds_of_a_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_kept_is_not_fetched_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_releases_that_come_in_turn_have_to_wait, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
