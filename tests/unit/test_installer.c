/* SPDX-License-Identifier: MIT */
/* The installer alone: how a run begins, what it shows meanwhile, and each way it ends. */
#include "daemon/parts/installer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "tests/unit/clone_fixture.h"

struct scene {
    struct fixture fixture;
    struct slots *slots;
    struct record_release offered;
    struct installer_request request;
    struct installer *installer;
    bool cancel_stalled, cancel_waiting; /* what is a reason for on_changed() to cancel the run */
    unsigned table_requests;             /* to halve_table() */
    bool has_received_bytes;             /* as on_changed() saw */
    /* where the release is a set: its part, served apart */
    struct fixture part;
    struct manifest_part part_entry;
    /* of the last run */
    unsigned planned, installed;
    enum error_kind kind; /* ERROR_NONE = it went well */
    bool over_budget;
};

static void note_end(struct scene *scene, const struct installer_end *end)
{
    scene->kind = end->error ? end->error->kind : ERROR_NONE;
    scene->over_budget = end->over_budget;
    assert_false(installer_is_running(scene->installer));
    event_base_loopbreak(scene->fixture.bench.base);
}

static void on_changed(void *owner)
{
    struct scene *scene = owner;
    const struct installer_view *view = installer_view(scene->installer);

    assert_non_null(view->phase);
    scene->has_received_bytes |= view->progress.bytes_received > 1;
    if ((scene->cancel_stalled && *view->stall_why) ||
        (scene->cancel_waiting && view->waiting.kind == ERROR_REMOTE))
        installer_cancel(scene->installer);
}

static void on_planned(void *owner, const struct installer_end *end)
{
    struct scene *scene = owner;

    scene->planned++;
    note_end(scene, end);
}

static void on_installed(void *owner, const struct installer_end *end)
{
    struct scene *scene = owner;

    scene->installed++;
    note_end(scene, end);
}

static const struct installer_events events = {
    .changed = on_changed,
    .planned = on_planned,
    .installed = on_installed,
};

/* Slot A runs and holds the first part of the image, slot B something else. */
static int set_up(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));
    struct fixture *fixture = &scene->fixture;
    struct error error;

    fixture_set_up(fixture);
    CLEANUP_FREE char *running = folder_write(fixture->folder, "a", fixture->image, 600 * 1000);
    write_file(fixture->target_path, "old", 3, 0);
    struct slots_request names = {.names = {running, fixture->target_path}, .selected = SLOT_A};
    assert_true(slots_find(&names, &scene->slots, &error));
    record_release_from(&scene->offered, fixture->release);
    scene->request = (struct installer_request){
        .http = fixture->bench.http,
        .release = fixture->release,
        .offered = &scene->offered,
        .name = "1.0",
        .slots = scene->slots,
        .slot = SLOT_B,
        .connections = 2,
    };
    scene->installer = installer_new(
        &(struct installer_deps){.base = fixture->bench.base, .pool = fixture->bench.pool, .silence_ms = 300},
        &events, scene);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    installer_free(scene->installer);
    slots_free(scene->slots);
    fixture_tear_down(&scene->fixture);
    free(scene);
    return 0;
}

static void run(struct scene *scene)
{
    scene->planned = scene->installed = 0;
    installer_start(scene->installer, &scene->request);
    assert_true(installer_is_running(scene->installer));
    assert_int_equal(event_base_dispatch(scene->fixture.bench.base), 0);
}

static enum range_fault lose_image(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image") == 0 ? RANGE_FAULT_SILENT : RANGE_FAULT_NONE;
}

static enum range_fault be_busy(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    return strcmp(path, "/image") == 0 ? RANGE_FAULT_BUSY : RANGE_FAULT_NONE;
}

