"""Power cuts on a machine that GRUB starts. Every write and flush of an update is logged and every state that a cut could
leave is judged: what the loader starts is whole, and so is whatever it might start. An updater that was broken on purpose
has to be caught."""
import subprocess

import pytest

import crash_states
import disks
import programs
from devices import GrubDevice, GrubTwoDisks, is_settled


class Logged(GrubDevice):
    """Everything on one disk, which is logged."""

    def make_disks(self):
        super().make_disks()
        return self.log_disk()

    def log_disk(self):
        self.log_path = self.folder / "writes.log"
        self.regions = {"a": crash_states.Region(self.disk.path, self.disk.at["root-a"].offset, self.images[1])}
        return crash_states.logged_disk(self.disk.path, self.log_path)

    def expect_images(self, version):
        """What slot B should hold in the end."""
        # The disk is still as it was made: nothing has been written to slot B.
        self.regions["b"] = crash_states.Region(self.disk.path, self.disk.at["root-b"].offset, self.images[version])
        self.small = crash_states.Small(self.boot_disk.path, disks.find_in(self.boot_disk, "boot", b"# GRUB Environment Block"),
                                        1024)


class LoggedTwoDisks(GrubTwoDisks):
    """The slots' disk is logged; what selects a slot is on the other."""

    def make_disks(self):
        arguments = super().make_disks()
        self.log_path = self.folder / "writes.log"
        apart = crash_states.logged_disk(self.disk.path, self.log_path, "slots")
        return [word.replace(",bootindex=1", "") for word in apart] + arguments[4:]


def judge(device):
    """Looks at every state; returns how many there are and a sentence for each that is not safe."""
    log = crash_states.Log(device.log_path)
    count, problems = 0, []
    for number, how, state in crash_states.states(log, device.regions, device.small):
        count += 1
        starts, bootable = disks.grub_selection(state.held)
        torn = sorted(slot for slot in bootable if not state.is_whole(slot))
        if torn:
            problems.append(f"before entry {number}, {how}: GRUB starts slot {starts}, and slot {torn[0]} is not whole")
    running = [write for write in log.entries if write.size and device.regions["a"].touches(write)]
    if running:
        problems.append(f"{len(running)} writes to the slot that runs")
    return count, problems, state


@pytest.fixture
def make_device(guest, installed, folder, nginx, make_machine):
    return lambda kind, **options: kind(folder, guest, installed, nginx, make_machine, **options)


def test_every_state_of_an_update_is_safe(make_device):
    """Install, arm, trial and mark-good, on one disk."""
    device = make_device(Logged)
    device.publish(2)
    device.expect_images(2)
    device.start()
    device.check()
    device.expect_start("b")
    device.machine.wait_status(is_settled(2, "b"), "release 2 is marked good")
    device.machine.cut()
    count, problems, last = judge(device)
    print(f"{count} states judged")
    assert problems == []
    assert count > 100 and disks.grub_selection(last.held) == ("b", {"a", "b"}) and last.is_whole("b")


def armed(device):
    """Installs release 2 and pulls the plug as soon as it is armed. Returns whether the slot is safe by then."""
    device.publish(2)
    region = {"b": crash_states.Region(device.disk.path, device.disk.at["root-b"].offset, device.images[2])}
    nothing = crash_states.Small(device.disk.path, 0, 0)
    device.start()
    device.check()
    device.machine.wait_status(lambda status: status["state"] == "reboot-pending" and status["boot"]["next"] == "b",
                               "release 2 is armed")
    device.machine.cut()
    assert disks.grub_selection(disks.read_fat(device.boot_disk.fat("boot"), "grubenv"))[0] == "b"
    log = crash_states.Log(device.log_path)
    *_, (_, _, last) = [(number, how, state.is_whole("b")) for number, how, state in
                        crash_states.states(log, region, nothing, halves=0) if how == "none of the pending writes"]
    return last


def test_what_is_armed_on_another_disk_is_safe(make_device):
    """A flush of the loader's disk does nothing for the slot's, as on boards with SPI flash."""
    assert armed(make_device(LoggedTwoDisks, mode="install"))


def test_an_updater_without_a_sync_is_caught(make_device, folder):
    """The real one, with its sync of the slot taken away."""
    broken = folder / "usr" / "no-sync.so"
    broken.parent.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", broken, programs.ROOT / "tests/system/no_sync.c"], check=True)
    device = make_device(LoggedTwoDisks, mode="install", files={"/usr/lib/no-sync.so": broken},
                         unit_drop_in="[Service]\nEnvironment=LD_PRELOAD=/usr/lib/no-sync.so\n")
    assert not armed(device)
