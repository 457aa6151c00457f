/* SPDX-License-Identifier: MIT */
/*
 * The inside of the daemon, for the daemon_*.c files only: one struct that owns everything. Jobs that may
 * be under way are kept by the parts in daemon/parts. The loop's thread only.
 *
 *   daemon.c          the beginning and the end, signals, timers
 *   daemon_arm.c      giving the target up before an installation, and arming it after
 *   daemon_boot.c     when the slots are looked at, and what follows from what was seen
 *   daemon_check.c    a check: what the checker is asked, and what becomes of its answers
 *   daemon_fit.c      whether the slots hold what the record says
 *   daemon_install.c  planning, or installing: what the installer is given, and what became of it
 *   daemon_judge.c    judging what it offers, by the rules and by what the slots hold
 *   daemon_offer.c    what is kept beyond a restart of the release that the server offers
 *   daemon_reboot.c   whether the machine may reboot, and the reboot
 *   daemon_report.c   what others get to see: API, service manager
 *   daemon_settings.c what follows from new settings
 *   daemon_step.c     events to the state machine, and its orders
 *   daemon_trial.c    what a boot was, and the verdict on it
 *   daemon_trust.c    whom this device believes, and the gate to arming
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/image/rollout.h"
#include "common/io/device.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/daemon.h"
#include "daemon/decide/policy.h"
#include "daemon/decide/record.h"
#include "daemon/decide/trial.h"
#include "daemon/decide/update.h"
#include "daemon/face/api_server.h"
#include "daemon/face/service_manager.h"
#include "daemon/face/status.h"
#include "daemon/host/process.h"
#include "daemon/host/slots.h"
#include "daemon/parts/boot_selection.h"
#include "daemon/parts/checker.h"
#include "daemon/parts/installer.h"
#include "daemon/parts/job_watch.h"
#include "daemon/parts/poller.h"
#include "daemon/parts/rebooter.h"
#include "daemon/parts/record_store.h"
#include "daemon/parts/settings.h"
#include "daemon/parts/trial_runner.h"

struct daemon;

/* The slot that an update writes and arms, or that is only taken out of the boot selection (deselected). */
struct daemon_target {
    enum slot slot;
    struct record_release armed; /* the release that is being deselected; all zeroes = not known */
    bool given_up;               /* deselecting: the slot had been given up before but was still selected */
    struct error refusal;        /* why the release in it is not armed */
};

/* The look at slots and boot selection that comes before the server is asked. */
enum daemon_check_look {
    DAEMON_CHECK_LOOK_NONE,
    DAEMON_CHECK_LOOK_UNDER_WAY,
    DAEMON_CHECK_LOOK_CANCELLED, /* the look goes on, but the server is not asked after it */
};

enum {
    DAEMON_EVENTS_MAX = 16,
    /* The status says so when a medium or a server is silent for this long. An SD card that collects its
     * garbage takes seconds. A request that stalls is ended by StallTimeout=, not by this. */
    DAEMON_SILENCE_MS = 15 * 1000,
};

/* Events that were posted and are not yet stepped, a ring. */
struct daemon_queue {
    struct daemon_event {
        struct update_event event;
        char reason[RECORD_TEXT_SIZE];
    } events[DAEMON_EVENTS_MAX];
    size_t first, count;
    bool stepping; /* a step is under way, and takes what is posted meanwhile */
};

struct daemon {
    struct event_base *base;
    struct pool *pool;
    struct http *http;
    struct api_server *api;
    struct settings *settings;
    const struct config *config; /* in use now */
    const struct config *fixed;  /* of the start: slots, boot selection, storage and socket need a restart */
    struct boot_selection *boot;
    const struct boot_view *view; /* what was seen last; owned by `boot` */
    bool unclassified;            /* which slot runs was not known at the start and is still not known */
    bool compared[SLOT_COUNT];    /* the slot has been present and was compared with the record */
    struct record_store *record_store;
    struct record *record; /* owned by record_store; may be read and changed here */

    struct update update;
    struct daemon_queue queue;

    uint64_t started_s, since_s;            /* Unix time */
    char os_version[MANIFEST_TEXT_MAX + 1]; /* from the running system's os-release; "" = it has none */
    char boot_id[RECORD_BOOT_ID_SIZE];      /* "" = not known */

    /* timers and signals */
    struct poller *poller;
    struct rebooter *rebooter;
    struct trial_runner *trial_runner;
    struct service_manager *service_manager;
    struct job_watch *job_watch;
    struct timer *stop_timer;
    struct later *settling;
    struct watch *signals[3];

    /* checking */
    struct checker *checker;
    enum daemon_check_look check_look;
    struct policy_verdict install_verdict;

    /* planning, installing, arming */
    struct installer *installer;
    struct daemon_target target;
    bool cancelled; /* an operator cancelled since the last check began */

    struct processes *processes;
};

