# SPDX-License-Identifier: MIT
"""Parts of a set that are files on a mounted partition, as a boot loader reads them there: on machines that really run from
slot A, with a partition of files at /boot/firmware/esp."""
import json
import pathlib
import subprocess

import pytest

import images
from conditions import whats
from loader_machines import Grub, LoaderMachine, armed, attach_slots, make_root
from set_site import Site

pytestmark = pytest.mark.slow

ESP = "/boot/firmware/esp"
KERNEL_SIZE = 3_000_000


class EspMachine(LoaderMachine):
    def __init__(self, folder, url, slots, borrowed, esp):
        self.esp, self.options = esp, "rw"
        super().__init__(folder, url, slots, borrowed, Grub)
        (self.folder / "boot" / "esp").mkdir()

    def binds(self):
        return f'mount -o {self.options} "{self.esp}" "$root{ESP}"\n'

    def place(self, a=f"{ESP}/kernel-a", b=f"{ESP}/kernel-b"):
        self.configure(f"[Part kernel]\nA={a}\nB={b}\n")

    def seen(self, path):
        """A file as the running machine sees it."""
        return pathlib.Path(f"/proc/{self.pid}/root{path}")


def kernel(number):
    return images.noise(KERNEL_SIZE, f"kernel {number}")


def publish(folder, site, number):
    part = site.image(f"kernel-{number}", kernel(number))
    site.image("root.img", make_root(folder, f"release-{number}", number)[0].read_bytes())
    return site.set("root.img", f"kernel={part}", options=("--version", str(number), "--serial", str(number)))


@pytest.fixture
def machine(folder, nginx, loops, request):
    """On its partition lie the running kernel, an old one for slot B that is longer than the next, and what the test wants."""
    slots, borrowed = attach_slots(folder, loops)
    (folder / "esp").mkdir()
    (folder / "esp" / "kernel-a").write_bytes(kernel("factory"))
    (folder / "esp" / "kernel-b").write_bytes(images.noise(KERNEL_SIZE + 100_000, "an older kernel"))
    (folder / "esp" / "link").symlink_to("kernel-c")
    size = getattr(request, "param", 16 << 20)
    esp = loops.attach(size, "esp-disk")
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-d", folder / "esp", esp], check=True)
    machine = EspMachine(folder / "machine", publish(folder, Site(nginx.www, nginx.url), 2), slots, borrowed, esp)
    yield machine
    machine.close()


def test_kernels_as_files(machine):
    """Overwritten where they are, cut to their length, and the running one is left alone."""
    machine.place()
    assert machine.power_on() == 0
    inode = machine.seen(f"{ESP}/kernel-b").stat().st_ino
    machine.wait(armed, "the set is armed")
    assert machine.seen(f"{ESP}/kernel-b").read_bytes() == kernel(2)
    assert machine.seen(f"{ESP}/kernel-b").stat().st_ino == inode, "it is not replaced by another file"
    assert machine.seen(f"{ESP}/kernel-a").read_bytes() == kernel("factory")
    machine.reboot()
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good", "it is marked good")


def test_a_kernel_that_is_not_there_yet_is_made(machine):
    machine.place(b=f"{ESP}/kernel-c")
    assert machine.power_on() == 0
    machine.wait(armed, "the set is armed")
    assert machine.seen(f"{ESP}/kernel-c").read_bytes() == kernel(2)


WRONG = {
    "a place on the root file system": ("/var/kernel-b", "rw", "nothing else is mounted on /var"),
    "a folder that is missing": (f"{ESP}/linux/kernel-b", "rw", f"the folder {ESP}/linux"),
    "a link": (f"{ESP}/link", "rw", "symbolic link"),
    "a partition that is read-only": (f"{ESP}/kernel-b", "ro", "read-only"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_place_that_cannot_be_written_to(machine, loops, what):
    path, machine.options, told = WRONG[what]
    before = loops.backing(machine.slots[1]).read_bytes(), loops.backing(machine.esp).read_bytes()
    machine.place(b=path)
    assert machine.power_on() == 0
    status = machine.wait(lambda status: told in json.dumps(status), "it says why not")
    assert not armed(status) and status["boot"]["next"] == "a"
    assert machine.stop() == 0
    assert loops.backing(machine.slots[1]).read_bytes() == before[0], "the slot is not written either"
    if machine.options == "ro":
        assert loops.backing(machine.esp).read_bytes() == before[1]


@pytest.mark.parametrize("machine", [7 << 20], indirect=True)
def test_a_partition_that_is_full(machine, loops):
    """Said before anything is downloaded."""
    before = loops.backing(machine.slots[1]).read_bytes()
    machine.place(b=f"{ESP}/kernel-c")
    assert machine.power_on() == 0
    status = machine.wait(lambda status: "does not fit into part kernel of slot b" in json.dumps(status), "it says why not")
    assert whats(status) == ["slot-too-small"], status
    assert loops.backing(machine.slots[1]).read_bytes() == before


def test_a_kernel_of_both_slots(machine):
    machine.place(b=f"{ESP}/kernel-a")
    with pytest.raises(AssertionError, match="are the same"):
        machine.power_on()
