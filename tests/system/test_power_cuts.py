# SPDX-License-Identifier: MIT
"""Power cuts. Every write and flush of an update is logged and every state that a cut could leave is judged: what the loader
starts is whole, and so is whatever it might start. Updaters that were broken on purpose have to be caught."""
import subprocess

import pytest

import broken_updater
import programs
from devices import GrubTwoDisks, is_settled
from logged import LoggedGrub, LoggedGrubTwoDisks, LoggedKernelFiles, LoggedTryboot, LoggedTrybootSet, LoggedUboot, LoggedUki, Verdict


@pytest.fixture
def make_device(guest, installed, folder, nginx, make_machine):
    return lambda kind, **options: kind(folder, guest, installed, nginx, make_machine, **options)


@pytest.fixture
def make_broken(make_device, folder, installed):
    """A device with an updater that has these edits."""
    def make(kind, edits):
        program = next(installed.rglob("sbin/moonsinterd")).relative_to(installed)
        return make_device(kind, mode="install", files={f"/{program}": broken_updater.build(folder / "broken", edits)})
    return make


def go_through(device):
    """Install, arm, trial and mark-good."""
    device.start()
    device.publish(2)
    device.check()
    device.expect_start("b")
    device.machine.wait_status(is_settled(2, "b"), "release 2 is marked good")
    device.machine.cut()
    return Verdict(device)


@pytest.mark.parametrize("kind", [
    pytest.param(LoggedGrub, id="grub"), pytest.param(LoggedGrubTwoDisks, id="grub-two-disks"),
    pytest.param(LoggedUboot, id="uboot", marks=pytest.mark.full),
    pytest.param(LoggedTryboot, id="rpi-tryboot", marks=pytest.mark.full),
    pytest.param(LoggedTrybootSet, id="rpi-tryboot-set", marks=pytest.mark.full),
    pytest.param(LoggedKernelFiles, id="systemd-boot-files", marks=pytest.mark.full),
    pytest.param(LoggedUki, id="systemd-boot-uki", marks=pytest.mark.full)])
def test_every_state_of_an_update_is_safe(make_device, kind):
    device = make_device(kind)
    verdict = go_through(device)
    print(f"{verdict.count} states of {len(verdict.kinds)} kinds judged")
    assert verdict.problems == []
    assert verdict.count > 100 and verdict.selections == set(device.course)
    assert verdict.selection(verdict.last) == device.course[-1] and verdict.last.is_whole("b")


def install(device):
    """Installs release 2, and pulls the plug when it is armed."""
    device.start()
    device.publish(2)
    device.check()
    device.machine.wait_status(lambda status: status["state"] == "reboot-pending" and status["boot"]["next"] == "b",
                               "release 2 is armed")
    device.machine.cut()
    verdict = Verdict(device)
    print(f"{verdict.count} states judged, {len(verdict.problems)} are not safe")
    return verdict


def test_an_updater_without_a_sync_is_caught(make_device, folder):
    """The real one, with its sync of the slot taken away. Only its own disk's flush is one: with everything on one disk, that of
    what selects a slot would make up for it."""
    broken = folder / "usr" / "no-sync.so"
    broken.parent.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", broken, programs.ROOT / "tests/system/no_sync.c"], check=True)
    device = make_device(LoggedGrubTwoDisks, mode="install", files={"/usr/lib/no-sync.so": broken},
                         unit_drop_in="[Service]\nEnvironment=LD_PRELOAD=/usr/lib/no-sync.so\n")
    assert any("slot b is not whole" in problem for problem in install(device).problems)


@pytest.mark.parametrize("kind", [
    pytest.param(LoggedGrub, id="grub"), pytest.param(LoggedUboot, id="uboot", marks=pytest.mark.full),
    pytest.param(LoggedTryboot, id="rpi-tryboot", marks=pytest.mark.full)])
def test_an_updater_that_selects_before_it_writes_is_caught(make_broken, kind):
    """The real one, but that it arms the slot where it should give it up."""
    device = make_broken(kind, broken_updater.ARMS_BEFORE_IT_WRITES)
    assert any("slot b is not whole" in problem for problem in install(device).problems)


@pytest.mark.full
@pytest.mark.parametrize("kind, lacking", [
    pytest.param(LoggedTrybootSet, "b", id="rpi-tryboot-set"), pytest.param(LoggedKernelFiles, "b, b.esp", id="systemd-boot-files")])
def test_an_updater_that_arms_after_the_first_part_is_caught(make_broken, kind, lacking):
    """The real one, but that it takes a set for whole when its boot partition is, or the kernel's file, and without the gate
    before the arming."""
    device = make_broken(kind, broken_updater.ARMS_AFTER_THE_FIRST_PART)
    assert any(f"slot b is not whole ({lacking})" in problem for problem in install(device).problems)


@pytest.mark.full
@pytest.mark.parametrize("kind", [pytest.param(LoggedGrub, id="grub"), pytest.param(LoggedGrubTwoDisks, id="grub-two-disks")])
def test_a_machine_comes_up_from_every_kind_of_state(make_device, kind):
    """One of each is made as disks and started; what was cut short finishes."""
    device = make_device(kind)
    verdict = go_through(device)
    for state in verdict.kinds.values():
        starts, bootable = verdict.selection(state)
        print(f"slot {starts} is started, of {bootable}, slot b is {'' if state.is_whole('b') else 'not '}whole", flush=True)
        device.start_as(verdict.entries, state)
        device.expect_start(starts)
        device.expect_up({"a": 1, "b": 2}[starts], starts)
        device.machine.wait_status(lambda status: status["state"] != "checking", "the daemon is up")
        if starts == "a":
            device.check()
        device.machine.wait_status(is_settled(2, "b"), "release 2 is marked good")
        device.machine.cut()


class FirstFlushFails(GrubTwoDisks):
    """The first flush of the slots' disk fails, as one does that could not write what it had said was written."""

    def drive(self, path, name="disk", boot=True):
        if name != "disk":
            return super().drive(path, name, boot)
        return ["-drive", f"driver=blkdebug,image.driver=raw,image.file.driver=file,image.file.filename={path},"
                "inject-error.0.event=none,inject-error.0.iotype=flush,inject-error.0.errno=5,inject-error.0.once=on,"
                f"if=none,id={name}", "-device", f"virtio-blk-pci,drive={name}"]


@pytest.mark.full
def test_a_flush_that_fails(make_device):
    device = make_device(FirstFlushFails, mode="install")
    device.start()
    device.publish(2)
    device.check()
    status = device.machine.wait_status(lambda status: status["last_error"] or status["state"] == "reboot-pending", "it ends")
    assert status["last_error"]["kind"] == "system" and "/dev/" in status["last_error"]["message"]
    assert "Input/output error" in status["last_error"]["message"]
    assert status["boot"]["next"] == "a" and status["slots"]["b"]["state"] in ("invalid", "bad")
    device.machine.wait_status(lambda status: status["state"] == "idle", "it has given up")
    device.check()
    device.machine.wait_status(lambda status: status["state"] == "reboot-pending" and status["boot"]["next"] == "b",
                               "release 2 is armed")
