"""Loop devices: block devices backed by files, so that slots are what they are on a real machine."""
import os
import pathlib
import subprocess

import pytest


def losetup(*arguments):
    return subprocess.run(["losetup", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"})


class Loops:
    """Attaches loop devices and detaches all of them at the end."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.attached = []

    def attach(self, size, name=None, read_only=False):
        """A device of `size` bytes over a sparse file; returns its path. The file is backing(device)."""
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
