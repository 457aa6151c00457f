# SPDX-License-Identifier: MIT
"""Loop devices, which are block devices over files, so that slots are what they are on a real machine."""
import hashlib
import os
import pathlib
import subprocess

import pytest


PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PARTITIONS = {"a": 1, "b": 2}  # the number of each slot's partition on a Disk


def system(*command, **options):
    """Runs a program of the system, even if it is only in root's PATH."""
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=options.pop("check", False),
                          env={**os.environ, "PATH": PATH}, **options)


def losetup(*arguments):
    return system("losetup", *arguments)


class Loops:
    """Attaches loop devices and detaches all of them at the end."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.attached = []

    def attach(self, size, name=None, read_only=False):
        """Makes a device of `size` bytes over a sparse file and returns its path. The file is backing(device)."""
        if os.getuid() != 0:
            pytest.skip("loop devices need root")
        backing = self.folder / (name or f"disk-{len(self.attached)}")
        if not backing.exists():
            backing.touch()
            os.truncate(backing, size)
        done = losetup("--find", "--show", *(["--read-only"] if read_only else []), backing)
        if done.returncode != 0:
            pytest.skip(f"this machine gives no loop device: {done.stderr.strip()}")
        device = done.stdout.strip()
        self.attached.append((device, backing))
        return device

    def backing(self, device):
        return dict(self.attached)[device]

    def detach_all(self):
        problems = []
        for device, _ in self.attached:
            done = losetup("--detach", device)
            if done.returncode != 0:
                problems.append(done.stderr.strip())
        self.attached = []
        assert not problems, problems


def seeing_links(links):
    """What stands before a command that is to see the links of this folder in /dev/disk."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
            'mkdir -p /dev/disk\nmount --bind "$1" /dev/disk\nshift\nexec "$@"\n', "sh", str(links)]


class Disk:
    """A disk with a GPT and a partition for each slot, which the kernel knows after plug_in()."""

    def __init__(self, folder, name, size):
        self.backing, self.tag = folder / name, folder.name[-8:]
        with open(self.backing, "wb") as file:
            file.truncate(2 * size + (8 << 20))
        label = "label: gpt\n" + "".join(f'size={size >> 20}MiB, name="{self.name(slot)}"\n' for slot in PARTITIONS)
        system("sfdisk", "-q", self.backing, input=label, check=True)
        self.device = None

    def name(self, slot):
        """The name of a slot's partition: the same on all disks of a test, and another one in any other test."""
        return f"root-{slot}-{self.tag}"

    def plug_in(self):
        done = losetup("--find", "--show", self.backing)
        if done.returncode != 0:
            pytest.skip(f"this machine gives no loop device: {done.stderr.strip()}")
        self.device = done.stdout.strip()
        # A kernel that does not read the table by itself learns of the partitions from partx.
        system("partx", "--add", self.device)
        if not os.path.exists(self.part("b")):
            self.pull_out()
            pytest.skip("this kernel knows no partitions of loop devices")

    def pull_out(self):
        if self.device:
            system("partx", "--delete", self.device)
            assert losetup("--detach", self.device).returncode == 0
            self.device = None

    def part(self, slot):
        return f"{self.device}p{PARTITIONS[slot]}"

    def digest(self, slot):
        with open(self.part(slot), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
