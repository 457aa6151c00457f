/* SPDX-License-Identifier: MIT */
/*
 * The daemon's inside, shared by the daemon_*.c files only: one owner struct. Work that may be under way is
 * in the parts of daemon/work. All of it is the loop's.
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

#include <event2/event.h>

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
#include "daemon/face/status.h"
#include "daemon/host/process.h"
#include "daemon/host/slots.h"
#include "daemon/work/boot_selection.h"
#include "daemon/work/checker.h"
#include "daemon/work/installer.h"
#include "daemon/work/poller.h"
#include "daemon/work/rebooter.h"
#include "daemon/work/record_store.h"
#include "daemon/work/settings.h"
#include "daemon/work/trial_runner.h"

struct daemon;

/* The slot that an update gives up, writes and arms, or that is only deselected. */
struct daemon_target {
    enum slot slot;
    struct record_release armed; /* what is being deselected; all zeroes = nothing is known of it */
    bool given_up;               /* ... its slot had been given up before, and was selected still */
    struct error refusal;        /* why what is in it now is not armed */
};

/* Before the server is asked, the slots and the boot selection are looked at. */
enum daemon_check_look {
    DAEMON_CHECK_LOOK_NONE,
    DAEMON_CHECK_LOOK_UNDER_WAY,
    DAEMON_CHECK_LOOK_CANCELLED, /* it goes on, and the server is not asked */
};

enum {
    DAEMON_EVENTS_MAX = 16,
    /* A medium, or a server, from which nothing comes for so long is worth a word in the status. A card that
     * collects its garbage takes seconds. What becomes of a request is StallTimeout='s. */
    DAEMON_SILENCE_MS = 15 * 1000,
};

struct daemon_event {
    struct update_event event;
    char reason[RECORD_TEXT_SIZE];
};

struct daemon {
    struct event_base *base;
    struct pool *pool;
    struct http *http;
    bool http_used; /* it may hold connections open */
    struct api_server *api;
    struct api_backend api_backend;
    struct settings *settings;
    const struct config *config; /* those in use */
    const struct config
        *fixed; /* those of the start: slots, boot selection, storage and socket take a restart */
    struct boot_selection *boot;
    const struct boot_view *view; /* as it was seen last; of `boot` */
    bool unclassified;            /* the running slot was not known at the start, nor since */
    bool compared[SLOT_COUNT];    /* the slot was there at a look, and was held against the record */
    struct record_store *record_store;
    struct record *record; /* the store's, to be looked at and changed */

    struct update update;
    struct daemon_event events[DAEMON_EVENTS_MAX]; /* posted and not yet stepped */
    size_t event_first, event_count;
    bool stepping;
    int exit_status;

    uint64_t started_s, since_s;            /* Unix time */
    char os_version[MANIFEST_TEXT_MAX + 1]; /* what the running system says of itself; "" = nothing */
    char boot_id[RECORD_BOOT_ID_SIZE];      /* "" = the kernel does not tell */

    /* timers and signals */
    struct poller *poller;
    struct rebooter *rebooter;
    struct trial_runner *trial_runner;
    struct event *status_timer;
    struct event *watchdog_timer, *notify_timer;
    struct event *stop_timer;
    struct event *settle_event;
    struct event *stall_timer; /* a job of ours on the medium does not return */
    struct event *signals[3];

    /* checking */
    struct checker *checker;
    enum daemon_check_look check_look;
    struct policy_verdict install_verdict;

    /* planning, installing, arming */
    struct installer *installer;
    struct daemon_target target;
    bool cancelled; /* by an operator, since the last check began */

    char stall_why[512]; /* a job of ours on the medium does not return: a sentence; "" = all do */
    struct processes *processes;

    /* reporting */
    uint64_t status_ms; /* when STATUS= was sent last */
    bool status_pending;
};

/* daemon_step.c */

/* Queues an event and, unless one is being stepped, steps all of them. `reason` is copied, NULL is fine. */
void daemon_post(struct daemon *daemon, const struct update_event *event, const char *reason);

/* Posts an event of this kind that carries an error: logs it, keeps it as last_error, and hands its kind on.
 */
void daemon_post_failure(struct daemon *daemon, enum update_event_kind kind, const struct error *error);

/* Steps a request; false with the refusal in *ret_orders where it does not fit. */
bool daemon_request(struct daemon *daemon, const struct update_event *event,
                    struct update_orders *ret_orders);

