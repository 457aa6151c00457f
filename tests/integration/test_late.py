# SPDX-License-Identifier: MIT
"""What comes late: the name of the running slot, the EFI system partition, /etc/machine-id. None of it was there when
moonsinterd started; it goes on by itself when it is, without a restart. And what another program changes meanwhile."""
import fcntl
import os
import shutil

import pytest

from conditions import blocks
from loader_machines import ROOT, SIZE, Grub, LoaderMachine, SystemdBoot, Uboot, armed, attach_slots, make_root, publish, results
from releases import make_release

pytestmark = [pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces and loop devices need root")]


class LateMachine(LoaderMachine):
    """Its slots are named by links in a folder of the test's, where udev's would be; /etc/machine-id is the test's. No
    poll helps: the next one is in an hour."""

    def __init__(self, folder, url, slots, borrowed, loader):
        self.interval, self.os_release = "1h", None
        super().__init__(folder, url, slots, borrowed, loader)
        self.links = self.folder / "links"
        self.links.mkdir()
        (self.folder / "lock").mkdir()
        self.machine_id = self.folder / "machine-id"
        self.machine_id.write_text("0123456789abcdef0123456789abcdef\n")
        self.link("a")
        self.link("b")

    def configure(self, more=""):
        super().configure(more)
        path = self.folder / "boot" / "moonsinterd.conf"
        text = path.read_text().replace("Interval=1s", f"Interval={self.interval}")
        for number, slot in enumerate(self.slots):
            text = text.replace(f"={slot}\n", f"=/tmp/links/{'ab'[number]}\n")
        path.write_text(text)

    def link(self, slot):
        (self.links / slot).symlink_to(self.slots["ab".index(slot)])

    def binds(self):
        os_release = ""
        if self.os_release:
            (self.folder / "os-release").write_text(self.os_release)
            os_release = 'mount --bind "$work/os-release" "$root/etc/os-release"\n'
        return os_release + ('mount -t tmpfs none "$root/tmp"\nmkdir "$root/tmp/links"\nmount --bind "$work/links" "$root/tmp/links"\n'
                'mount --bind "$work/lock" "$root/var/lock"\nmount --bind "$work/machine-id" "$root/etc/machine-id"\n')


@pytest.fixture(params=[Grub])
def machine(request, folder, loops, nginx):
    if not shutil.which(request.param.needs):
        pytest.skip(f"{request.param.needs} is not installed")
    if not os.path.exists("/etc/machine-id"):
        pytest.skip("this machine has no machine-id to be hidden")
    slots, borrowed = attach_slots(folder, loops)
    made = LateMachine(folder / "machine", nginx.url("image"), slots, borrowed, request.param)
    yield made
    made.close()


def test_the_running_version_is_known_from_the_first_boot(machine, folder, nginx):
    """By the system's own word, until something is installed."""
    machine.os_release = "NAME=x\nVERSION_ID=7\nIMAGE_VERSION=\"2026.11\"\n"
    machine.power_on()
    status = machine.wait(lambda status: status["slots"]["a"]["role"] == "active", "slot A runs")
    a, b = status["slots"]["a"], status["slots"]["b"]
    assert (a["version"], a["version_from"], a["serial"], a["sha256"]) == ("2026.11", "os-release", None, None)
    assert (b["version"], b["version_from"]) == (None, None)


def unknown(status):
    return "running-slot-unknown" in blocks(status)


def test_the_name_of_the_running_slot_comes_late(machine, folder, nginx):
    publish(folder, nginx, 2)
    (machine.links / "a").unlink()
    machine.power_on()
    machine.wait(unknown, "which slot runs is not known")
    assert machine.request("POST", "/v1/install")[0] == 202
    machine.wait(lambda status: unknown(status) and status["state"] == "held", "nothing is installed")
    machine.link("a")
    status = machine.wait(armed, "it is installed, without being asked")
    assert status["slots"]["a"]["role"] == "active"


def test_a_slot_that_was_written_by_other_means_and_comes_late(machine, folder, nginx, loops):
    """What is recorded of it is forgotten as at a start in time: it would else be up to date for ever."""
    with open(loops.backing(machine.slots[0]), "rb") as disk:
        content = disk.read(SIZE)
    nginx.publish(make_release(folder / "release-1", content, version="1", serial=1))
    machine.power_on()
    machine.wait(lambda status: status["slots"]["a"]["version"] == "1" and status["state"] == "idle", "it knows what it runs")
    assert machine.stop() == 0
    with open(machine.slots[0], "r+b") as disk:
        disk.write(make_root(folder, "other", 3)[0].read_bytes())
        os.fsync(disk.fileno())
    (machine.links / "a").unlink()
    machine.power_on()
    machine.wait(unknown, "which slot runs is not known")
    machine.link("a")
    status = machine.wait(lambda status: status["last_error"], "it is forgotten")
    # Before anything follows from which slot runs.
    told = machine.log[machine.log.rindex("is known now"):]
    assert " -> " not in told[:told.index("is forgotten")], told
    assert status["last_error"]["kind"] == "mismatch" and status["slots"]["a"]["serial"] is None


def test_the_other_slot_was_written_by_other_means_and_comes_late(machine, folder, nginx, loops):
    """It is compared with the record when it comes, though it was known all the time which slot runs."""
    with open(loops.backing(machine.slots[0]), "rb") as disk:
        content = disk.read(SIZE)
    nginx.publish(make_release(folder / "release-1", content, version="1", serial=1))
    machine.power_on()
    machine.wait(lambda status: status["slots"]["a"]["version"] == "1" and status["state"] == "idle", "it knows what it runs")
    publish(folder, nginx, 2)
    machine.post("check")
    machine.wait(armed, "release 2 is armed")
    machine.reboot()
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "it is marked good")
    assert machine.stop() == 0
    with open(machine.slots[0], "r+b") as disk:
        disk.write(make_root(folder, "other", 3)[0].read_bytes())
        os.fsync(disk.fileno())
    (machine.links / "a").unlink()
    assert machine.power_on() == 1
    status = machine.wait(lambda status: status["state"] == "idle" and status["last_check"]["result"] == "up-to-date", "it runs")
    assert status["slots"]["a"]["version"] == "1" and status["last_error"] is None
    machine.link("a")
    machine.post("check")
    status = machine.wait(lambda status: (status["last_error"] or {}).get("kind") == "mismatch", "it is forgotten")
    assert status["slots"]["a"]["version"] is None and status["slots"]["b"]["version"] == "2"


