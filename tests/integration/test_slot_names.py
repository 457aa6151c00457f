# SPDX-License-Identifier: MIT
"""Names of slots that lead to the wrong place: a machine whose disk has a GPT, a stick with the same names that is
plugged in and pulled out again, and names that an update takes away. The machine is that of loader_machines.py, with
GRUB's environment block as its loader; udev's links are played by the test, which gives a name to whoever came last."""
import json
import os
import shutil
import subprocess

import pytest

import programs
from conditions import blocks
from loader_machines import SIZE, Grub, LoaderMachine, armed, make_root, publish
from loops import PARTITIONS, seeing_links
from releases import make_release

pytestmark = [pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces and loop devices need root")]


class NamedMachine(LoaderMachine):
    """Sees /dev/disk as the test makes it in `links`."""

    def __init__(self, folder, url, disk, borrowed):
        self.disk = disk
        self.names = [f"PARTLABEL={disk.name(slot)}" for slot in PARTITIONS]
        super().__init__(folder, url, [disk.part("a"), disk.part("b")], borrowed, Grub)
        self.links = self.folder / "disk"
        self.links.mkdir()

    def configure(self, more=""):
        super().configure(more)
        path = self.folder / "boot" / "moonsinterd.conf"
        text = path.read_text()
        for number, slot in enumerate(self.slots):
            text = text.replace(f"={slot}\n", f"={self.names[number]}\n")
        path.write_text(text)

    def link(self, folder, name, target):
        (self.links / folder).mkdir(exist_ok=True)
        path = self.links / folder / name
        path.unlink(missing_ok=True)
        if target:
            path.symlink_to(target)

    def link_labels(self, disk):
        for slot in PARTITIONS:
            self.link("by-partlabel", disk.name(slot), disk.part(slot))

    def binds(self):
        return 'mkdir -p "$root/dev/disk"\nmount --bind "$work/disk" "$root/dev/disk"\n'

    def tool(self, *arguments):
        """moonsinterd's own questions, from within a namespace with the same links."""
        conf = self.folder / "outside.conf"
        conf.write_text((self.folder / "boot" / "moonsinterd.conf").read_text()
                        .replace("/boot/firmware", str(self.folder / "boot")))
        return subprocess.run([*seeing_links(self.links), programs.MOONSINTERD, "--config", conf, *arguments],
                              capture_output=True, text=True, check=False)


@pytest.fixture
def machine(folder, disks, nginx):
    first, borrowed = make_root(folder, "factory", 1)
    if not shutil.which("grub-editenv"):
        pytest.skip("grub-editenv is not installed")
    disk = disks("internal", SIZE + (1 << 20))
    with open(disk.part("a"), "r+b") as slot:
        slot.write(first.read_bytes())
    made = NamedMachine(folder / "machine", nginx.url("image"), disk, borrowed)
    made.link_labels(disk)
    yield made
    made.close()


def held(status):
    return "slot-name" in blocks(status)


def findings(machine):
    done = machine.tool("--doctor")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["check"]: line for line in lines if line["event"] == "finding"}, done.returncode


def test_a_stick_with_the_same_names(machine, folder, disks, nginx):
    """It gets udev's link of slot B: nothing is written, neither there nor here, until it is gone."""
    publish(folder, nginx, 2)
    stick = disks("stick", SIZE + (1 << 20))
    machine.link("by-partlabel", stick.name("b"), stick.part("b"))
    before = [disk.digest("b") for disk in (stick, machine.disk)]
    machine.power_on()
    status = machine.wait(held, "it is held")
    why = blocks(status)["slot-name"]
    assert stick.part("b") in why and machine.disk.part("b") in why and machine.names[1] in why
    assert machine.request("POST", "/v1/install")[0] == 202
    machine.wait(lambda status: held(status) and status["state"] == "held", "still held")
    assert [disk.digest("b") for disk in (stick, machine.disk)] == before
    found, code = findings(machine)
    assert found["slot-names"]["result"] == "failure" and stick.part("b") in found["slot-names"]["message"]
    assert found["slot-disks"]["result"] == "warning" and code == 1
    assert machine.tool("--check-config").returncode == 1
    # Pulled out: the next look is enough.
    stick.pull_out()
    machine.link_labels(machine.disk)
    status = machine.wait(armed, "it is installed")
    assert status["slots"]["b"]["device"] == machine.disk.part("b")
    found, _ = findings(machine)
    assert "slot-names" not in found and "slot-disks" not in found
    assert machine.tool("--check-config").returncode == 0


