/* SPDX-License-Identifier: MIT */
/* The names of states and events of daemon/decide/update.h. */
#include "daemon/decide/update.h"

#include <assert.h>

const char *update_state_name(enum update_state state)
{
    static const char *const names[UPDATE_STATE_COUNT] = {
        "idle", "checking", "held", "installing", "activating", "reboot-pending", "trial", "stopping",
    };

    assert(state < UPDATE_STATE_COUNT);
    return names[state];
}

const char *update_event_name(enum update_event_kind kind)
{
    static const char *const names[UPDATE_EVENT_COUNT] = {
        [UPDATE_EVENT_BOOTED_GOOD] = "booted, slot good",
        [UPDATE_EVENT_BOOTED_TRIAL] = "booted, slot on trial",
        [UPDATE_EVENT_BOOTED_PENDING] = "booted, other slot selected",
        [UPDATE_EVENT_BOOTED_UNKNOWN] = "booted, slot unknown",
        [UPDATE_EVENT_POLL_DUE] = "poll due",
        [UPDATE_EVENT_CHECK_REQUESTED] = "check requested",
        [UPDATE_EVENT_INSTALL_REQUESTED] = "install requested",
        [UPDATE_EVENT_CANCEL_REQUESTED] = "cancel requested",
        [UPDATE_EVENT_REBOOT_REQUESTED] = "reboot requested",
        [UPDATE_EVENT_MARK_GOOD_REQUESTED] = "mark-good requested",
        [UPDATE_EVENT_MARK_BAD_REQUESTED] = "mark-bad requested",
        [UPDATE_EVENT_ROLLBACK_REQUESTED] = "rollback requested",
        [UPDATE_EVENT_CHECK_UNCHANGED] = "up to date",
        [UPDATE_EVENT_CHECK_OFFERS] = "update offered",
        [UPDATE_EVENT_CHECK_HELD] = "update held",
        [UPDATE_EVENT_JUDGED_HELD] = "judged-held",
        [UPDATE_EVENT_JUDGED_FREE] = "judged-free",
        [UPDATE_EVENT_CHECK_FAILED] = "check failed",
        [UPDATE_EVENT_INVALIDATED] = "target invalidated",
        [UPDATE_EVENT_INVALIDATE_FAILED] = "target could not be invalidated",
        [UPDATE_EVENT_INSTALLED] = "installed and read back",
        [UPDATE_EVENT_INSTALL_FAILED] = "installing failed",
        [UPDATE_EVENT_ARMED] = "armed for the next boot",
        [UPDATE_EVENT_ARM_FAILED] = "arming failed",
        [UPDATE_EVENT_DESELECTED] = "another program changed the boot selection",
        [UPDATE_EVENT_REBOOT_DUE] = "reboot due",
        [UPDATE_EVENT_REBOOT_FAILED] = "reboot failed",
        [UPDATE_EVENT_VERDICT_GOOD] = "health checks passed",
        [UPDATE_EVENT_VERDICT_BAD] = "health checks failed",
        [UPDATE_EVENT_MARKED_GOOD] = "marked good",
        [UPDATE_EVENT_MARK_GOOD_FAILED] = "marking good failed",
        [UPDATE_EVENT_REJECTED] = "running slot rejected",
        [UPDATE_EVENT_REJECT_FAILED] = "rejecting failed",
        [UPDATE_EVENT_STOP] = "asked to stop",
        [UPDATE_EVENT_QUIET] = "all work ended",
    };

    assert(kind < UPDATE_EVENT_COUNT);
    return names[kind];
}