/* daemon_step.c */

/* Queues an event and steps everything queued, unless a step is under way, which then does it. `reason` is
 * copied; NULL is fine. */
void daemon_post(struct daemon *daemon, const struct update_event *event, const char *reason);

/* Posts a ..._FAILED event: logs the error, records it as last_error and puts its kind into the event. A
 * cancellation is only logged. */
void daemon_post_failure(struct daemon *daemon, enum update_event_kind kind, const struct error *error);

/* Steps a request of an operator at once; false, with the refusal in *ret_orders, if the state does not allow
 * it. */
bool daemon_request(struct daemon *daemon, const struct update_event *event,
                    struct update_orders *ret_orders);

/* Call when work ended: what waits for that (taking new settings, leaving) is done soon, outside of every
 * callback. */
void daemon_settle(struct daemon *daemon);

/* Does it: called by `settling`, see daemon_settle(). */
void daemon_on_settle(void *owner);

/* daemon.c */

/* Call when the record's or the boot selection's job on the medium began or ended: if one takes longer than
 * DAEMON_SILENCE_MS, the status says so. */
void daemon_watch_jobs(struct daemon *daemon);

/* daemon_trust.c */

/* What a manifest must have (keys, signature) by the present settings and record. */
struct trust daemon_trust(const struct daemon *daemon);

/* What daemon_trust() demands, as a clause for people. */
void daemon_trust_describe(const struct daemon *daemon, char *ret_text, size_t size);
void daemon_trust_log(const struct daemon *daemon);

/* Whether an error comes from a clock that must be wrong; then ret_why is a sentence. */
bool daemon_trust_explain_clock(const struct daemon *daemon, const struct error *error, char *ret_why,
                                size_t size);

/* The only way to arm a slot (tests/unit/test_includes.py sees to that): submits the arming of the target
 * that was just installed and read back and takes `held`, or returns false and says why it may not be armed;
 * then `held` stays the caller's. */
bool daemon_trust_arm(struct daemon *daemon, struct targets *held, boot_selection_done_fn then,
                      struct error *ret_refusal);

/* daemon_settings.c */

/* Takes `config`. */
void daemon_settings_init(struct daemon *daemon, const struct config_request *request, struct config *config);

/* Makes an HTTP client with the options of `config`. */
bool daemon_settings_make_http(struct daemon *daemon, const struct config *config, struct http **ret_http,
                               struct error *error);

/* SIGHUP: reads the settings anew; they are taken as soon as no work uses the old ones. */
void daemon_settings_reload(struct daemon *daemon);
/* Puts the settings that were read into use. Only while no work uses the old ones. */
void daemon_settings_take(struct daemon *daemon);

/* Closes idle connections by replacing the client. Never from within a callback of a request. */
void daemon_settings_close_connections(struct daemon *daemon);

/* daemon_boot.c */

/* Opens the boot selection and looks for the first time. Blocks, so only before the loop runs. */
bool daemon_boot_init(struct daemon *daemon, struct error *error);

/* For a client that asks for the status while a release waits for its boot: looks again, at most every 5
 * seconds. */
void daemon_boot_look_if_asked(struct daemon *daemon);

/* Call after a look: reports what other programs changed, and classifies the boot if the running slot has
 * become known only now. */
void daemon_boot_note_view(struct daemon *daemon);

/* Plans the next look if one is needed and none is planned. */
void daemon_boot_plan_look(struct daemon *daemon);

/* The reboot argument that makes the firmware try the armed slot; NULL if a plain reboot does. */
const char *daemon_boot_argument(const struct daemon *daemon);

/* Whether the next boot takes the slot that does not run, by the last look; false if it is not known which
 * one runs. */
bool daemon_boot_other_is_next(const struct daemon *daemon);

/* Health of a slot as the status shows it, see record_slot_health(). */
enum boot_health daemon_slot_health(const struct daemon *daemon, enum slot slot);

/* daemon_arm.c: carry out the orders INVALIDATE and ARM. */
void daemon_arm_invalidate(struct daemon *daemon);
void daemon_arm_target(struct daemon *daemon);

/* daemon_trial.c */
void daemon_trial_init(struct daemon *daemon);

/* Begins the health checks of the slot on trial; ends in VERDICT_GOOD or VERDICT_BAD. */
void daemon_trial_check(struct daemon *daemon);

/* Gives one event to the rules of the trial, with the present state of the machine: changes the record and
 * logs what was found. */
void daemon_trial_step(struct daemon *daemon, const struct trial_event *event,
                       struct trial_outcome *ret_outcome);

/* daemon_trial_step() for an event whose outcome does not matter here; the event's slot is the target. Saves
 * the record if it changed. */
void daemon_trial_note(struct daemon *daemon, enum trial_event_kind kind);

/* After a start or a boot in place: corrects the record by what the loader says and posts a BOOTED_...
 * event. */
