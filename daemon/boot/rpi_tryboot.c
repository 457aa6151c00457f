/* SPDX-License-Identifier: MIT */
/*
 * The `rpi-tryboot` backend: autoboot.txt on a Raspberry Pi's first partition says which boot partition
 * the firmware starts from ([all]) and which one after a reboot with the argument "0 tryboot" ([tryboot]).
 * The firmware drops that flag when it has used it once, so a trial is one start, and any end of it leads
 * back to [all]. If both name the same partition, nothing is armed. If they differ, and a comment holds
 * the beginning of this boot's ID, the slot is armed, and the next reboot with the argument tries it; with
 * another boot's ID, that trial is over or running now. The file is at most one sector and overwritten in
 * place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "daemon/boot/boot.h"
#include "daemon/boot/in_place.h"
#include "daemon/boot/rpi_boot_part.h"
#include "daemon/boot/rpi_firmware.h"

enum { MARK_LENGTH = 8 };

static const char mark_line[] = "# moonsinter: armed in boot ";
static const char no_mark[] = "00000000";
/* Put behind the user's own lines; cut anywhere by a power cut, it selects what [all] does. */
static const char tryboot_section[] = "[tryboot]\nboot_partition=";

struct tryboot_backend {
    char *path;
    char partitions[SLOT_COUNT]; /* digits, as they stand in the file */
    char boot_id[MARK_LENGTH + 1];
    const struct boot *boot; /* whose it is */
    struct rpi_firmware firmware;
    struct rpi_boot_part part;
};

enum section { SECTION_ALL, SECTION_TRYBOOT, SECTION_NONE };

/* The file taken apart; a position of 0 = not in the file. */
struct autoboot {
    size_t usual; /* where the digit of [all]'s boot_partition stands */
    size_t tried; /* of [tryboot]'s */
    size_t mark;  /* where the boot's id stands */
    bool a_b;     /* tryboot_a_b=1: the flag selects a partition, not a file */
    enum section section;
};

struct tryboot_state {
    enum slot usual, tried;
    bool this_boot; /* armed since this boot began */
};

static bool set_section(struct autoboot *autoboot, const char *line, size_t length)
{
    static const char *const names[] = {
        [SECTION_ALL] = "[all]", [SECTION_TRYBOOT] = "[tryboot]", [SECTION_NONE] = "[none]"};

    for (int i = SECTION_ALL; i <= SECTION_NONE; i++)
        if (length == strlen(names[i]) && memcmp(line, names[i], length) == 0) {
            autoboot->section = (enum section)i;
            return true;
        }
    return false;
}

static bool note_partition(struct autoboot *autoboot, size_t value, size_t end)
{
    size_t *place = autoboot->section == SECTION_ALL ? &autoboot->usual : &autoboot->tried;

    if (autoboot->section == SECTION_NONE)
        return true;
    if (*place || end - value != 1)
        return false;
    *place = value;
    return true;
}

/* Notes what one line says; false if the file is one that this backend cannot change. */
static bool note_line(struct autoboot *autoboot, const struct in_place *file, size_t begin, size_t end)
{
    static const char partition[] = "boot_partition=", a_b[] = "tryboot_a_b=";
    const char *line = file->data + begin;
    size_t length = end - begin;

    if (text_has_prefix(line, mark_line)) {
        bool fits = !autoboot->mark && length == strlen(mark_line) + MARK_LENGTH;
        autoboot->mark = begin + strlen(mark_line);
        return fits;
    }
    if (length == 0 || *line == '#')
        return true;
    if (*line == '[')
        return set_section(autoboot, line, length);
    if (text_has_prefix(line, partition))
        return note_partition(autoboot, begin + strlen(partition), end);
    if (text_has_prefix(line, a_b) && autoboot->section == SECTION_ALL)
        autoboot->a_b = length == strlen(a_b) + 1 && line[strlen(a_b)] == '1';
    return true;
}

static bool autoboot_parse(const struct in_place *file, struct autoboot *ret_autoboot, struct error *error)
{
    struct autoboot autoboot = {0};
    unsigned number = 1;

    for (size_t at = 0; at < file->size; number++) {
        size_t line = strcspn(file->data + at, "\n"), begin = at, end = at + line;
        while (begin < end && strchr(" \t", file->data[begin]))
            begin++;
        while (end > begin && strchr(" \t\r", file->data[end - 1]))
            end--;
        if (!note_line(&autoboot, file, begin, end))
            return error_set(error, ERROR_FORMAT,
                             "%s, line %u, cannot be understood; write the file anew (docs/boot.md)",
                             file->path, number);
        at += line + 1;
    }
    if (!autoboot.a_b || !autoboot.usual)
        return error_set(error, ERROR_REFUSED, "%s has no %s in [all]; write the file anew (docs/boot.md)",
                         file->path, autoboot.a_b ? "boot_partition=" : "tryboot_a_b=1");
    *ret_autoboot = autoboot;
    return true;
}