/* Work ended: soon, out of every callback, what waited for that is done: new settings, leaving. */
void daemon_settle(struct daemon *daemon);

/* The event that daemon_settle() makes active. */
void daemon_on_settle(evutil_socket_t fd, short events, void *owner);

/* daemon.c */

/* CLOCK_BOOTTIME in milliseconds. */
uint64_t daemon_now_ms(void);

/* Unix time in seconds. */
uint64_t daemon_now_s(void);

/* A job that only waits for the medium begins, or one ended: the status says so where it takes too long. */
void daemon_watch_jobs(struct daemon *daemon);

/* One-shot timers. */
void daemon_arm_timer(struct event *timer, uint64_t delay_ms);

/* NULL is fine. */
void daemon_free_event(struct event *event);

/* daemon_trust.c */

/* What is asked of a manifest by the settings and the record as they are. */
struct trust daemon_trust(const struct daemon *daemon);

/* The same as a clause for people. */
void daemon_trust_describe(const struct daemon *daemon, char *ret_text, size_t size);
void daemon_trust_log(const struct daemon *daemon);

/* Unix time before which it cannot be: when this was built, or when the last release accepted was made. */
uint64_t daemon_trust_floor_s(const struct daemon *daemon);

/* Whether an error is due to a clock that cannot be right; then *ret_why is a sentence. */
bool daemon_trust_explain_clock(const struct daemon *daemon, const struct error *error, char *ret_why,
                                size_t size);

/* The gate to the boot selection, and nobody else's way to it (tests/unit/test_includes.py): arms the target
 * that was just installed and read back, as the boot selection does it, or returns false and says why it may
 * not be; `held` is the caller's then. */
bool daemon_trust_arm(struct daemon *daemon, struct device *held, boot_selection_done_fn then,
                      struct error *ret_refusal);

/* daemon_settings.c */

/* `config` is the daemon's from now on. */
void daemon_settings_init(struct daemon *daemon, const struct config_request *request, struct config *config);

/* Requests as `config` wants them. */
bool daemon_settings_make_http(struct daemon *daemon, const struct config *config, struct http **ret_http,
                               struct error *error);

/* SIGHUP: reads them; they are taken as soon as nothing stands on the old ones. */
void daemon_settings_reload(struct daemon *daemon);
void daemon_settings_take(struct daemon *daemon);

/* Not from within a callback of a request. */
void daemon_settings_close_connections(struct daemon *daemon);

/* daemon_boot.c */

/* Opens the boot selection, and looks. Blocks: before the loop runs. */
bool daemon_boot_init(struct daemon *daemon, struct error *error);

/* Looks anew without being asked by the state machine: soon, by a thread, unless something is under way that
 * looks anyway or stands on what was seen. Others' tasks wait for it. */
void daemon_boot_look_again(struct daemon *daemon);

/* Likewise where somebody asks for the status of what waits for its boot, but not each time. */
void daemon_boot_look_if_asked(struct daemon *daemon);

/* After a look: tells of what others changed, and where the running slot is known at last, what this boot is.
 */
void daemon_boot_note_view(struct daemon *daemon);

/* Plans the next look where one is needed and none is planned. */
void daemon_boot_plan_look(struct daemon *daemon);

/* What the firmware has to be told at the reboot that tries what is armed; NULL where a plain one does. */
const char *daemon_boot_argument(const struct daemon *daemon);

/* Whether the next boot leads to the slot that does not run, as far as was seen; false where which one runs
 * is not known. */
bool daemon_boot_other_is_next(const struct daemon *daemon);

/* Health of a slot as the status shows it: the loader's word, else the record's. */
enum boot_health daemon_slot_health(const struct daemon *daemon, enum slot slot);

/* daemon_arm.c: the orders of the same names. */
void daemon_arm_invalidate(struct daemon *daemon);
void daemon_arm_activate(struct daemon *daemon);

/* daemon_trial.c */
void daemon_trial_init(struct daemon *daemon);

/* Begins the health checks of the slot that runs on trial; ends in an event VERDICT_.... */
void daemon_trial_check(struct daemon *daemon);

/* One event of a trial's rules, with the machine as it is: changes the record, and logs what was found out.
 */
void daemon_trial_step(struct daemon *daemon, const struct trial_event *event,
                       struct trial_outcome *ret_outcome);

