"""Devices of which every write and flush is logged, and the judgement of what a power cut may leave on their disks."""
import subprocess

import crash_states
import disks
from devices import GrubDevice, GrubTwoDisks


class Logged:
    """Mixed into a device, in front of its loader's class."""

    def make_disks(self):
        # Path of a disk -> its log, and a copy of it from before the machine was ever on.
        self.logs, self.originals = {}, {}
        self.trace = self.folder / "writes.trace"
        arguments = super().make_disks()
        for path in self.logs:
            self.originals[path] = path.with_suffix(".original")
            subprocess.run(["cp", "--sparse=always", path, self.originals[path]], check=True)
        return arguments + crash_states.traced(self.trace)

    def drive(self, path, name="disk", boot=True):
        self.logs[path] = self.folder / f"{name}.log"
        return crash_states.logged_disk(path, self.logs[path], name, boot)

    def entries(self):
        return crash_states.in_order([crash_states.Log(log, path) for path, log in self.logs.items()], self.trace)

    def region(self, slot, version):
        path = self.disk.path
        return crash_states.Region(path, self.originals[path], self.disk.at[f"root-{slot}"].offset, self.images[version])

    def small(self):
        """The sectors that select a slot."""
        disk, offset, size = self.selector()
        return crash_states.Small(disk.path, self.originals[disk.path], offset, size)


class LoggedGrub(Logged, GrubDevice):
    """Everything on one disk."""

    def selector(self):
        """Disk, offset and size of what selects a slot."""
        return self.boot_disk, disks.find_in(self.boot_disk, "boot", b"# GRUB Environment Block"), 1024

    def selection(self, held):
        """What the loader makes of it: the slot it starts, and all that it might ever start."""
        return disks.grub_selection(held)


class LoggedGrubTwoDisks(LoggedGrub, GrubTwoDisks):
    """What selects a slot is on another disk than the slots, as on boards with SPI flash."""


class Verdict:
    """What came of looking at every state: how many there are, a sentence for each that is not safe, the selections that were
    met, and the last state."""

    def __init__(self, device):
        self.entries = device.entries()
        regions = {"a": device.region("a", 1), "b": device.region("b", 2)}
        self.count, self.problems, self.selections = 0, [], set()
        for number, how, state in crash_states.states(self.entries, regions, device.small()):
            self.count += 1
            starts, bootable = device.selection(bytes(state.held))
            self.selections.add((starts, "".join(sorted(bootable))))
            torn = sorted(slot for slot in bootable if not state.is_whole(slot))
            if torn:
                self.problems.append(f"before entry {number}, {how}: slot {starts} is started, and slot {torn[0]} is not whole")
            self.last = state
        running = [write for write in self.entries if write.size and regions["a"].touches(write)]
        if running:
            self.problems.append(f"{len(running)} writes to the slot that runs")