static bool find_slot(const struct tryboot_backend *backend, char digit, enum slot *ret_slot,
                      struct error *error)
{
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (backend->partitions[i] == digit) {
            *ret_slot = (enum slot)i;
            return true;
        }
    return error_set(error, ERROR_REFUSED,
                     "%s has boot_partition=%c, which is neither BootPartitionA=%c nor BootPartitionB=%c",
                     backend->path, digit, backend->partitions[SLOT_A], backend->partitions[SLOT_B]);
}

static bool autoboot_open(const struct tryboot_backend *backend, bool writable, struct in_place *file,
                          struct autoboot *ret_autoboot, struct tryboot_state *ret_state, struct error *error)
{
    struct autoboot autoboot;
    struct tryboot_state state;

    if (!in_place_open(file, backend->path, IN_PLACE_SECTOR,
                       "write it anew, in at most 512 bytes (docs/boot.md)", writable, error) ||
        !autoboot_parse(file, &autoboot, error) ||
        !find_slot(backend, file->data[autoboot.usual], &state.usual, error))
        return false;
    state.tried = state.usual;
    if (autoboot.tried && !find_slot(backend, file->data[autoboot.tried], &state.tried, error))
        return false;
    state.this_boot = autoboot.mark && memcmp(file->data + autoboot.mark, backend->boot_id, MARK_LENGTH) == 0;
    *ret_autoboot = autoboot;
    *ret_state = state;
    return true;
}

/* Reads this boot's ID, whose first digits are enough to tell boots apart. */
static bool read_boot_id(struct tryboot_backend *backend, const char *root, struct error *error)
{
    CLEANUP_FREE char *path = alloc_printf("%s/proc/sys/kernel/random/boot_id", root);
    CLEANUP_FREE char *text = NULL;
    size_t size;

    if (!file_read(path, 64, &text, &size, error))
        return false;
    if (size < MARK_LENGTH || strspn(text, "0123456789abcdef") < MARK_LENGTH ||
        memcmp(text, no_mark, MARK_LENGTH) == 0)
        return error_set(error, ERROR_SYSTEM, "%s does not hold an id", path);
    memcpy(backend->boot_id, text, MARK_LENGTH);
    return true;
}

static bool tryboot_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct tryboot_backend *backend = alloc_zeroed(sizeof(*backend));
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct autoboot autoboot;
    struct tryboot_state state;

    boot->private = backend;
    backend->path = alloc_printf("%s%s", boot->root, config->autoboot_file);
    rpi_boot_part_init(&backend->part, config);
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        unsigned number;
        if (!rpi_boot_part_number(&backend->part, config, boot->root, (enum slot)i, &number, error))
            return false;
        backend->partitions[i] = (char)('0' + number % 10);
    }
    if (backend->partitions[SLOT_A] == backend->partitions[SLOT_B])
        return error_set(error, ERROR_REFUSED, "BootPartitionA= and BootPartitionB= are the same: %c",
                         backend->partitions[SLOT_A]);
    backend->boot = boot;
    rpi_firmware_read(boot->root, &backend->firmware);
    return read_boot_id(backend, boot->root, error) &&
           autoboot_open(backend, false, &file, &autoboot, &state, error);
}

static void tryboot_close(struct boot *boot)
{
    struct tryboot_backend *backend = boot->private;

    rpi_boot_part_finish(&backend->part);
    free(backend->path);
    free(backend);
}

/* The slot whose boot partition the firmware says it started from. Some firmware names the usual one in a
 * trial, so that only the one under [tryboot] is believed then; older firmware does not tell of a trial at
 * all. */
static enum slot find_started(const struct tryboot_backend *backend, const struct tryboot_state *state)
{
    const struct rpi_firmware *firmware = &backend->firmware;

    if (!firmware->has_tryboot || !firmware->has_partition)
        return SLOT_NONE;
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (firmware->partition == (uint32_t)(backend->partitions[i] - '0'))
            return firmware->tryboot && state->tried != (enum slot)i ? SLOT_NONE : (enum slot)i;
    return SLOT_NONE;
}

