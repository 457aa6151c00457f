# SPDX-License-Identifier: MIT
"""The daemon on each boot loader that goes back by itself, on the machine made of loop devices of loader_machines.py: an
update is tried and marked good, and one that never comes up is left, told of and not tried for ever. The loaders are
played here on the files they read; tests/system boots the real ones."""
import contextlib
import datetime
import os
import re
import shutil

import pytest

import programs
from conditions import blocks
from loader_machines import ROOT, Custom, Grub, LoaderMachine, SystemdBoot, Tryboot, Uboot, armed, attach_slots, publish, results

pytestmark = [pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces and loop devices need root")]


@pytest.fixture(params=[Grub, Uboot, SystemdBoot, Tryboot, Custom], ids=lambda loader: loader.settings["Backend"])
def machine(request, folder, loops, nginx):
    if not shutil.which(request.param.needs):
        pytest.skip(f"{request.param.needs} is not installed")
    slots, borrowed = attach_slots(folder, loops)
    made = LoaderMachine(folder / "machine", nginx.url("image"), slots, borrowed, request.param)
    yield made
    made.close()


@pytest.mark.parametrize("machine", [Grub, Tryboot], indirect=True, ids=["grub", "rpi-tryboot"])
def test_a_loader_that_cannot_be_written_is_told_of_at_the_start(machine):
    """Not by the first update: the service may have less than doctor, which is not in its sandbox."""
    (machine.folder / "read-only").touch()
    assert machine.power_on() == 0
    assert machine.status()["boot"]["next"] == "a"
    # Which mount, of what, and that it is this service's alone.
    path = list(machine.loader.settings.values())[1]
    assert re.search(f"cannot write {path}; /boot/firmware \\(.+\\) is read-only for this service alone; let moonsinterd.service "
                     "write it by a drop-in .*: Read-only file system", machine.log), machine.log
    assert machine.stop() == 0


def test_an_update_is_tried_and_kept_and_one_that_fails_is_left(machine, folder, nginx):
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    status = machine.wait(armed, "release 2 is armed")
    assert status["boot"]["backend"] == machine.loader.settings["Backend"] and status["boot"]["next"] == "b"
    assert status["boot"]["tries_left"] == machine.loader.tries and status["slots"]["b"]["state"] == "trial"
    machine.reboot()

    assert machine.power_on() == 1
    status = machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle",
                          "release 2 is marked good")
    assert status["boot"] == {**status["boot"], "next": "b", "trial": False} and status["slots"]["a"]["role"] == "inactive"
    assert machine.stop() == 0
    for _ in range(4):
        assert machine.power_on() == 1
        assert machine.stop() == 0

    publish(folder, nginx, 3)
    assert machine.power_on() == 1
    failures = 0
    while True:
        status = machine.wait(lambda status: armed(status) or any(block["what"] == "failed-before" for block in
                                                                  status["blocked_by"]), "armed, or held")
        if not armed(status):
            break
        assert status["boot"]["next"] == "a" and status["slots"]["a"]["version"] == "3"
        machine.reboot()
        # It never comes up: as many starts as the loader gives it.
        for _ in range(machine.loader.tries):
            assert machine.power_on(daemon=False) == 0
        assert machine.power_on() == 1, "the loader does not go back"
        failures += 1
        assert failures <= 2, "tried for ever"
    # With one try, a trial without a verdict is made twice.
    assert failures == (1 if machine.loader.tries > 1 else 2)
    code, history = machine.request("GET", "/v1/history")
    assert code == 200 and "fell-back" in str(history)
    assert status["slots"]["b"]["state"] == "good" and status["boot"]["next"] == "b"


def test_a_boot_selection_that_cannot_be_written_does_not_keep_a_slot_that_is_not_fit(machine, folder, nginx):
    """As where the release cannot mount it: the reboot does what the write would have."""
    checks = machine.folder / "boot" / "health.d"
    checks.mkdir(mode=0o755)
    (checks / "10-bad").write_text("#!/bin/sh\necho no camera\nexit 3\n")
    (checks / "10-bad").chmod(0o755)
    machine.configure(f"[Health]\nChecks={ROOT}/health.d\n")
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    machine.wait(armed, "release 2 is armed")
    machine.reboot()
    (machine.folder / "read-only").touch()
    for _ in range(machine.loader.tries):
        assert machine.power_on() == 1
        machine.wait_asked()
        assert machine.stop() == 0
    (machine.folder / "read-only").unlink()
    assert machine.power_on() == 0
    status = machine.wait(lambda status: "failed-before" in blocks(status), "it is held")
    assert status["last_update"]["reason"] == "health check 10-bad failed with exit status 3"
    assert status["last_update"]["output"] == "no camera" and results(machine) == ["installed", "fell-back"]


