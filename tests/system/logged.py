# SPDX-License-Identifier: MIT
"""Devices of which every write and flush is logged, and the judgement of what a power cut may leave on their disks."""
import random
import subprocess

import crash_states
import disks
import esp_states
import raspberry
from devices import GrubDevice, GrubTwoDisks, TrybootDevice, UbootDevice
from set_devices import KernelFilesSet, TrybootSet, UkiSet


class Logged:
    """Mixed into a device, in front of its loader's class."""

    def make_disks(self):
        # Path of a disk -> its log, and a copy of it from before the machine was ever on.
        self.logs, self.originals, self.unlogged, self.flashes = {}, {}, {}, set()
        self.trace = self.folder / "writes.trace"
        arguments = super().make_disks()
        for path in self.logs:
            self.originals[path] = path.with_suffix(".original")
            subprocess.run(["cp", "--sparse=always", path, self.originals[path]], check=True)
        return arguments + crash_states.traced(self.trace)

    def drive(self, path, name="disk", boot=True):
        plain = super().drive(path, name, boot)
        self.logs[path] = self.folder / f"{name}.log"
        logged = crash_states.logged_disk(path, self.logs[path], name, boot)
        self.unlogged.update(zip(logged, plain))
        return logged

    def entries(self):
        return crash_states.in_order([crash_states.Log(log, path, path in self.flashes) for path, log in self.logs.items()], self.trace)

    def region(self, label, image):
        path = self.disk.path
        return crash_states.Region(path, self.originals[path], self.disk.at[label].offset, image)

    def regions(self, slot, version):
        """What has to be right for that slot to be whole, by name."""
        return {slot: self.region(f"root-{slot}", self.images[version])}

    def small(self):
        """The sectors that select a slot."""
        disk, offset, size = self.selector()
        return crash_states.Small(disk.path, self.originals[disk.path], offset, size)

    def start_as(self, entries, state):
        """Starts the machine on disks as they are in that state, without a log."""
        crash_states.make_disks(entries, state, self.originals)
        self.machine.arguments = [self.unlogged.get(word, word) for word in self.machine.arguments]
        self.machine.start()


class LoggedGrub(Logged, GrubDevice):
    """Everything on one disk."""
    # What an update leads through: the slot that is started, and all that might be.
    course = [("a", "a"), ("b", "ab")]

    def selector(self):
        """Disk, offset and size of what selects a slot."""
        return self.boot_disk, disks.find_in(self.boot_disk, "boot", b"# GRUB Environment Block"), 1024

    def selection(self, held):
        """What the loader makes of it: the slot it starts, and all that it might ever start."""
        return disks.grub_selection(held)


class LoggedGrubTwoDisks(LoggedGrub, GrubTwoDisks):
    """What selects a slot is on another disk than the slots, as on boards with SPI flash."""


class LoggedUboot(Logged, UbootDevice):
    """On one disk, with one copy of the environment: one that is torn is made anew by the script, and slot A is started."""
    course = [("a", "a"), ("b", "ab")]

    def selector(self):
        return self.disk, self.disk.at["env"].offset, disks.ENVIRONMENT_BYTES

    def selection(self, held):
        return disks.uboot_selection(held)


class LoggedPi(raspberry.Pi):
    """Each of its reboots starts the emulator anew, which goes on with the log."""

    def start(self, extra=()):
        started = super().start(extra)
        # The size of its sectors is in the log.
        self.arguments = [word.replace(f",log-sector-size={crash_states.SECTOR}", ",log-append=on") for word in self.arguments]
        return started


class LoggedTryboot(Logged, TrybootDevice):
    """On one disk."""
    course = [("a", "a"), ("a", "ab"), ("b", "b")]

    def make_machine(self, make_machine, arguments):
        return make_machine(arguments, kind=LoggedPi, disk=self.disk)

    def selector(self):
        return self.disk, disks.find_in(self.disk, "firmware", b"[all]\ntryboot_a_b=1"), 512

    def selection(self, held):
        return disks.tryboot_selection(held, {self.disk.at[f"boot-{slot}"].number: slot for slot in "ab"})


class LoggedTrybootSet(LoggedTryboot, TrybootSet):
    """With the boot partition as a part: a slot is whole with the boot partition that the firmware starts it from."""

    def regions(self, slot, version):
        return {**super().regions(slot, version), f"{slot}.boot": self.region(f"boot-{slot}", self.part(version, "boot", slot))}


class LoggedEsp(Logged):
    """What selects a slot are the firmware's variables, in its flash."""
    course = [("a", "a"), ("b", "ab"), ("b", "b")]
    # As it is in the file, from its beginning.
    FLASH_BYTES = 0x40000

    def flash(self, path):
        self.logs[path] = self.folder / "flash.log"
        self.logs[path].write_bytes(b"")
        self.flashes.add(path)
        self.flash_path = path
        return ["-drive", f"if=pflash,unit=1,{crash_states.logged(path, self.logs[path])}"]

    def small(self):
        return crash_states.Small(self.flash_path, self.originals[self.flash_path], 0, self.FLASH_BYTES)

    def selection(self, held):
        return esp_states.systemd_boot_selection(held)

    def regions(self, slot, version):
        partition, path = self.disk.at["esp"], self.disk.path
        files = {places["ab".index(slot)].removeprefix("/boot/efi/"): self.part(version, name, slot) for name, places in self.parts.items()}
        return {**super().regions(slot, version),
                f"{slot}.esp": esp_states.FatFiles(path, self.originals[path], partition.offset, partition.size_mib << 20, files)}


class LoggedKernelFiles(LoggedEsp, KernelFilesSet):
    """Kernel and initrd of each slot on the EFI system partition."""


class LoggedUki(LoggedEsp, UkiSet):
    """A unified kernel image of each slot there."""


class Verdict:
    """What came of looking at every state: how many there are, a sentence for each that is not safe, the selections that were
    met, the last state, and of each kind of state (what selects a slot, and whether slot B is whole) one by chance."""

    def __init__(self, device):
        self.device, self.entries = device, device.entries()
        running = device.regions("a", 1)
        regions = {**running, **device.regions("b", 2)}
        self.count, self.problems, self.selections, self.kinds = 0, [], set(), {}
        chance, met = random.Random(1), {}
        for number, how, state in crash_states.states(self.entries, regions, device.small()):
            self.count += 1
            starts, bootable = self.selection(state)
            self.selections.add((starts, bootable))
            for slot in bootable:
                if not state.is_whole(slot):
                    self.problems.append(f"before entry {number}, {how}: slot {starts} is started, and slot {slot} is not whole "
                                         f"({', '.join(state.torn(slot))})")
                    break
            kind = bytes(state.held), state.is_whole("b")
            met[kind] = met.get(kind, 0) + 1
            if chance.random() * met[kind] < 1:
                self.kinds[kind] = state
            self.last = state
        written = [write for write in self.entries if write.size and any(region.touches(write) and not region.is_shared for region in running.values())]
        if written:
            self.problems.append(f"{len(written)} writes to the slot that runs")

    def selection(self, state):
        """The slot that is started in that state, and all that might be, in one word."""
        starts, bootable = self.device.selection(bytes(state.held))
        return starts, "".join(sorted(bootable))
