/* SPDX-License-Identifier: MIT */
/*
 * The boot selection: which slot runs next, and on trial or for good. One table of functions a backend, one
 * file a backend. Every call is idempotent; every change is one durable write, read back, so that a power cut
 * leaves the old state or the new one. The loader is believed, not a record of ours: call boot_read() after
 * each start. Everything here may block on the medium: pool threads, or before the loop runs; one call at a
 * time for one struct boot.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"

struct boot;

/* Where the kernel is that starts a slot. */
enum boot_kernel {
    BOOT_KERNEL_IN_SLOT, /* an update brings it; also where only the user knows */
    BOOT_KERNEL_SHARED,  /* outside, one for both slots: the one that runs now */
    BOOT_KERNEL_BESIDE,  /* outside, one for each slot */
};

/* What a backend can do; constant for one struct boot. */
struct boot_abilities {
    bool trial; /* a new slot is tried first, and left by itself when it is not marked good */
    bool tries; /* the number of tries can be set; else a trial is one start */
    const char *reboot_argument; /* what the reboot into an armed slot tells the firmware; NULL = nothing */
    bool in_place_reboot; /* `file`: a reboot is boot_start() in the running daemon, not the machine's */
    enum boot_kernel kernel;
};

enum boot_health {
    BOOT_HEALTH_UNKNOWN, /* this loader does not record it */
    BOOT_HEALTH_GOOD,
    BOOT_HEALTH_TRIAL,   /* armed, or being tried */
    BOOT_HEALTH_BAD,     /* rejected, or its tries ran out */
    BOOT_HEALTH_INVALID, /* holds no whole image */
};

/* What the loader's data say now. */
struct boot_state {
    enum slot running;   /* `file` only; SLOT_NONE = the kernel knows, ask slots_find() */
    enum slot next;      /* runs after a reboot now; SLOT_NONE where the data name neither slot */
    enum slot trial;     /* armed or being tried; SLOT_NONE = none */
    unsigned tries_left; /* further starts the trial has; 0 without a trial */
    enum boot_health health[SLOT_COUNT];
    char note[200]; /* a clause on what is not as it should be, and harms nothing so far; "" = nothing */
};

/* What boot_probe() finds, for `doctor`. */
enum boot_level {
    BOOT_LEVEL_OK,
    BOOT_LEVEL_WARNING, /* works, and could be safer */
    BOOT_LEVEL_FAILURE, /* an update will not work, or cannot be fallen back from though it should */
};

/* One finding: a sentence which says what is there and, where it is not well, the mend; it lives until the
 * call returns. */
typedef void (*boot_finding_fn)(void *owner, enum boot_level level, const char *sentence);

/* A backend. All functions are called by boot_...() below only. */
struct boot_backend {
    const char *name;
    struct boot_abilities abilities;
    bool wants_running; /* boot.running is found before each call */
    bool (*open)(struct boot *boot, const struct config *config, struct error *error);
    void (*close)(struct boot *boot);
    bool (*start)(struct boot *boot, struct error *error); /* NULL where the machine's own loader does it */
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
    char *root;                   /* put before paths that are looked up; "" but in tests */
    char *slot_names[SLOT_COUNT]; /* as configured */
    enum slot running; /* for those backends that want it: as the kernel says now; SLOT_NONE = not known */
    void *private;     /* the backend's own, between open and close */
};

/* Chooses the backend by `config`, copies what it needs, and probes it: a missing or unusable boot selection
 * is an error that says what to do. `root` is NULL or "" but in tests. Freed by boot_free(). */
bool boot_new(const struct config *config, const char *root, struct boot **ret_boot, struct error *error);

/* NULL is fine. Returns NULL. */
struct boot *boot_free(struct boot *boot);

const struct boot_abilities *boot_get_abilities(const struct boot *boot);

/* What the loader does at a start: with the `file` backend, takes one try of an armed trial, falls back where
 * none is left, and makes the chosen slot the running one. Call it once at the daemon's start and at each
 * reboot in place. Does nothing with a real loader, which has done it already. */
bool boot_start(struct boot *boot, struct error *error);

/* Looks at all that an update and a way back will need of the loader, and calls `found` for each thing.
 * Writes nothing. */
void boot_probe(struct boot *boot, boot_finding_fn found, void *owner);

/* For backends: `found` with a printed sentence. */
void boot_find(boot_finding_fn found, void *owner, enum boot_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Reads without changing anything. */
bool boot_read(struct boot *boot, struct boot_state *ret_state, struct error *error);

/* Whether boot_invalidate() and boot_arm() of `slot` would go through, as far as it can be told without
 * writing, so that an update is not downloaded in vain. */
bool boot_can_arm(struct boot *boot, enum slot slot, struct error *error);

/* Before the first write to `slot`: it cannot be booted from now on, and the other one runs next. Refused for
 * the slot that runs. */
bool boot_invalidate(struct boot *boot, enum slot slot, struct error *error);

/* `slot` holds a verified image and runs next: on trial where the backend can, else for good. */
bool boot_arm(struct boot *boot, enum slot slot, struct error *error);

/* `slot` runs and is fit: it runs from now on. Refused where the backend knows that another one runs. */
bool boot_good(struct boot *boot, enum slot slot, struct error *error);

/* `slot` is not to run again; the other one runs next. Never touches the other's ability to boot, and is
 * refused where the other is known not to be bootable. */
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