def test_a_stick_that_is_plugged_in_later(machine, folder, disks, nginx):
    publish(folder, nginx, 1)
    machine.power_on()
    machine.wait(lambda status: status["last_check"]["result"] == "up-to-date" or status["state"] == "reboot-pending",
                 "it has looked")
    stick = disks("stick", SIZE + (1 << 20))
    before = stick.digest("b")
    machine.link_labels(stick)
    publish(folder, nginx, 3)
    status = machine.wait(held, "it is held")
    assert stick.part("a") in blocks(status)["slot-name"] and machine.disk.part("a") in blocks(status)["slot-name"]
    assert stick.digest("b") == before
    stick.pull_out()
    machine.link_labels(machine.disk)
    machine.wait(lambda status: armed(status) and status["slots"]["b"]["version"] == "3", "it is installed")


@pytest.mark.parametrize("by", ["operator", "release"])
def test_a_stick_does_not_keep_from_taking_back(machine, folder, disks, nginx, by):
    """Deselecting writes no slot."""
    publish(folder, nginx, 2)
    machine.power_on()
    machine.wait(armed, "release 2 is armed")
    stick = disks("stick", SIZE + (1 << 20))
    before = [disk.digest("b") for disk in (stick, machine.disk)]
    if by == "release":
        publish(folder, nginx, 3)

    def taken_back(status):
        if by == "operator":
            # More than once: it may meet a poll and end only that.
            machine.request("POST", "/v1/cancel")
        return status["boot"]["next"] == "a"
    # The running slot is the machine's own still, by its link. Interval=1s asks by itself.
    status = machine.wait(taken_back, "it is taken back")
    assert status["slots"]["b"]["state"] == "invalid" and status["last_error"] is None
    assert [disk.digest("b") for disk in (stick, machine.disk)] == before


@pytest.mark.parametrize("tag, folder_name", [("LABEL", "by-label"), ("UUID", "by-uuid")])
def test_names_that_an_update_takes_away(machine, folder, nginx, tag, folder_name):
    publish(folder, nginx, 2)
    machine.names = [f"{tag}=name-a", f"{tag}=name-b"]
    machine.configure()
    for slot in PARTITIONS:
        machine.link(folder_name, f"name-{slot}", machine.disk.part(slot))
    before = machine.disk.digest("b")
    machine.power_on()
    status = machine.wait(held, "it is held")
    assert "part of what an update overwrites" in blocks(status)["slot-name"] and status["slots"]["a"]["role"] == "active"
    assert machine.request("POST", "/v1/install")[0] == 202
    machine.wait(lambda status: held(status) and status["state"] == "held", "still held")
    assert machine.disk.digest("b") == before
    found, code = findings(machine)
    assert found["slot-names"]["result"] == "failure" and code == 1
    done = machine.tool("--check-config")
    assert done.returncode == 1 and "slot-name" in done.stderr


def test_two_loop_devices_over_one_file(folder, loops, nginx, make_daemon):
    """The `file` backend runs A and would write B, which is A."""
    url = nginx.publish(make_release(folder / "release", os.urandom(500_000), version="1", serial=1))
    first = loops.attach(2 << 20, "shared")
    second = loops.attach(2 << 20, "shared")
    daemon = make_daemon(url, (first, second))
    daemon.start(wait=False)
    assert daemon.process.wait(60 * programs.PATIENCE) == 1
    assert "the same storage" in daemon.log
    daemon.process = None
    assert loops.backing(first).read_bytes() == bytes(2 << 20)
