# SPDX-License-Identifier: MIT
"""Machines that really boot, by each loader: an update over the network, and what becomes of releases that are no good. A
machine goes from test to test (see `device`), so most of them meet one that has been through something."""
import pytest

import systems
from devices import CmdlineDevice, GrubDevice, SystemdBootDevice, TrybootDevice, UbootDevice, is_settled


def loaders(*kinds):
    """Parameters of `bench`. GRUB is in the share that every change has to pass, the others are in the full run."""
    marks = {GrubDevice: []}
    return [pytest.param(kind, id=kind.backend, marks=marks.get(kind, [pytest.mark.full])) for kind in kinds]


WITH_A_WAY_BACK = loaders(GrubDevice, UbootDevice, SystemdBootDevice, TrybootDevice)


@pytest.mark.parametrize("what", ["health", "panic", pytest.param("hang", marks=pytest.mark.full),
                                  pytest.param("stuck", marks=pytest.mark.full)])
@pytest.mark.parametrize("bench", WITH_A_WAY_BACK, indirect=True)
def test_a_release_that_is_no_good(device, what):
    no_good = systems.NO_GOOD[what]
    version = device.publish_next(no_good.files)
    device.check()
    for number in range(no_good.tries):
        # The second try: the loader counts it, or the daemon arms it once more.
        if number > 0 and device.one_try:
            device.expect_old()
        device.expect_start(device.other_slot)
        if number == 0:
            device.nginx.forget()
        if no_good.shows:
            device.machine.expect(no_good.shows)
        if no_good.stands_still:
            device.machine.cut()
            device.machine.start()
    device.expect_old()
    expect_told(device, version, no_good)


def expect_told(device, version, no_good):
    """Status and history say which release failed and why, and it is not installed again."""
    # It has looked at the server once more by then. In its trial it tells of what failed as well, so the last word has to be
    # that of the old one.
    status = device.machine.wait_status(
        lambda status: (status["state"] == "held" and [block["what"] for block in status["blocked_by"]] == ["failed-before"] and
                        status["slots"][device.slot]["role"] == "active"), "the old release holds the new one")
    assert status["slots"][device.other_slot]["state"] == "bad" and status["boot"]["next"] == device.slot
    assert status["last_update"]["result"] == "fell-back" and no_good.reason in status["last_update"]["reason"]
    newest = device.machine.api("GET", "/v1/history")["history"][0]
    assert (newest["result"], newest["from"], newest["to"]) == ("fell-back", str(version), str(device.version))
    assert no_good.reason in newest["reason"] and newest.get("output") == no_good.output
    # Nor was anything downloaded since the first try began.
    assert device.nginx.requests("/image") == []


@pytest.mark.parametrize("bench", [*WITH_A_WAY_BACK, *loaders(CmdlineDevice)], indirect=True)
def test_install_over_the_network(device):
    version, slot = device.publish_next(), device.other_slot
    device.check()
    device.expect_start(slot)
    device.expect_up(version, slot)
    status = device.machine.wait_status(is_settled(version, slot), "the release is marked good")
    assert status["boot"]["next"] == slot and not status["boot"]["trial"]
    device.check_kept()
    device.slot, device.version = slot, version
    # Marked good means that it is what starts from now on, whatever ends it.
    device.machine.cut()
    device.machine.start()
    device.expect_old()


@pytest.mark.full
def test_before_anything_was_selected(folder, guest, installed, nginx, make_machine):
    """By systemd-boot, on a new machine, where none of the loader's variables is set: slot A it is, and nothing is on trial."""
    device = SystemdBootDevice(folder, guest, installed, nginx, make_machine)
    status = device.start()
    assert device.machine.run("cd /sys/firmware/efi/efivars && ls | grep -e LoaderEntryDefault -e LoaderEntryOneShot",
                              check=False) == ""
    assert status["boot"]["next"] == "a" and not status["boot"]["trial"]
    assert status["slots"]["a"]["role"] == "active"
    # Nor is anything wrong with the loader; that no release is published yet is another matter.
    told = device.machine.run("moonsinter doctor", check=False)
    found = [line.split(maxsplit=2) for line in told.splitlines() if " boot-loader: " in line]
    assert {"slot a has the entry moonsinter-a.conf", "slot b has the entry moonsinter-b.conf"} <= {line[2] for line in found}
    assert not [line for line in found if line[0] == "FAILURE"], told
