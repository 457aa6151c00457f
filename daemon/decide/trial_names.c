/* SPDX-License-Identifier: MIT */
/* The names of the events of daemon/decide/trial.h. */
#include "daemon/decide/trial.h"

const char *trial_event_name(enum trial_event_kind kind)
{
    static const char *const names[TRIAL_EVENT_COUNT] = {
        [TRIAL_EVENT_STARTED_ON_TRIAL] = "started-on-trial",
        [TRIAL_EVENT_STARTED_TO_LEAVE] = "started-to-leave",
        [TRIAL_EVENT_STARTED_SELECTED] = "started-selected",
        [TRIAL_EVENT_FOUND_ARMED] = "found-armed",
        [TRIAL_EVENT_FOUND_LOST] = "found-lost",
        [TRIAL_EVENT_GIVEN_UP] = "given-up",
        [TRIAL_EVENT_ARMING] = "arming",
        [TRIAL_EVENT_ARMED] = "armed",
        [TRIAL_EVENT_ARM_FAILED] = "arm-failed",
        [TRIAL_EVENT_REBOOT_ASKED] = "reboot-asked",
        [TRIAL_EVENT_REBOOT_SEEN] = "reboot-seen",
        [TRIAL_EVENT_REBOOT_FAILED] = "reboot-failed",
        [TRIAL_EVENT_MARKED_GOOD] = "marked-good",
        [TRIAL_EVENT_REJECTING] = "rejecting",
        [TRIAL_EVENT_REJECT_FAILED] = "reject-failed",
        [TRIAL_EVENT_DESELECTED] = "deselected",
        [TRIAL_EVENT_ENDED] = "ended",
    };

    return names[kind];
}
