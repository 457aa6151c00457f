/* SPDX-License-Identifier: MIT */
/*
 * The boot selection: which slot runs next, and whether on trial or for good. Each backend is one file
 * with one table of functions. Every call is idempotent; every change is one durable write, read back, so
 * that a power cut leaves the old state or the new one. The loader is believed, not the record: call
 * boot_read() after each start. Everything here may block on the medium: pool threads, or before the loop
 * runs; one call at a time for one struct boot.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"

struct boot;

/* Where the kernel of a slot is. */
enum boot_kernel {
    BOOT_KERNEL_IN_SLOT, /* in the slot or a part of it, so an update brings it; also if only the user knows
                          */
    BOOT_KERNEL_SHARED,  /* outside, one for both slots: the kernel that runs now */
    BOOT_KERNEL_BESIDE,  /* outside, one for each slot */
};

/* What a backend can do; constant for one struct boot. */
struct boot_abilities {
    bool trial; /* a new slot is tried first, and the loader leaves it if it is not marked good */
    bool tries; /* the number of tries can be set; else a trial is one start */
    const char *reboot_argument; /* argument of the reboot that tries an armed slot; NULL = none is needed */
    bool in_place_reboot;    /* `file`: the machine does not reboot; the daemon calls boot_start() instead */
    enum boot_kernel kernel; /* of a slot without parts */
};

enum boot_health {
    BOOT_HEALTH_UNKNOWN, /* this loader does not record it */
    BOOT_HEALTH_GOOD,
    BOOT_HEALTH_TRIAL,   /* armed, or being tried */
    BOOT_HEALTH_BAD,     /* rejected, or its tries ran out */
    BOOT_HEALTH_INVALID, /* holds no whole image */
};

/* What the loader's data say. */
struct boot_state {
    enum slot running;   /* `file` only; SLOT_NONE = the kernel knows, ask slots_find() */
    enum slot next;      /* runs after the next reboot; SLOT_NONE if the data name neither slot */
    enum slot trial;     /* armed or being tried; SLOT_NONE = none */
    enum slot started;   /* whose boot part or entry the loader began this start with, which should be the
                            running   slot's; SLOT_NONE = it does not tell, or may be wrong */
    unsigned tries_left; /* starts that the trial has left; 0 without a trial */
    enum boot_health health[SLOT_COUNT];
    char note[200]; /* a clause on what is wrong but does no harm so far; "" = nothing */
};

/* What boot_probe() finds, for `doctor`. */
enum boot_level {
    BOOT_LEVEL_OK,
    BOOT_LEVEL_WARNING, /* works, but could be safer */
    BOOT_LEVEL_FAILURE, /* an update will not work, or the machine cannot fall back although it should */
};

/* One finding: a sentence that says what is there and, if that is wrong, what to do. Valid during the
 * call. */
typedef void (*boot_finding_fn)(void *owner, enum boot_level level, const char *sentence);

/* A backend. All functions are called by boot_...() below only. */
struct boot_backend {
    struct boot_abilities abilities;
    bool wants_running; /* boot->running is filled in before each call */
    bool (*open)(struct boot *boot, const struct config *config, struct error *error);
    void (*close)(struct boot *boot);
    bool (*start)(struct boot *boot, struct error *error); /* NULL = the machine's own loader does it */
    enum boot_kernel (*find_kernel)(struct boot *boot);    /* NULL = as the abilities say; looks at what the
                                                              slots    and their parts hold now */
    void (*probe)(struct boot *boot, boot_finding_fn found, void *owner); /* NULL = nothing of its own */
    bool (*read)(struct boot *boot, struct boot_state *ret_state, struct error *error);
    bool (*can_arm)(struct boot *boot, enum slot slot, struct error *error); /* NULL = nothing to tell */
    bool (*invalidate)(struct boot *boot, enum slot slot, struct error *error);
    bool (*arm)(struct boot *boot, enum slot slot, struct error *error);
    bool (*good)(struct boot *boot, enum slot slot, struct error *error);
    bool (*reject)(struct boot *boot, enum slot slot, struct error *error);
};

struct boot {
    const struct boot_backend *backend;
    const char *name;             /* the backend's, as Backend= has it */
    char *root;                   /* put before paths that are looked up; "" except in tests */
    char *slot_names[SLOT_COUNT]; /* as configured */
    enum slot running; /* for backends with wants_running: by what the kernel says; SLOT_NONE = not known */
    void *private;     /* the backend's own, between open and close */
};

/* Chooses the backend by `config`, copies what it needs, and probes it: a missing or unusable boot selection
 * is an error that says what to do. `root` is NULL or "" except in tests. Freed by boot_free(). */
bool boot_new(const struct config *config, const char *root, struct boot **ret_boot, struct error *error);

/* NULL is fine. Returns NULL. */
struct boot *boot_free(struct boot *boot);

const struct boot_abilities *boot_get_abilities(const struct boot *boot);

/* What is to be done at a start. With the `file` backend it plays the loader: takes one try of an armed
 * trial, falls back if none is left, and makes the chosen slot the running one. A real loader has done that
 * already; only `uboot` then gives a good slot back the start that the loader's script took. Call it once at
 * the daemon's start and at each reboot in place. */
bool boot_start(struct boot *boot, struct error *error);

/* Looks at everything that an update and a fall back need of the loader, and calls `found` for each finding.
 * Writes nothing. */
void boot_probe(struct boot *boot, boot_finding_fn found, void *owner);

/* For backends: calls `found` with a formatted sentence. */
void boot_find(boot_finding_fn found, void *owner, enum boot_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Reads without changing anything. */
bool boot_read(struct boot *boot, struct boot_state *ret_state, struct error *error);

/* Whether boot_invalidate() and boot_arm() of `slot` would succeed, as far as that can be told without
 * writing, so that an update is not downloaded in vain. */
bool boot_can_arm(struct boot *boot, enum slot slot, struct error *error);

/* Call before the first write to `slot`: it is not booted from now on, and the other one runs next. Refused
 * for the running slot. */
bool boot_invalidate(struct boot *boot, enum slot slot, struct error *error);

/* Makes `slot`, which holds a verified image, run next: on trial if the backend can, else for good. */
bool boot_arm(struct boot *boot, enum slot slot, struct error *error);

/* Keeps the running slot, `slot`, from now on. Refused if the backend knows that another one runs. */
bool boot_good(struct boot *boot, enum slot slot, struct error *error);

/* Gives `slot` up: the other one runs next. Never makes the other one less bootable, and is refused if that
 * is known not to be bootable. */
bool boot_reject(struct boot *boot, enum slot slot, struct error *error);

extern const struct boot_backend boot_backend_custom;
extern const struct boot_backend boot_backend_file;
extern const struct boot_backend boot_backend_grub;
extern const struct boot_backend boot_backend_rpi_cmdline;
extern const struct boot_backend boot_backend_rpi_tryboot;
extern const struct boot_backend boot_backend_systemd_boot;
extern const struct boot_backend boot_backend_uboot;

/* "good", "trial", "bad", "invalid", "unknown": as the status object spells it. */
const char *boot_health_name(enum boot_health health);
