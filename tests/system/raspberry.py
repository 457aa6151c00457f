# SPDX-License-Identifier: MIT
"""What stands in for a Raspberry Pi's firmware: before each start it reads autoboot.txt, config.txt and cmdline.txt from the FAT
partitions as the firmware does, and starts QEMU with the kernel and the command line that they name. The tryboot flag is
what the kernel says when it reboots with the argument "0 tryboot"; it is good for one start, and gone at a power cut."""
import disks
import machine

FLAG = b"Restarting system with command '0 tryboot'"


def read_settings(text, tryboot, partition=None):
    """KEY=VALUE lines under no section, [all], or [tryboot] when that is tried; the last one counts. `partition`: the number of
    the one that config.txt is read from, which [boot_partition=N] is compared with; None = a firmware that does not know
    that filter, and passes by what it does not know."""
    found, counts = {}, True
    for line in (text or b"").decode(errors="replace").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("["):
            counts = line == "[all]" or (line == "[tryboot]" and tryboot) or line == f"[boot_partition={partition}]"
        elif counts and line.startswith("initramfs "):
            found["initramfs"] = line.split()[1]
        elif counts and "=" in line:
            key, value = line.split("=", 1)
            found[key.strip()] = value.strip()
    return found


class Pi(machine.Machine):
    """A machine whose reboots end the emulator and go through the firmware. `filters`: it knows [boot_partition=N]."""

    def __init__(self, folder, arguments, disk, filters=True, **options):
        super().__init__(folder, [*arguments, "-no-reboot"], **options)
        self.disk, self.filters, self.tryboot = disk, filters, False

    def firmware(self):
        """QEMU's arguments for what the FAT partitions say now; takes the flag."""
        tryboot, self.tryboot = self.tryboot, False
        numbers = {partition.number: label for label, partition in self.disk.at.items()}
        autoboot = read_settings(disks.read_fat(self.disk.fat(numbers[1]), "autoboot.txt"), tryboot)
        number = int(autoboot.get("boot_partition", "1"))
        part = self.disk.fat(numbers[number])
        name = "tryboot.txt" if tryboot and autoboot.get("tryboot_a_b") != "1" else "config.txt"
        config = read_settings(disks.read_fat(part, name), tryboot, number if self.filters else None)
        files = {}
        for key in ("kernel", "initramfs"):
            files[key] = self.folder / key
            content = disks.read_fat(part, config[key])
            assert content, f"the firmware finds no {config[key]}"
            files[key].write_bytes(content)
        cmdline = (disks.read_fat(part, config.get("cmdline", "cmdline.txt")) or b"").split(b"\n")[0].decode().strip()
        assert "root=" in cmdline, f"the firmware finds no root= in cmdline.txt: {cmdline!r}"
        self.console += f"firmware: tryboot {int(tryboot)}, {cmdline.split()[0]}\n".encode()
        return ["-kernel", str(files["kernel"]), "-initrd", str(files["initramfs"]), "-append", cmdline]

    def start(self, extra=()):
        return super().start([*self.firmware(), *extra])

    def ended(self, what):
        self.pump(0)
        flag, seen = FLAG in self.console[self.begun:], self.seen
        self.cut()
        # The console goes on where it was.
        self.tryboot, self.seen = flag, seen
        self.start()

    def cut(self):
        super().cut()
        self.tryboot = False