static void test_a_plan_and_then_the_installation(void **state)
{
    struct scene *scene = *state;
    const struct installer_view *view = installer_view(scene->installer);
    uint8_t sha256[DIGEST_SHA256_SIZE];
    char hex[DIGEST_SHA256_HEX_SIZE];

    assert_null(installer_plan(scene->installer));
    scene->request.plan_only = true;
    run(scene);
    assert_int_equal(scene->planned, 1);
    assert_int_equal(scene->installed, 0);
    assert_int_equal(scene->kind, ERROR_NONE);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    const struct installer_plan *plan = installer_plan(scene->installer);
    assert_non_null(plan);
    assert_int_equal(plan->slot, SLOT_B);
    assert_true(record_release_is_same(&plan->release, &scene->offered));
    assert_true(plan->totals.bytes_copied > 500 * 1000);
    assert_true(file_holds(scene->fixture.target_path, "old", 3));
    assert_string_equal(view->images[0].read_back, "");

    scene->request.plan_only = false;
    run(scene);
    assert_int_equal(scene->planned, 0);
    assert_int_equal(scene->installed, 1);
    assert_int_equal(scene->kind, ERROR_NONE);
    assert_int_equal(installer_state(scene->installer), INSTALLER_VERIFIED);
    assert_true(file_holds(scene->fixture.target_path, scene->fixture.image, IMAGE_SIZE));
    digest_sha256(scene->fixture.image, IMAGE_SIZE, sha256);
    digest_sha256_to_hex(sha256, hex);
    assert_string_equal(view->images[0].read_back, hex);
    assert_true(view->percent == 100);
    assert_null(view->phase);
    struct targets *targets = installer_take_targets(scene->installer);
    assert_int_equal(targets->count, 1);
    assert_non_null(targets_find(targets, MANIFEST_MAIN_NAME)->device);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    targets_close(targets);
}

static void test_a_server_that_does_not_answer(void **state)
{
    struct scene *scene = *state;

    scene->fixture.fault = lose_image;
    scene->cancel_stalled = true;
    run(scene);
    assert_int_equal(scene->installed, 1);
    assert_int_equal(scene->kind, ERROR_CANCELLED);
    assert_false(scene->over_budget);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    assert_string_equal(installer_view(scene->installer)->stall_why, "");
    assert_string_equal(installer_view(scene->installer)->images[0].read_back, "");
}

static void test_a_server_that_is_busy(void **state)
{
    struct scene *scene = *state;

    scene->fixture.fault = be_busy;
    scene->cancel_waiting = true;
    run(scene);
    assert_int_equal(scene->kind, ERROR_CANCELLED);
    assert_int_equal(installer_view(scene->installer)->waiting.kind, ERROR_NONE);
}

/* The first time, half of it; and nothing more until that was seen while it ran. */
static enum range_fault halve_table(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct scene *scene = owner; /* the fixture is its first member */

    if (strcmp(path, "/image.chunks") != 0)
        return RANGE_FAULT_NONE;
    return !scene->table_requests++    ? RANGE_FAULT_HALF
           : scene->has_received_bytes ? RANGE_FAULT_NONE
                                       : RANGE_FAULT_BUSY;
}

/* The table alone is more than that. */
static void test_too_many_bytes(void **state)
{
    struct scene *scene = *state;

    scene->request.max_bytes = 1;
    scene->fixture.fault = lose_image;
    run(scene);
    assert_int_equal(scene->kind, ERROR_REFUSED);
    assert_true(scene->over_budget);
    /* The next run has a budget of its own, and what somebody else ends is not ended by it. */
    scene->request.max_bytes = 0;
    scene->cancel_stalled = true;
    run(scene);
    assert_int_equal(scene->kind, ERROR_CANCELLED);
    assert_false(scene->over_budget);
}

static void test_a_plan_may_fetch_what_it_needs(void **state)
{
    struct scene *scene = *state;

    scene->request.max_bytes = 1;
    scene->request.plan_only = true;
    scene->fixture.fault = halve_table;
    run(scene);
    assert_true(scene->has_received_bytes);
    assert_int_equal(scene->kind, ERROR_NONE);
}

static void test_the_running_slot_is_not_written(void **state)
{
    struct scene *scene = *state;

    scene->request.slot = SLOT_A;
    run(scene);
    assert_int_equal(scene->kind, ERROR_REFUSED);
    assert_false(scene->over_budget);
    CLEANUP_FREE char *running = alloc_printf("%s/a", scene->fixture.folder);
    assert_true(file_holds(running, scene->fixture.image, 600 * 1000));
}

enum { PART_SIZE = 300 * 1000 };

/* The release becomes a set with a part `boot`, which is a file beside each slot; that of slot B is not there
 * yet. */
