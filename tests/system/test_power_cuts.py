"""Power cuts on a machine that GRUB starts. Every write and flush of an update is logged and every state that a cut could
leave is judged: what the loader starts is whole, and so is whatever it might start."""
import pytest

import crash_states
import disks
from devices import GrubDevice, is_settled


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