def test_an_order_looks_anew(machine, folder, nginx):
    """At once, and what was asked for is done."""
    publish(folder, nginx, 2)
    machine.configure()
    path = machine.folder / "boot" / "moonsinterd.conf"
    path.write_text(path.read_text().replace("[Update]\n", "[Update]\nMode=check\n"))
    (machine.links / "a").unlink()
    machine.power_on()
    # Not while the first check still runs: an order in the middle of that is answered by it.
    machine.wait(lambda status: unknown(status) and status["state"] == "held" and status["last_check"]["time"],
                 "which slot runs is not known")
    machine.link("a")
    machine.post("install")
    machine.wait(armed, "it is installed")


def test_the_name_of_a_slot_on_trial_comes_late(machine, folder, nginx):
    """There is a verdict, and no fall-back from a good release."""
    publish(folder, nginx, 2)
    machine.power_on()
    machine.wait(armed, "release 2 is armed")
    machine.reboot()
    (machine.links / "b").unlink()
    assert machine.power_on() == 1
    machine.wait(unknown, "which slot runs is not known")
    assert machine.request("POST", "/v1/mark-good")[0] == 409
    machine.link("b")
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["slots"]["b"]["role"] == "active",
                 "it is marked good")
    assert results(machine) == ["installed", "good"]
    assert machine.stop() == 0
    assert machine.power_on() == 1


def test_the_machine_id_comes_late(machine, folder, nginx):
    nginx.publish(make_release(folder / "2", make_root(folder, "release-2", 2)[0].read_bytes(), version="2", serial=2,
                               options=["--rollout-start", "2026-01-01T00:00:00Z", "--rollout-duration", "1s"]))
    machine.machine_id.write_text("uninitialized\n")
    machine.power_on()
    status = machine.wait(lambda status: "rollout" in blocks(status), "it has no place in the rollout")
    assert "machine-id" in blocks(status)["rollout"]
    machine.machine_id.write_text("0123456789abcdef0123456789abcdef\n")
    machine.post("check")
    machine.wait(armed, "it is installed")