static void make_set(struct scene *scene)
{
    struct fixture *fixture = &scene->fixture;
    struct slots_part *place = &scene->slots->parts[scene->slots->part_count++];

    scene->part.dice.state = 2;
    fixture_publish(&scene->part, fixture->bench.base, PART_SIZE, true);
    strcpy(scene->part_entry.name, "boot");
    fixture->release->manifest->parts = (struct manifest_parts){.list = &scene->part_entry, .count = 1};
    fixture->release->parts[0][0] = scene->part.release;
    strcpy(place->name, "boot");
    place->devices[SLOT_A] = (struct storage){
        .path = folder_write(fixture->folder, "boot-a", scene->part.image, 100 * 1000), .present = true};
    place->devices[SLOT_B] = (struct storage){.path = alloc_printf("%s/boot-b", fixture->folder)};
}

static void unmake_set(struct scene *scene)
{
    struct fixture *fixture = &scene->fixture;

    fixture->release->manifest->parts = (struct manifest_parts){0};
    fixture->release->parts[0][0] = NULL;
    fixture_unpublish(&scene->part);
}

static void test_a_set_is_planned_and_installed_as_one(void **state)
{
    struct scene *scene = *state;
    const struct installer_view *view = installer_view(scene->installer);

    make_set(scene);
    const char *part_path = scene->slots->parts[0].devices[SLOT_B].path;
    scene->request.plan_only = true;
    run(scene);
    assert_int_equal(scene->kind, ERROR_NONE);
    struct plan_totals totals = installer_plan(scene->installer)->totals;
    assert_int_equal(totals.image_bytes, IMAGE_SIZE + PART_SIZE);
    assert_true(file_holds(scene->fixture.target_path, "old", 3));
    assert_int_not_equal(access(part_path, F_OK), 0);

    scene->request.plan_only = false;
    run(scene);
    assert_int_equal(scene->kind, ERROR_NONE);
    assert_true(view->percent == 100);
    assert_true(file_holds(scene->fixture.target_path, scene->fixture.image, IMAGE_SIZE));
    assert_true(file_holds(part_path, scene->part.image, PART_SIZE));
    assert_int_equal(view->image_count, 2);
    assert_string_equal(view->images[0].name, "boot");
    assert_string_equal(view->images[0].read_back, view->images[0].sha256);
    assert_string_equal(view->images[1].read_back, view->images[1].sha256);
    assert_int_equal(view->progress.bytes_received, view->progress.bytes_planned);
    /* What was fetched for the first plan is not fetched again. */
    assert_int_equal(view->progress.bytes_received + totals.table_bytes, plan_download_bytes(&totals));
    struct targets *targets = installer_take_targets(scene->installer);
    assert_int_equal(targets->count, 2);
    assert_int_equal(targets_find(targets, "boot")->image_bytes, PART_SIZE);
    assert_int_equal(targets_find(targets, MANIFEST_MAIN_NAME)->image_bytes, IMAGE_SIZE);
    targets_close(targets);
    unmake_set(scene);
}

/* Nothing is written before all is planned. */
static void test_a_part_that_cannot_be_planned(void **state)
{
    struct scene *scene = *state;

    make_set(scene);
    scene->part.fault = lose_image;
    free(scene->slots->parts[0].devices[SLOT_B].path);
    scene->slots->parts[0].devices[SLOT_B].path = alloc_string("/no-such-folder/boot-b");
    run(scene);
    assert_int_equal(scene->kind, ERROR_SYSTEM);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    assert_true(file_holds(scene->fixture.target_path, "old", 3));
    unmake_set(scene);
}

/* The part is whole when the main image fails: it stays as it is, and nothing is held. */
static void test_a_main_image_that_fails_after_its_part(void **state)
{
    struct scene *scene = *state;

    make_set(scene);
    const char *part_path = scene->slots->parts[0].devices[SLOT_B].path;
    scene->fixture.fault = lose_image;
    scene->cancel_stalled = true;
    run(scene);
    assert_int_equal(scene->kind, ERROR_CANCELLED);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    assert_true(file_holds(part_path, scene->part.image, PART_SIZE));
    scene->fixture.fault = NULL;
    scene->cancel_stalled = false;
    run(scene);
    assert_int_equal(scene->kind, ERROR_NONE);
    assert_true(file_holds(scene->fixture.target_path, scene->fixture.image, IMAGE_SIZE));
    /* Of the part nothing was written again. */
    assert_true(installer_view(scene->installer)->progress.bytes_written < IMAGE_SIZE);
    targets_close(installer_take_targets(scene->installer));
    unmake_set(scene);
}

