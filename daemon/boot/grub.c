/* SPDX-License-Identifier: MIT */
/*
 * The `grub` backend: five variables in GRUB's environment block, which grub.cfg (conf/grub.cfg is one) reads
 * and counts with. Each has a value of fixed length and all stand within the block's first sector, so every
 * change is that one sector, overwritten in place; grub-editenv empties the file first and is not used.
 *
 *     moonsinter_order=B A     which slot is started first
 *     moonsinter_A_ok=1        slot A was marked good
 *     moonsinter_A_left=0      starts left while it is not good; each start takes one
 *     moonsinter_B_ok=0
 *     moonsinter_B_left=3
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "daemon/boot/boot.h"
#include "daemon/boot/in_place.h"

enum {
    BLOCK_SIZE = 1024, /* as GRUB has it; it takes another size for an invalid block */
    VARIABLES_TEXT_MAX = 160,
};

static const char signature[] = "# GRUB Environment Block\n";

enum variable { ORDER, A_OK, A_LEFT, B_OK, B_LEFT, VARIABLE_COUNT };

static const struct {
    const char *name;
    size_t length; /* length of its value */
} variables[VARIABLE_COUNT] = {
    [ORDER] = {"moonsinter_order", 3},   [A_OK] = {"moonsinter_A_ok", 1},
    [A_LEFT] = {"moonsinter_A_left", 1}, [B_OK] = {"moonsinter_B_ok", 1},
    [B_LEFT] = {"moonsinter_B_left", 1},
};

struct grub_backend {
    char *path;
    unsigned tries;
};

struct grub_slot {
    bool ok;
    unsigned left;
};

struct grub_state {
    enum slot first;
    struct grub_slot slots[SLOT_COUNT];
};

/* The block taken apart. */
struct block {
    bool is_empty;      /* the file is empty, as grub-editenv leaves it at a power cut; for GRUB that equals a
                           fresh block */
    bool has_variables; /* a fresh block has none; grub.cfg then takes the order as A, B and both as good */
    size_t values[VARIABLE_COUNT];
    size_t begin;      /* where the first moonsinter_ line would stand: before the first variable */
    size_t end;        /* where the padding begins */
    bool padding_ends; /* the padding ends in a line feed, which makes it a comment for GRUB */
    struct grub_state state;
};

/* Where the next line after `at` begins; a line feed after a backslash does not end a line. */
static size_t next_line(const char *data, size_t at)
{
    while (at < BLOCK_SIZE) {
        if (data[at] == '\\')
            at++;
        else if (data[at] == '\n')
            return at + 1;
        at++;
    }
    return BLOCK_SIZE;
}

/* If the line is one of the five variables, notes where its value is. */
static bool note_line(struct block *block, const struct in_place *file, size_t at, size_t end,
                      unsigned *found, struct error *error)
{
    for (size_t i = 0; i < VARIABLE_COUNT; i++) {
        size_t length = strlen(variables[i].name);
        if (end - at <= length || memcmp(file->data + at, variables[i].name, length) != 0 ||
            file->data[at + length] != '=')
            continue;
        if (*found & 1u << i)
            return error_set(error, ERROR_FORMAT, "%s has %s twice; remove it with grub-editenv", file->path,
                             variables[i].name);
        if (end > IN_PLACE_SECTOR)
            return error_set(
                error, ERROR_REFUSED,
                "%s has %s behind its first 512 bytes, where it cannot be changed safely; remove "
                "all variables with grub-editenv and set those of moonsinter first",
                file->path, variables[i].name);
        block->values[i] = at + length + 1;
        if (end - block->values[i] != variables[i].length + 1)
            return error_set(error, ERROR_FORMAT,
                             "%s has a %s of a length that cannot be; remove it with grub-editenv",
                             file->path, variables[i].name);
        *found |= 1u << i;
    }
    return true;
}