tryboot = pytest.mark.parametrize("machine", [Tryboot], indirect=True, ids=["rpi-tryboot"])


@tryboot
def test_a_plain_reboot_is_no_try(machine, folder, nginx):
    """Only what the firmware was told to try counts: by moonsinterd, or by whoever rebooted with the argument."""
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    for _ in range(3):
        status = machine.wait(lambda status: armed(status) and status["blocked_by"], "it is armed")
        assert 'systemctl reboot --reboot-argument="0 tryboot"' in blocks(status)["reboot-argument"]
        assert results(machine) == ["installed"], "one that was not tried neither failed nor is told of again and again"
        assert machine.stop() == 0
        assert machine.power_on() == 0
    machine.wait(armed, "it is armed")
    # By hand, as the sentence says. It never comes up.
    (machine.systemd / "reboot-param").write_text("0 tryboot\n")
    assert machine.stop() == 0
    assert machine.power_on(daemon=False) == 1
    assert machine.power_on() == 0
    status = machine.wait(armed, "it is armed once more")
    assert results(machine) == ["installed", "fell-back", "installed"]
    machine.reboot()
    assert machine.power_on(daemon=False) == 1
    assert machine.power_on() == 0
    machine.wait(lambda status: "failed-before" in blocks(status), "two tries are enough")


@tryboot
def test_a_power_cut_before_the_reboot_costs_one_try(machine, folder, nginx):
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    machine.wait(armed, "it is armed")
    # Without a record of it there would be no end of tries.
    in_the_way = machine.folder / "state" / "record.json.new"

    def put_in_the_way():
        with contextlib.suppress(FileExistsError):  # it is being saved right now
            in_the_way.mkdir()
        return in_the_way.is_dir()
    programs.wait_until(put_in_the_way, "the record cannot be saved")
    machine.ask_reboot()
    machine.wait(lambda status: status["last_error"] and "not tried" in status["last_error"]["message"], "it is refused")
    assert not (machine.systemd / "asked").exists()
    in_the_way.rmdir()
    machine.ask_reboot()
    machine.wait_asked()
    machine.kill()
    (machine.systemd / "reboot-param").unlink()
    assert machine.power_on() == 0
    machine.wait(armed, "it is armed once more")
    assert results(machine)[-2:] == ["fell-back", "installed"]
    assert machine.stop() == 0
    assert machine.power_on() == 0
    machine.wait(armed, "a plain reboot costs no try")
    machine.reboot()
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "it is marked good")


@tryboot
def test_a_plain_reboot_before_the_window_is_no_try(machine, folder, nginx):
    day = (datetime.date.today() + datetime.timedelta(days=2)).strftime("%a")
    machine.configure(f"[Update]\nMode=reboot\n[Reboot]\nWindow={day} 12:00-13:00\n")
    publish(folder, nginx, 2)
    for _ in range(4):
        assert machine.power_on() == 0
        status = machine.wait(lambda status: armed(status) and status["blocked_by"], "it waits for its window")
        assert list(blocks(status)) == ["reboot-window"] and results(machine) == ["installed"]
        assert machine.stop() == 0
    machine.configure("[Update]\nMode=reboot\n")
    assert machine.power_on() == 0
    machine.wait_asked()
    assert machine.stop() == 0
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "it is marked good")


@pytest.mark.parametrize("machine", [Grub], indirect=True, ids=["grub"])
def test_a_loader_without_our_script_is_not_rebooted_for_ever(machine, folder, nginx):
    machine.loader.start = lambda: 0
    machine.configure("[Update]\nMode=reboot\n")
    publish(folder, nginx, 2)
    for _ in range(3):
        assert machine.power_on() == 0
        machine.wait_asked()
        assert machine.stop() == 0
    assert machine.power_on() == 0
    status = machine.wait(lambda status: armed(status) and status["blocked_by"], "it is held")
    assert list(blocks(status)) == ["loader-stays"] and not (machine.systemd / "asked").exists()
    # Somebody mended it.
    del machine.loader.start
    machine.reboot()
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "it is marked good")