/* The same for an event of which nothing comes back; `slot` is the target. Saves where it is worth a save. */
void daemon_trial_note(struct daemon *daemon, enum trial_event_kind kind);

/* After a start, or a boot in place: sets the record right by what the loader says, and posts BOOTED_.... */
void daemon_trial_classify(struct daemon *daemon);

/* Which boot of the machine this is. Reads a file: before the loop runs. */
void daemon_trial_read_boot_id(struct daemon *daemon);

/* We are told to end: that start does not count against the slot on trial. */
void daemon_trial_note_end(struct daemon *daemon);

/* What waits for its boot does not any more, because another program changed the boot selection: nothing is
 * held against the release, and it is not armed again by itself. */
void daemon_trial_note_disarmed(struct daemon *daemon);

/* The orders of the same names. */
void daemon_trial_mark_good(struct daemon *daemon);
void daemon_trial_reject(struct daemon *daemon);

/* daemon_fit.c */

/* What is to be read of the slots to see whether they hold what the record says of them: of those that were
 * not there so far, and of all as long as it is not known which one runs. */
void daemon_fit_ask(const struct daemon *daemon, uint64_t ret_bytes[SLOT_COUNT]);

/* Forgets what is recorded of a slot that holds something else, and returns whether there is one; what boots
 * next is given up. At a start, and when a slot comes late; before the start is classified. */
bool daemon_fit_judge(struct daemon *daemon, const struct boot_prints *prints);

/* daemon_reboot.c */
void daemon_reboot_init(struct daemon *daemon);

/* Asks policy and then logind, and posts REBOOT_DUE where both agree, now or later. */
void daemon_judge_reboot(struct daemon *daemon);

/* The same where a reboot waits, and what holds it may have ended. */
void daemon_judge_reboot_again(struct daemon *daemon);

/* The order REBOOT. */
void daemon_reboot(struct daemon *daemon);

/* We are told to end, maybe for a reboot that somebody else asked for: remembers whether it tries what is
 * armed. */
void daemon_reboot_note_others(struct daemon *daemon);

/* daemon_check.c */
void daemon_check_init(struct daemon *daemon);
void daemon_check_start(struct daemon *daemon);
void daemon_check_cancel(struct daemon *daemon);

/* daemon_judge.c */

/* What became of the last check, as the status shows it. */
void daemon_judge_set_result(struct daemon *daemon, const char *result);

/* Judges what is offered now, and posts the CHECK_... event; `planned`: the plan for it is made. */
void daemon_judge_offer(struct daemon *daemon, bool planned);

/* Judges what was offered last once more, without asking the server, where what it is judged by changed:
 * settings, the running slot, what is remembered against it. Whatever was said of it before stands no more.
 * With `may_look` the server is asked at once where nothing holds it any longer. */
void daemon_judge_anew(struct daemon *daemon, bool may_look);

/* Another time of day: judges anew what goes by it. */
void daemon_judge_clock_was_set(struct daemon *daemon);

/* Whether a slot that is known to hold no whole image boots next, and the running one is good: it is to be
 * deselected, whatever is offered. False where the machine is falling back. */
bool daemon_judge_next_is_given_up(const struct daemon *daemon);

/* What policy looks at; `release` may be NULL. */
void daemon_policy_input(const struct daemon *daemon, struct policy_input *ret_input);

/* daemon_offer.c */

/* What people call the release that is offered: its version, or "without a version". */
const char *daemon_offer_name(const struct daemon *daemon);

/* Forgets what is known of the server's manifest. */
void daemon_offer_forget(struct daemon *daemon);

/* Keeps the release that the server just sent. */
void daemon_offer_keep(struct daemon *daemon);

/* The manifest kept from before, where it belongs to Url=. Reads a file: before the loop runs. */
void daemon_offer_load(struct daemon *daemon);

/* daemon_install.c */
void daemon_install_init(struct daemon *daemon);
void daemon_install_start(struct daemon *daemon, bool plan_only);

/* An update ended: into the history. */
void daemon_install_remember(struct daemon *daemon, enum record_result result, const char *reason);

/* daemon_report.c */
void daemon_report_init(struct daemon *daemon);
struct json_object *daemon_report_status(const struct daemon *daemon);

/* The status changed; `state_changed` also sends STATUS= at once. */
void daemon_report_publish(struct daemon *daemon, bool state_changed);
void daemon_report_send_status(struct daemon *daemon);
