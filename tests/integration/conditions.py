# SPDX-License-Identifier: MIT
"""Conditions on a daemon's status, for Daemon.wait() and for asserts: functions of the status, or what makes one."""


def whats(status):
    """The names of the rules that something is held by."""
    return [block["what"] for block in status["blocked_by"]]


def blocks(status):
    """The sentence of each rule that something is held by, by the rule's name."""
    return {block["what"]: block["why"] for block in status["blocked_by"]}


def is_armed(status):
    """Whether slot B boots next."""
    return status["state"] == "reboot-pending" and status["boot"]["next"] == "b"


def is_refused(status):
    return status["last_error"] and status["last_error"]["kind"] == "refused"


def installed(version, slot=None):
    """Whether the release is in the slot (or in either), verified, and nothing is under way."""
    def condition(status):
        names = [slot] if slot else ["a", "b"]
        return (status["state"] in ("idle", "held", "reboot-pending") and
                any(status["slots"][name]["version"] == version and status["slots"][name]["state"] != "invalid"
                    for name in names))
    return condition


def armed(version, slot):
    """Whether the release is in the slot, and that slot boots next."""
    def condition(status):
        return (status["slots"][slot]["version"] == version and status["boot"]["next"] == slot and
                status["state"] == "reboot-pending")
    return condition


def booted(version, slot):
    """Whether the release runs from the slot and is good, and nothing is under way."""
    def condition(status):
        entry = status["slots"][slot]
        return (entry["version"] == version and entry["role"] == "active" and entry["state"] == "good" and
                status["state"] == "idle")
    return condition


def failed_with(*kinds):
    """Whether the last thing that was tried failed with an error of one of these kinds."""
    def condition(status):
        return (status["last_error"] or {}).get("kind") in kinds and status["state"] in ("idle", "held")
    return condition
