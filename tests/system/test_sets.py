# SPDX-License-Identifier: MIT
"""Machines whose releases are sets: a kernel comes with the root that has its modules, and goes with it."""
import pytest

import set_devices
from mapped_devices import EncryptedRoot, VerityRoot
from devices import is_settled
from set_devices import GrubWithData, KernelFilesSet, TrybootSet, TrybootSetForEach, UkiSet


def kinds(*share):
    """All that bring a kernel; those of `share` are in the share that every change has to pass."""
    names = {TrybootSet: "rpi-tryboot", TrybootSetForEach: "rpi-tryboot-for-each", KernelFilesSet: "systemd-boot-files", UkiSet: "systemd-boot-uki"}
    return [pytest.param(kind, id=name, marks=[] if kind in share else [pytest.mark.full]) for kind, name in names.items()]


@pytest.fixture
def make_device(guest, installed, folder, nginx, make_machine):
    return lambda kind, **options: kind(folder, guest, installed, nginx, make_machine, **options)


def kernel_of(device):
    return device.machine.run("uname -r")


def expect_kernel(device, version, slot):
    """That the kernel runs which that release brought, and its modules were found: what is mounted needs one of them."""
    assert kernel_of(device) == device.kernels[version].release
    assert device.machine.run("ls /lib/modules") == device.kernels[version].release
    device.expect_parts(version, slot)


def take_release(device):
    """Release 2 brings another kernel, comes up in slot B and is marked good; slot A's parts are never touched. The status then."""
    device.publish_set(2, kernel=device.guest.kernels[1])
    device.check()
    device.expect_start("b")
    device.expect_up(2, "b")
    status = device.machine.wait_status(is_settled(2, "b"), "release 2 is marked good")
    expect_kernel(device, 2, "b")
    device.expect_parts(1, "a")
    return status


@pytest.mark.parametrize("kind", kinds(TrybootSet))
def test_a_release_brings_its_kernel(make_device, kind):
    device = make_device(kind)
    device.start()
    assert kernel_of(device) == device.kernels[1].release
    status = take_release(device)
    assert status["boot"]["next"] == "b" and not status["boot"]["trial"]
    # What is good is what starts.
    device.machine.cut()
    device.machine.start()
    device.expect_start("b")
    device.expect_up(2, "b")
    assert kernel_of(device) == device.kernels[2].release


@pytest.mark.parametrize("kind", kinds(TrybootSet))
def test_a_kernel_that_panics(make_device, kind):
    """It is left with its root, and the old kernel runs with the old root."""
    device = make_device(kind)
    device.start()
    device.publish_set(2, kernel=device.guest.kernels[1], panics=True)
    device.check()
    # The second try is moonsinterd's.
    for _ in range(2):
        device.expect_start("b")
        device.machine.expect(set_devices.PANIC_SHOWS)
        device.expect_start("a")
        device.expect_up(1, "a")
    status = device.machine.wait_status(lambda status: (status["last_update"] or {}).get("result") == "fell-back", "it has fallen back")
    assert "never came up" in status["last_update"]["reason"]
    assert status["slots"]["b"]["state"] == "bad" and status["boot"]["next"] == "a"
    assert kernel_of(device) == device.kernels[1].release
    device.expect_parts(1, "a")


@pytest.mark.full
def test_a_part_that_is_data(make_device):
    """With GRUB, and the kernel in the slot. The system finds the one that is its slot's."""
    device = make_device(GrubWithData)
    device.start()
    assert device.machine.run("head -n 1 /dev/app") == "application 1"
    take_release(device)
    assert device.machine.run("head -n 1 /dev/app") == "application 2"


@pytest.mark.full
@pytest.mark.parametrize("kind, target", [(VerityRoot, "CRYPT-VERITY-"), (EncryptedRoot, "CRYPT-LUKS2-")])
def test_a_root_that_is_mapped(make_device, kind, target):
    """Which slot runs is found out through the mapped device, and the other one is written: past dm-verity, and through LUKS."""
    device = make_device(kind)
    device.start()
    told = device.machine.run("findmnt -n -o SOURCE /")
    assert told == "/dev/mapper/root-a"
    assert target in device.machine.run("cat /sys/block/dm-*/dm/uuid")
    take_release(device)
    assert device.machine.run("findmnt -n -o SOURCE /") == "/dev/mapper/root-b"