static bool find_variables(struct block *block, const struct in_place *file, struct error *error)
{
    unsigned found = 0;

    block->begin = 0;
    block->end = strlen(signature);
    for (size_t at = strlen(signature), end; at < BLOCK_SIZE; at = end) {
        end = next_line(file->data, at);
        if (file->data[end - 1] != '\n') {
            /* The padding, which may be overwritten. */
            if (strspn(file->data + at, "#") != BLOCK_SIZE - at)
                return error_set(error, ERROR_FORMAT,
                                 "%s is no environment block of GRUB's: its last line does not end; make it "
                                 "anew with grub-editenv %s create",
                                 file->path, file->path);
            break;
        }
        block->end = end;
        if (file->data[at] == '#') {
            block->padding_ends = end == BLOCK_SIZE && strspn(file->data + at, "#") == BLOCK_SIZE - at - 1;
            continue;
        }
        if (!block->begin)
            block->begin = at;
        if (!note_line(block, file, at, end, &found, error))
            return false;
    }
    if (!block->begin)
        block->begin = block->end;
    block->has_variables = found != 0;
    if (found && found != (1u << VARIABLE_COUNT) - 1)
        return error_set(error, ERROR_FORMAT,
                         "%s has some of moonsinter's variables and not all five; remove them with "
                         "grub-editenv, and they are made anew",
                         file->path);
    return true;
}

static bool parse_slot(const char *data, const size_t *values, enum variable ok, struct grub_slot *ret_slot)
{
    char good = data[values[ok]], left = data[values[ok + 1]];

    if ((good != '0' && good != '1') || left < '0' || left > '9')
        return false;
    *ret_slot = (struct grub_slot){.ok = good == '1', .left = (unsigned)(left - '0')};
    return true;
}

static bool block_parse(const struct in_place *file, struct block *ret_block, struct error *error)
{
    struct block block = {.state = {.first = SLOT_A, .slots = {{.ok = true}, {.ok = true}}}};

    if (file->size == 0) {
        block.is_empty = true;
        block.begin = block.end = strlen(signature);
        *ret_block = block;
        return true;
    }
    if (file->size != BLOCK_SIZE || !text_has_prefix(file->data, signature))
        return error_set(error, ERROR_FORMAT,
                         "%s is no environment block of GRUB's; make it with grub-editenv %s create",
                         file->path, file->path);
    if (!find_variables(&block, file, error))
        return false;
    if (block.has_variables) {
        const char *order = file->data + block.values[ORDER];
        bool b_first = memcmp(order, "B A", 3) == 0;
        if ((!b_first && memcmp(order, "A B", 3) != 0) ||
            !parse_slot(file->data, block.values, A_OK, &block.state.slots[SLOT_A]) ||
            !parse_slot(file->data, block.values, B_OK, &block.state.slots[SLOT_B]))
            return error_set(error, ERROR_FORMAT,
                             "%s has a variable of moonsinter's with a value that cannot be; remove all five "
                             "with grub-editenv, and they are made anew",
                             file->path);
        block.state.first = b_first ? SLOT_B : SLOT_A;
    }
    *ret_block = block;
    return true;
}

static bool block_open(const struct grub_backend *backend, bool writable, struct in_place *file,
                       struct block *ret_block, struct error *error)
{
    CLEANUP_FREE char *mend = alloc_printf("make it anew with grub-editenv %s create", backend->path);

    return in_place_open(file, backend->path, BLOCK_SIZE, mend, writable, error) &&
           block_parse(file, ret_block, error);
}

/* All five lines; the same number of bytes whatever the state. */
static size_t print_variables(const struct grub_state *state, char *ret_text)
{
    const struct grub_slot *a = &state->slots[SLOT_A], *b = &state->slots[SLOT_B];

    return (size_t)snprintf(ret_text, VARIABLES_TEXT_MAX, "%s=%s\n%s=%d\n%s=%u\n%s=%d\n%s=%u\n",
                            variables[ORDER].name, state->first == SLOT_A ? "A B" : "B A",
                            variables[A_OK].name, a->ok, variables[A_LEFT].name, a->left % 10,
                            variables[B_OK].name, b->ok, variables[B_LEFT].name, b->left % 10);
}