void daemon_trial_classify(struct daemon *daemon);

/* Reads the kernel's boot ID from a file, so only before the loop runs. */
void daemon_trial_read_boot_id(struct daemon *daemon);

/* Call when told to end: this start of the daemon then does not count against the slot on trial. */
void daemon_trial_note_end(struct daemon *daemon);

/* Another program changed the boot selection, so the armed slot is not booted: the release does not count as
 * failed, and is not armed again by itself. */
void daemon_trial_note_deselected(struct daemon *daemon);

/* Carry out the orders MARK_GOOD and REJECT. */
void daemon_trial_mark_good(struct daemon *daemon);
void daemon_trial_reject(struct daemon *daemon);

/* daemon_fit.c */

/* Adds to an empty list of which images a look has to take fingerprints, to see whether the slots hold what
 * the record says: of slots not compared so far, and of all of them while it is not known which one runs. */
void daemon_fit_ask(const struct daemon *daemon, struct boot_prints *prints);

/* Forgets what is recorded of a slot of which any image is something else, and gives it up if it is the one
 * that boots next; returns whether there is such a slot. At a start, before it is classified, and when a slot
 * appears later. */
bool daemon_fit_judge(struct daemon *daemon, const struct boot_prints *prints);

/* daemon_reboot.c */
void daemon_reboot_init(struct daemon *daemon);

/* Asks policy and then logind, and posts REBOOT_DUE when both agree, now or later. */
void daemon_judge_reboot(struct daemon *daemon);

/* daemon_judge_reboot() if a reboot is pending; call when what holds it may have ended. One that waits for
 * nothing is due at once. */
void daemon_judge_reboot_again(struct daemon *daemon);

/* Carries out the order REBOOT. */
void daemon_reboot(struct daemon *daemon);

/* Call when told to end: if somebody else is rebooting the machine with the argument that tries the armed
 * slot, the record remembers it. */
void daemon_reboot_note_others(struct daemon *daemon);

/* daemon_check.c */
void daemon_check_init(struct daemon *daemon);
/* Carry out the orders CHECK and, for a check, CANCEL. */
void daemon_check_start(struct daemon *daemon);
void daemon_check_cancel(struct daemon *daemon);

/* daemon_judge.c */

/* Sets what became of the last check, as the status shows it. */
void daemon_judge_set_result(struct daemon *daemon, const char *result);

/* Judges what the server offers now and posts a CHECK_... event, or first has the running slot read;
 * `planned`: its plan has just been made. */
void daemon_judge_offer(struct daemon *daemon, bool planned);

/* Judges the last offer again without asking the server; call when something it is judged by changed:
 * settings, the running slot, what is remembered against it. Replaces the verdict. With `may_look` the server
 * is asked at once if a rule held the offer before and none does now. */
void daemon_judge_anew(struct daemon *daemon, bool may_look);

/* Call when somebody set the clock: judges again, since some rules depend on the time. */
void daemon_judge_clock_was_set(struct daemon *daemon);

/* Whether the slot that boots next is known to hold no whole image while the running one is good: it has to
 * be deselected, whatever is offered. False while falling back. */
bool daemon_judge_next_is_given_up(const struct daemon *daemon);

/* Whether each image of the offered release has a place here. */
bool daemon_judge_has_places(const struct daemon *daemon);

/* Fills in what the rules look at; what it points at is the daemon's. */
void daemon_policy_input(const struct daemon *daemon, struct policy_input *ret_input);

/* daemon_offer.c */

/* The offered release as people call it: its version, or "without a version". */
const char *daemon_offer_name(const struct daemon *daemon);

/* Forgets what is known of the server's manifest. */
void daemon_offer_forget(struct daemon *daemon);

/* Keeps the release that the server just sent, for use after a restart. */
void daemon_offer_keep(struct daemon *daemon);

/* Loads the manifest kept before the restart, if it belongs to Url=. Reads files, so only before the loop
 * runs. */
void daemon_offer_load(struct daemon *daemon);

/* daemon_install.c */
void daemon_install_init(struct daemon *daemon);
/* Carries out the order INSTALL, or PLAN with `plan_only`. */
void daemon_install_start(struct daemon *daemon, bool plan_only);

/* Adds the end of an update to the history. */
void daemon_install_remember(struct daemon *daemon, enum record_result result, const char *reason);

/* daemon_report.c */

/* What the API's server calls; its owner is the daemon. */
struct api_backend daemon_report_backend(struct daemon *daemon);

/* The status as GET /v1/status answers it; a new reference. */
struct json_object *daemon_report_status(const struct daemon *daemon);

/* Call when the status changed: sends it to those who follow it, and STATUS= to the service manager at most
 * once a second, but at once with `state_changed`. */
void daemon_report_publish(struct daemon *daemon, bool state_changed);

/* Sends STATUS= now; the owner is the daemon. */
void daemon_report_send_status(void *owner);
