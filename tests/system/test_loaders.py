"""Machines that really boot, by each loader: an update over the network, and what becomes of releases that are no good."""
import pytest

import systems
from devices import CmdlineDevice, GrubDevice, SystemdBootDevice, TrybootDevice, UbootDevice, is_settled

# GRUB is in the share that every change has to pass, the others are in the full run.
LOADERS = [pytest.param(GrubDevice, id="grub"), *(
    pytest.param(kind, id=kind.backend, marks=pytest.mark.full)
    for kind in (UbootDevice, SystemdBootDevice, TrybootDevice, CmdlineDevice))]


@pytest.fixture
def device(request, guest, installed, folder, nginx, make_machine):
    return request.param(folder, guest, installed, nginx, make_machine)


@pytest.mark.parametrize("device", LOADERS, indirect=True)
def test_install_over_the_network(device):
    device.start()
    device.publish(2)
    device.check()
    device.expect_start("b")
    device.expect_up(2, "b")
    status = device.machine.wait_status(is_settled(2, "b"), "release 2 is marked good")
    assert status["boot"]["next"] == "b" and not status["boot"]["trial"]
    device.check_kept()
    # Marked good means that it is what starts from now on, whatever ends it.
    device.machine.cut()
    device.machine.start()
    device.expect_start("b")
    device.expect_up(2, "b")


@pytest.mark.parametrize("device, what", [
    pytest.param(GrubDevice, "panic", id="grub-panic"),
    pytest.param(TrybootDevice, "panic", id="rpi-tryboot-panic", marks=pytest.mark.full),
    pytest.param(TrybootDevice, "health", id="rpi-tryboot-health", marks=pytest.mark.full),
    pytest.param(SystemdBootDevice, "health", id="systemd-boot-health", marks=pytest.mark.full)], indirect=["device"])
def test_a_release_that_is_no_good(device, nginx, what):
    files, comes_up, reason = systems.NO_GOOD[what]
    device.start()
    device.publish(2, files)
    device.check()
    device.expect_start("b")
    if not comes_up:
        # The second try: the loader counts it, or the daemon arms it once more.
        if device.one_try:
            device.expect_start("a")
            device.expect_up(1, "a")
        device.expect_start("b")
    device.expect_start("a")
    device.expect_up(1, "a")
    # B tells of it before it reboots, so the last word has to be A's.
    status = device.machine.wait_status(lambda status: status["last_update"] and status["state"] != "checking" and
                                        status["slots"]["a"]["role"] == "active" and
                                        status["last_update"]["result"] == "fell-back", "it is back")
    assert status["slots"]["b"]["state"] == "bad"
    assert status["boot"]["next"] == "a" and reason in status["last_update"]["reason"]
    newest = device.machine.api("GET", "/v1/history")["history"][0]
    assert newest["result"] == "fell-back" and newest["from"] == "2" and reason in newest["reason"]
    # It is not installed again.
    nginx.forget()
    device.check()
    device.machine.wait_status(lambda status: status["state"] == "held" and
                               [block["what"] for block in status["blocked_by"]] == ["failed-before"], "it is held")
    assert nginx.requests("/image") == []


@pytest.mark.full
@pytest.mark.parametrize("device", [pytest.param(SystemdBootDevice, id="systemd-boot")], indirect=True)
def test_before_anything_was_selected(device):
    """A new machine, on which none of the loader's variables is set: slot A it is, and nothing is on trial."""
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