/* Puts the variables into a block that has none, in front of all others: if those change in length, these do
 * not move. */
static bool insert_variables(const struct block *block, const char *path, const char *text, size_t size,
                             char *data, struct error *error)
{
    /* Some editors end each file in a line feed; grub-editenv refuses such a block as well. */
    if (BLOCK_SIZE - block->end < size && (block->padding_ends || block->begin == block->end))
        return error_set(error, ERROR_REFUSED,
                         "%s lacks the padding at its end, so nothing can be set in it; make it anew with "
                         "grub-editenv %s create",
                         path, path);
    if (block->end + size > IN_PLACE_SECTOR)
        return error_set(error, ERROR_REFUSED,
                         "%s holds so many other variables that moonsinter's would move them across sectors; "
                         "remove them with grub-editenv, let moonsinterd make its own, and set them again",
                         path);
    memmove(data + block->begin + size, data + block->begin, block->end - block->begin);
    memcpy(data + block->begin, text, size);
    return true;
}

static void set_values(const struct block *block, const struct grub_state *state, char *data)
{
    memcpy(data + block->values[ORDER], state->first == SLOT_A ? "A B" : "B A", 3);
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        enum variable ok = i == SLOT_A ? A_OK : B_OK;
        data[block->values[ok]] = state->slots[i].ok ? '1' : '0';
        data[block->values[ok + 1]] = (char)('0' + state->slots[i].left % 10);
    }
}

/* The whole block with `state` in it, BLOCK_SIZE bytes. */
static bool block_print(const struct in_place *file, const struct block *block,
                        const struct grub_state *state, char *ret_data, struct error *error)
{
    char text[VARIABLES_TEXT_MAX];

    if (block->is_empty) {
        memset(ret_data, '#', BLOCK_SIZE);
        memcpy(ret_data, signature, strlen(signature));
    } else {
        memcpy(ret_data, file->data, BLOCK_SIZE);
    }
    if (!block->has_variables)
        return insert_variables(block, file->path, text, print_variables(state, text), ret_data, error);
    set_values(block, state, ret_data);
    return true;
}

static bool block_write(struct in_place *file, const struct block *block, const struct grub_state *state,
                        struct error *error)
{
    char data[BLOCK_SIZE];

    if (!block_print(file, block, state, data, error))
        return false;
    return block->is_empty ? in_place_grow(file, data, sizeof(data), error)
                           : in_place_write(file, data, error);
}

static bool grub_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct grub_backend *backend = alloc_zeroed(sizeof(*backend));
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct block block;

    boot->private = backend;
    backend->path = alloc_printf("%s%s", boot->root, config->grubenv_file);
    backend->tries = config->tries;
    return block_open(backend, false, &file, &block, error);
}

static void grub_close(struct boot *boot)
{
    struct grub_backend *backend = boot->private;

    free(backend->path);
    free(backend);
}

static bool can_start(const struct grub_state *state, enum slot slot)
{
    return state->slots[slot].ok || state->slots[slot].left;
}

static bool grub_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct block block;
    const struct grub_state *state = &block.state;

    if (!block_open(boot->private, false, &file, &block, error))
        return false;
    enum slot first = state->first, other = slot_other(first);
    struct boot_state result = {
        .running = SLOT_NONE,
        .started = SLOT_NONE,
        .next = can_start(state, first)   ? first
                : can_start(state, other) ? other
                                          : SLOT_NONE,
        .trial = state->slots[first].ok ? SLOT_NONE : first,
        .tries_left = state->slots[first].ok ? 0 : state->slots[first].left,
    };
    for (int i = SLOT_A; i <= SLOT_B && block.has_variables; i++)
        result.health[i] = state->slots[i].ok                                     ? BOOT_HEALTH_GOOD
                           : result.trial == (enum slot)i && state->slots[i].left ? BOOT_HEALTH_TRIAL
                                                                                  : BOOT_HEALTH_BAD;
    *ret_state = result;
    return true;
}