@pytest.mark.parametrize("machine", [SystemdBoot], indirect=True)
def test_the_efi_system_partition_comes_late(machine, folder, nginx):
    """With an entry for slot A only: no slot is armed that has none, and nothing is downloaded for it."""
    publish(folder, nginx, 2)
    machine.loader.settings = {**machine.loader.settings, "Esp": f"{ROOT}/esp"}
    machine.configure()
    entries = machine.folder / "boot" / "esp" / "loader" / "entries"
    machine.power_on()
    status = machine.wait(lambda status: "boot-selection" in blocks(status), "it is not mounted")
    assert f"{ROOT}/esp" in blocks(status)["boot-selection"]
    entries.mkdir(parents=True)
    (entries / "moonsinter-a.conf").write_text("title a\n")
    machine.post("check")
    status = machine.wait(lambda status: "no entry" in blocks(status).get("boot-selection", "") and
                 status["state"] == "held", "slot b has no entry")
    assert nginx.requests("/image") == []
    (entries / "moonsinter-b.conf").write_text("title b\n")
    machine.post("check")
    machine.wait(armed, "it is installed")


def test_another_program_changes_what_boots_next(machine, folder, nginx):
    """It is believed and told, and the update is not armed again behind its back."""
    publish(folder, nginx, 2)
    machine.power_on()
    machine.wait(armed, "release 2 is armed")
    machine.loader.edit("set", "moonsinter_order=A B", "moonsinter_B_left=0")
    status = machine.wait(lambda status: status["state"] != "reboot-pending", "it is seen")
    assert status["state"] == "held" and status["boot"]["next"] == "a"
    assert "another program changed the boot selection" in blocks(status)["boot-selection"]
    assert results(machine) == ["installed", "cancelled"] and "another program" in status["last_update"]["reason"]
    machine.post("check")
    machine.wait(lambda status: "cancelled" in blocks(status), "it is not armed again")
    machine.post("install")
    machine.wait(armed, "but when asked to")


def test_a_boot_selection_that_becomes_unreadable(machine, folder, nginx):
    publish(folder, nginx, 2)
    machine.power_on()
    machine.wait(armed, "release 2 is armed")
    whole = machine.loader.path.read_bytes()
    machine.loader.path.write_bytes(bytes(1024))
    status = machine.wait(lambda status: status["boot"]["next"] is None, "it is seen")
    assert "grubenv" in status["boot"]["note"] and status["state"] == "reboot-pending"
    # In place, as what it is bound to has to stay the same file.
    machine.loader.path.write_bytes(whole)
    status = machine.wait(lambda status: status["boot"]["next"] == "b", "it is read again")
    assert "note" not in status["boot"]


def test_the_name_of_the_running_slot_goes_for_a_while(machine, folder, nginx):
    """What waits for its boot goes on waiting, and nobody is said to have changed anything."""
    publish(folder, nginx, 2)
    machine.power_on()
    machine.wait(armed, "release 2 is armed")
    (machine.links / "a").unlink()
    status = machine.wait(lambda status: "active" not in [slot["role"] for slot in status["slots"].values()], "it is not found")
    assert status["state"] == "reboot-pending" and "boot-selection" not in blocks(status)
    machine.post("check")
    status = machine.wait(lambda status: unknown(status) and status["state"] != "checking", "that is told")
    assert status["state"] == "reboot-pending"
    machine.link("a")
    machine.post("check")
    status = machine.wait(lambda status: armed(status) and not unknown(status), "it is found again")
    assert status["boot"]["next"] == "b" and results(machine) == ["installed"]
    machine.post("cancel")
    machine.wait(lambda status: status["state"] == "held" and status["boot"]["next"] == "a", "it can be taken back")