/* The running slot has a part that the release lacks, and lends it. */
static struct carry_settings lend_part(struct scene *scene)
{
    struct fixture *fixture = &scene->fixture;
    struct slots_part *place = &scene->slots->parts[scene->slots->part_count++];
    struct carry_settings carried = {.count = 1};

    strcpy(place->name, "boot");
    CLEANUP_FREE char *running = folder_write(fixture->folder, "boot-a", fixture->image, PART_SIZE);
    assert_true(storage_find("", running, &place->devices[SLOT_A], NULL));
    place->devices[SLOT_B] = (struct storage){.path = alloc_printf("%s/boot-b", fixture->folder)};
    carried.parts[0] = (struct carry_part){.name = "boot", .bytes = PART_SIZE};
    digest_sha256(fixture->image, PART_SIZE, carried.parts[0].sha256);
    return carried;
}

static void test_a_part_that_the_running_slot_lends(void **state)
{
    struct scene *scene = *state;
    const struct installer_view *view = installer_view(scene->installer);
    struct carry_settings carried = lend_part(scene);

    scene->request.carried = &carried;
    run(scene);
    assert_int_equal(scene->kind, ERROR_NONE);
    assert_true(file_holds(scene->fixture.target_path, scene->fixture.image, IMAGE_SIZE));
    assert_true(file_holds(scene->slots->parts[0].devices[SLOT_B].path, scene->fixture.image, PART_SIZE));
    assert_int_equal(view->image_count, 2);
    assert_string_equal(view->images[1].name, "boot");
    assert_string_equal(view->images[1].read_back, view->images[1].sha256);
    struct targets *targets = installer_take_targets(scene->installer);
    assert_int_equal(targets->count, 2);
    assert_non_null(targets_find(targets, "boot")->device);
    targets_close(targets);
}

static void test_a_part_to_be_lent_that_was_changed(void **state)
{
    struct scene *scene = *state;
    struct carry_settings carried = lend_part(scene);

    write_file(scene->slots->parts[0].devices[SLOT_A].path, "changed", 7, 5000);
    scene->request.carried = &carried;
    run(scene);
    assert_int_equal(scene->kind, ERROR_REFUSED);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    assert_true(file_holds(scene->fixture.target_path, "old", 3));
    assert_int_not_equal(access(scene->slots->parts[0].devices[SLOT_B].path, F_OK), 0);
}

/* The place of the part cannot be made, or the main image fails: neither counts without the other, and the
 * first is found out before the main image is begun. */
static void test_a_lent_part_and_its_main_image_count_together(void **state)
{
    struct scene *scene = *state;
    struct carry_settings carried = lend_part(scene);
    struct storage *place = &scene->slots->parts[0].devices[SLOT_B];
    char *path = place->path;

    scene->request.carried = &carried;
    place->path = alloc_string("/no-such-folder/boot-b");
    run(scene);
    assert_int_equal(scene->kind, ERROR_SYSTEM);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    assert_true(file_holds(scene->fixture.target_path, "old", 3));

    free(place->path);
    place->path = path;
    scene->fixture.fault = lose_image;
    scene->cancel_stalled = true;
    run(scene);
    assert_int_equal(scene->kind, ERROR_CANCELLED);
    assert_int_equal(installer_state(scene->installer), INSTALLER_IDLE);
    assert_true(file_holds(path, "", 0));
}

static void test_what_never_began(void **state)
{
    struct scene *scene = *state;
    const struct installer_view *view = installer_view(scene->installer);
    struct record_release other = {.version = "2.0"};

    run(scene);
    targets_close(installer_take_targets(scene->installer));
    assert_true(view->progress.bytes_received > 0);
    installer_reset(scene->installer, &other);
    assert_string_equal(view->release.version, "2.0");
    assert_int_equal(view->progress.bytes_received, 0);
    assert_true(view->percent == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_plan_and_then_the_installation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_server_that_does_not_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_server_that_is_busy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_plan_may_fetch_what_it_needs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_running_slot_is_not_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_set_is_planned_and_installed_as_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_part_that_cannot_be_planned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_main_image_that_fails_after_its_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_part_that_the_running_slot_lends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_part_to_be_lent_that_was_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lent_part_and_its_main_image_count_together, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_never_began, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
