# SPDX-License-Identifier: MIT
"""Conditions on a daemon's status, for Daemon.wait() and for asserts."""


def whats(status):
    """The rules that hold something up, by their words."""
    return [block["what"] for block in status["blocked_by"]]


def blocks(status):
    """The same, and why: a sentence by its word."""
    return {block["what"]: block["why"] for block in status["blocked_by"]}


def is_armed(status):
    """Slot B boots next."""
    return status["state"] == "reboot-pending" and status["boot"]["next"] == "b"


def is_refused(status):
    return status["last_error"] and status["last_error"]["kind"] == "refused"


def installed(version, slot=None):
    """The release stands in the slot (or in either), verified, and nothing is under way."""
    def condition(status):
        names = [slot] if slot else ["a", "b"]
        return (status["state"] in ("idle", "held", "reboot-pending") and
                any(status["slots"][name]["version"] == version and status["slots"][name]["state"] != "invalid"
                    for name in names))
    return condition


def armed(version, slot):
    """The release stands in the slot, and the next boot takes it."""
    def condition(status):
        return (status["slots"][slot]["version"] == version and status["boot"]["next"] == slot and
                status["state"] == "reboot-pending")
    return condition


def booted(version, slot):
    """The release runs from the slot, is good, and nothing is under way."""
    def condition(status):
        entry = status["slots"][slot]
        return (entry["version"] == version and entry["role"] == "active" and entry["state"] == "good" and
                status["state"] == "idle")
    return condition


def failed_with(*kinds):
    """The last thing that was tried failed, with one of these kinds."""
    def condition(status):
        return (status["last_error"] or {}).get("kind") in kinds and status["state"] in ("idle", "held")
    return condition