def test_deselected_and_selected_again_by_another_program(machine, folder, nginx):
    publish(folder, nginx, 2)
    machine.power_on()
    machine.wait(armed, "release 2 is armed")
    whole = machine.loader.path.read_bytes()
    machine.loader.edit("set", "moonsinter_order=A B", "moonsinter_B_left=0")
    machine.wait(lambda status: status["state"] == "held", "it is seen")
    machine.loader.path.write_bytes(whole)
    machine.post("check")
    status = machine.wait(lambda status: status["state"] == "reboot-pending", "so is that")
    assert status["boot"]["next"] == "b"
    assert machine.request("POST", "/v1/cancel")[0] == 202
    machine.wait(lambda status: status["state"] == "held" and status["boot"]["next"] == "a", "it can be taken back")


def test_armed_and_overwritten_while_nobody_looked(machine, folder, nginx, loops):
    """The server offers what runs, so nothing is installed over it. It is deselected all the same."""
    size = make_root(folder, "length", 1)[0].stat().st_size
    with open(loops.backing(machine.slots[0]), "rb") as disk:
        first = make_release(folder / "first", disk.read(size), version="1", serial=1)
    nginx.publish(first)
    machine.power_on()
    machine.wait(lambda status: status["last_check"]["result"] == "up-to-date", "it runs release 1")
    publish(folder, nginx, 2)
    machine.post("check")
    machine.wait(armed, "release 2 is armed")
    assert machine.stop() == 0
    with open(machine.slots[1], "r+b") as slot:
        slot.write(os.urandom(size))
        slot.flush()
        os.fsync(slot.fileno())
    nginx.publish(first)
    # In the same boot.
    machine.loader.start, machine.boots = lambda: 0, machine.boots - 1
    machine.power_on()
    status = machine.wait(lambda status: status["state"] == "idle", "it is deselected")
    assert status["boot"]["next"] == "a" and status["slots"]["b"]["state"] == "invalid"
    assert results(machine) == ["installed", "cancelled"]


def test_one_reason_is_told_once(machine, folder, nginx):
    """What boots next is not known: that holds the reboot and the next installation."""
    publish(folder, nginx, 2)
    machine.configure()
    path = machine.folder / "boot" / "moonsinterd.conf"
    path.write_text(path.read_text().replace("[Update]\n", "[Update]\nMode=reboot\n") + "[Reboot]\nWindow=Mon 02:00-02:01\n")
    machine.power_on()
    machine.wait(armed, "release 2 is armed")
    machine.loader.path.write_bytes(bytes(1024))
    publish(folder, nginx, 3)
    machine.post("check")
    status = machine.wait(lambda status: "boot-selection" in blocks(status) and status["update"]["version"] == "3" and
                          status["state"] == "reboot-pending", "that is told")
    whats = [block["what"] for block in status["blocked_by"]]
    assert whats.count("boot-selection") == 1, status["blocked_by"]


@pytest.mark.parametrize("machine", [Uboot], indirect=True)
def test_whoever_keeps_the_lock_of_the_environment(machine, folder, nginx):
    """moonsinterd starts and says so; nothing is installed, and a verdict is written as soon as it can be."""
    publish(folder, nginx, 2)
    lock = machine.folder / "lock" / "fw_printenv.lock"
    with open(lock, "w", encoding="ascii") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        machine.power_on()
        status = machine.wait(lambda status: "boot-selection" in blocks(status), "it is held", timeout=300)
        assert "another program holds" in blocks(status)["boot-selection"] and status["boot"]["next"] == "a"
        assert nginx.requests("/image") == []
    machine.post("check")
    machine.wait(armed, "it is installed", timeout=300)
    machine.reboot()
    with open(lock, "w", encoding="ascii") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert machine.power_on() == 1
        machine.wait(lambda status: status["state"] == "trial" and status["last_error"], "the verdict is not written", timeout=300)
        assert "another program holds" in machine.status()["last_error"]["message"]
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "now it is", timeout=300)
    assert results(machine) == ["installed", "good"]


def test_a_loader_that_cannot_be_written_is_found_before_the_download(machine, folder, nginx):
    publish(folder, nginx, 2)
    (machine.folder / "read-only").touch()
    machine.power_on()
    status = machine.wait(lambda status: "boot-selection" in blocks(status), "it is held")
    assert "Read-only file system" in blocks(status)["boot-selection"] and nginx.requests("/image") == []