static bool tryboot_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct autoboot autoboot;
    struct tryboot_state state;

    if (!autoboot_open(boot->private, false, &file, &autoboot, &state, error))
        return false;
    bool trial = state.tried != state.usual;
    *ret_state = (struct boot_state){
        .running = SLOT_NONE,
        .next = trial && state.this_boot ? state.tried : state.usual,
        .trial = trial ? state.tried : SLOT_NONE,
        .started = find_started(boot->private, &state),
        .tries_left = trial && state.this_boot,
    };
    ret_state->health[state.usual] = BOOT_HEALTH_GOOD;
    if (trial && state.this_boot)
        ret_state->health[state.tried] = BOOT_HEALTH_TRIAL;
    return true;
}

/* The file with the missing lines put behind all others, without changing what is selected; `ret_data` has
 * room for two sectors. */
static bool print_complete(const struct in_place *file, const struct autoboot *autoboot, char *ret_data,
                           size_t *ret_size, struct error *error)
{
    const size_t room = (size_t)2 * IN_PLACE_SECTOR;
    int size = snprintf(ret_data, room, "%s%s", file->data,
                        file->size && file->data[file->size - 1] != '\n' ? "\n" : "");

    if (!autoboot->tried)
        size += snprintf(ret_data + size, room - (size_t)size, "%s%c\n", tryboot_section,
                         file->data[autoboot->usual]);
    if (!autoboot->mark)
        size += snprintf(ret_data + size, room - (size_t)size, "%s%s\n", mark_line, no_mark);
    *ret_size = (size_t)size;
    return (autoboot->tried && autoboot->mark) || size <= IN_PLACE_SECTOR ||
           error_set(error, ERROR_REFUSED, "%s would have %d bytes, over 512; shorten it", file->path, size);
}

static bool complete(struct in_place *file, struct autoboot *autoboot, struct error *error)
{
    char data[2 * IN_PLACE_SECTOR];
    size_t size;

    if (autoboot->tried && autoboot->mark)
        return true;
    return print_complete(file, autoboot, data, &size, error) && in_place_grow(file, data, size, error) &&
           autoboot_parse(file, autoboot, error);
}

static bool tryboot_write(const struct tryboot_backend *backend, struct in_place *file,
                          struct autoboot *autoboot, enum slot usual, enum slot tried, struct error *error)
{
    char data[IN_PLACE_SECTOR];

    if (!complete(file, autoboot, error))
        return false;
    memcpy(data, file->data, file->size);
    data[autoboot->usual] = backend->partitions[usual];
    data[autoboot->tried] = backend->partitions[tried];
    memcpy(data + autoboot->mark, usual == tried ? no_mark : backend->boot_id, MARK_LENGTH);
    return in_place_write(file, data, error);
}

/* If a usual start began on the other slot's boot partition, everything written would lead to the wrong slot.
 * Not checked in a trial, for which some firmware reports the wrong number. */
static bool check_started(const struct tryboot_backend *backend, struct error *error)
{
    const struct rpi_firmware *firmware = &backend->firmware;
    enum slot running = backend->boot->running, other = slot_other(running);

    if (running == SLOT_NONE || !firmware->has_tryboot || firmware->tryboot || !firmware->has_partition ||
        firmware->partition != (uint32_t)(backend->partitions[other] - '0'))
        return true;
    return error_set(error, ERROR_REFUSED,
                     "slot %s runs, but the firmware started from partition %c, which is BootPartition%c=; "
                     "exchange BootPartitionA= and BootPartitionB=, or correct root= in both cmdline.txt",
                     slot_name(running), backend->partitions[other], 'A' + other);
}

/* Reads the file and checks what has to hold before any change. */
static bool begin_change(const struct tryboot_backend *backend, struct in_place *file,
                         struct autoboot *ret_autoboot, struct tryboot_state *ret_state, struct error *error)
{
    return check_started(backend, error) &&
           autoboot_open(backend, true, file, ret_autoboot, ret_state, error);
}

/* A slot on trial must not be the only one left. */
static bool check_other(const struct tryboot_backend *backend, const struct tryboot_state *state,
                        enum slot slot, struct error *error)
{
    enum slot other = slot_other(slot);

    return state->usual != slot || state->tried != other ||
           error_set(error, ERROR_REFUSED, "slot %s is on trial in %s, so slot %s is needed to fall back to",
                     slot_name(other), backend->path, slot_name(slot));
}