enum change { INVALIDATE, ARM, GOOD, REJECT };

/* Applies a change to the state; refused if it would leave nothing to fall back to. A fresh block counts both
 * slots as good, which only means that nothing is known. */
static bool change_state(const struct grub_backend *backend, enum change change, enum slot slot, bool fresh,
                         struct grub_state *state, struct error *error)
{
    enum slot other = slot_other(slot);

    if (change == GOOD) {
        state->first = slot;
        state->slots[slot] = (struct grub_slot){.ok = true};
        state->slots[other].ok &= !fresh;
        return true;
    }
    if (fresh && change == REJECT)
        return error_set(error, ERROR_REFUSED,
                         "slot %s was never marked good in %s, so slot %s cannot be rejected",
                         slot_name(other), backend->path, slot_name(slot));
    if (!state->slots[other].ok)
        return error_set(error, ERROR_REFUSED,
                         "slot %s is not marked good in %s, so slot %s may be needed to fall back to",
                         slot_name(other), backend->path, slot_name(slot));
    if (change == ARM && state->first == slot && state->slots[slot].ok)
        return true; /* selected already, since the other slot was rejected: known to be good */
    state->first = change == ARM ? slot : other;
    state->slots[slot] = (struct grub_slot){.left = change == ARM ? backend->tries : 0};
    return true;
}

static bool grub_change(struct boot *boot, enum change change, enum slot slot, struct error *error)
{
    const struct grub_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct block block;

    if (!block_open(backend, true, &file, &block, error))
        return false;
    struct grub_state state = block.state;
    return change_state(backend, change, slot, !block.has_variables, &state, error) &&
           block_write(&file, &block, &state, error);
}

static bool grub_can_arm(struct boot *boot, enum slot slot, struct error *error)
{
    const struct grub_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct block block;
    char data[BLOCK_SIZE];

    if (!block_open(backend, true, &file, &block, error))
        return false;
    struct grub_state state = block.state;
    return change_state(backend, INVALIDATE, slot, !block.has_variables, &state, error) &&
           block_print(&file, &block, &state, data, error);
}

static bool grub_invalidate(struct boot *boot, enum slot slot, struct error *error)
{
    return grub_change(boot, INVALIDATE, slot, error);
}

static bool grub_arm(struct boot *boot, enum slot slot, struct error *error)
{
    return grub_change(boot, ARM, slot, error);
}

static bool grub_good(struct boot *boot, enum slot slot, struct error *error)
{
    return grub_change(boot, GOOD, slot, error);
}

static bool grub_reject(struct boot *boot, enum slot slot, struct error *error)
{
    return grub_change(boot, REJECT, slot, error);
}

static void grub_probe(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct grub_backend *backend = boot->private;
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct block block;
    struct error error;

    if (!block_open(backend, true, &file, &block, &error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    else if (block.is_empty)
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "%s is empty, as grub-editenv leaves it where the power is cut, so GRUB starts slot a; the "
                  "next update makes it anew",
                  backend->path);
    else if (!block.has_variables)
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "%s has no variables of moonsinter's yet; the first update makes them, and grub.cfg has to "
                  "go by them (docs/boot.md)",
                  backend->path);
    else
        boot_find(found, owner, BOOT_LEVEL_OK, "%s holds moonsinter's variables and can be written",
                  backend->path);
}

const struct boot_backend boot_backend_grub = {
    .abilities = {.trial = true, .tries = true},
    .open = grub_open,
    .close = grub_close,
    .probe = grub_probe,
    .read = grub_read,
    .can_arm = grub_can_arm,
    .invalidate = grub_invalidate,
    .arm = grub_arm,
    .good = grub_good,
    .reject = grub_reject,
};