static bool tryboot_can_arm(struct boot *boot, enum slot slot, struct error *error)
{
    const struct tryboot_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct autoboot autoboot;
    struct tryboot_state state;
    char data[2 * IN_PLACE_SECTOR];
    size_t size;

    return begin_change(backend, &file, &autoboot, &state, error) &&
           check_other(backend, &state, slot, error) && print_complete(&file, &autoboot, data, &size, error);
}

/* Makes the other slot run next, for good, instead of `slot`. */
static bool tryboot_deselect(struct boot *boot, enum slot slot, struct error *error)
{
    const struct tryboot_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct autoboot autoboot;
    struct tryboot_state state;
    enum slot other = slot_other(slot);

    if (!begin_change(backend, &file, &autoboot, &state, error) || !check_other(backend, &state, slot, error))
        return false;
    return tryboot_write(backend, &file, &autoboot, other, other, error);
}

static bool tryboot_arm(struct boot *boot, enum slot slot, struct error *error)
{
    const struct tryboot_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct autoboot autoboot;
    struct tryboot_state state;

    if (!begin_change(backend, &file, &autoboot, &state, error))
        return false;
    /* A slot that is selected already was good before the other one was rejected. */
    return tryboot_write(backend, &file, &autoboot, state.usual, slot, error);
}

static bool tryboot_good(struct boot *boot, enum slot slot, struct error *error)
{
    const struct tryboot_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct autoboot autoboot;
    struct tryboot_state state;

    return begin_change(backend, &file, &autoboot, &state, error) &&
           tryboot_write(backend, &file, &autoboot, slot, slot, error);
}

static void probe_firmware(const struct tryboot_backend *backend, boot_finding_fn found, void *owner)
{
    const struct rpi_firmware *firmware = &backend->firmware;
    char a = backend->partitions[SLOT_A], b = backend->partitions[SLOT_B];

    if (!firmware->has_capabilities)
        boot_find(
            found, owner, BOOT_LEVEL_WARNING,
            "the firmware does not say (in %s) whether it can try a partition; that takes a Raspberry Pi "
            "4 or 5 with a boot EEPROM of October 2022 or newer: rpi-eeprom-update",
            RPI_FIRMWARE_FOLDER);
    else if (!(firmware->capabilities & RPI_FIRMWARE_TRYBOOT_A_B))
        boot_find(found, owner, BOOT_LEVEL_FAILURE,
                  "this boot EEPROM cannot try a partition (tryboot_a_b); bring a newer one with "
                  "rpi-eeprom-update");
    else
        boot_find(found, owner, BOOT_LEVEL_OK, "the boot EEPROM can try a partition");
    if (firmware->has_partition && firmware->partition != (uint32_t)(a - '0') &&
        firmware->partition != (uint32_t)(b - '0'))
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "the firmware says that it started from partition %u, which is neither BootPartitionA=%c "
                  "nor BootPartitionB=%c; correct them, or bring a newer boot EEPROM with rpi-eeprom-update",
                  firmware->partition, a, b);
}

static void tryboot_probe(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct tryboot_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct autoboot autoboot;
    struct tryboot_state state;
    struct error error;

    const unsigned numbers[SLOT_COUNT] = {(unsigned)(backend->partitions[SLOT_A] - '0'),
                                          (unsigned)(backend->partitions[SLOT_B] - '0')};

    probe_firmware(backend, found, owner);
    rpi_boot_part_probe(&backend->part, boot, &backend->firmware, numbers, found, owner);
    if (!begin_change(backend, &file, &autoboot, &state, &error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    else if (!autoboot.tried || !autoboot.mark)
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "%s has to be made longer by the first update, which is less safe than to overwrite it; "
                  "write it as docs/boot.md shows it",
                  backend->path);
    else
        boot_find(found, owner, BOOT_LEVEL_OK, "%s has all its lines and can be written", backend->path);
}

static enum boot_kernel tryboot_find_kernel(struct boot *boot)
{
    const struct tryboot_backend *backend = boot->private;

    return backend->part.places[SLOT_A] ? BOOT_KERNEL_IN_SLOT : BOOT_KERNEL_BESIDE;
}

const struct boot_backend boot_backend_rpi_tryboot = {
    .wants_running = true,
    .abilities = {.trial = true, .kernel = BOOT_KERNEL_BESIDE, .reboot_argument = "0 tryboot"},
    .open = tryboot_open,
    .close = tryboot_close,
    .find_kernel = tryboot_find_kernel,
    .probe = tryboot_probe,
    .read = tryboot_read,
    .can_arm = tryboot_can_arm,
    .invalidate = tryboot_deselect,
    .arm = tryboot_arm,
    .good = tryboot_good,
    .reject = tryboot_deselect,
};
