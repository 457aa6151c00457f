# SPDX-License-Identifier: MIT
"""The daemon on each boot loader that goes back by itself, on the machine made of loop devices of test_rpi_cmdline: an
update is tried and marked good, and one that never comes up is left, told of and not tried for ever. The loaders are
played here on the files they read; tests/system boots the real ones."""
import contextlib
import datetime
import os
import re
import shutil
import subprocess
import zlib

import pytest

import programs
from releases import make_release
from test_rpi_cmdline import BOOT, SIZE, Machine, make_root

pytestmark = [pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces and loop devices need root")]

GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
ROOT = "/boot/firmware"  # where the machine sees `folder`
BINDS = ('mount --bind "$work/boot_id" "$root/proc/sys/kernel/random/boot_id"\n'
         'mount --bind "$work/systemd" "$root/run/systemd"\n'
         'mount -t tmpfs none "$root/var/lock"\n'
         '[ ! -e "$work/read-only" ] || mount -o remount,bind,ro "$root/boot/firmware"\n')
# What systemctl leaves behind for the end of the machine, which a test brings about.
SYSTEMCTL = """#!/bin/sh
[ "$1 $2" = "--no-block reboot" ] || exit 64
[ $# = 2 ] || echo "${3#--reboot-argument=}" > /run/systemd/reboot-param
touch /run/systemd/asked
"""


class Grub:
    settings = {"Backend": "grub", "GrubenvFile": f"{ROOT}/grubenv", "Tries": "2"}
    needs = "grub-editenv"
    tries = 2

    def __init__(self, folder):
        self.path = folder / "grubenv"
        self.edit("create")

    def edit(self, *arguments):
        return subprocess.run(["grub-editenv", self.path, *arguments], check=True, capture_output=True, text=True).stdout

    def start(self):
        """What conf/grub.cfg does: the slot that is started."""
        known = dict(line.split("=", 1) for line in self.edit("list").splitlines())
        for slot in known.get("moonsinter_order", "A B").split():
            left = int(known.get(f"moonsinter_{slot}_left", 0))
            if known.get(f"moonsinter_{slot}_ok", "1") == "1":
                return "AB".index(slot)
            if left:
                self.edit("set", f"moonsinter_{slot}_left={left - 1}")
                return "AB".index(slot)
        raise AssertionError(known)


class Uboot:
    """With RAUC's own way of counting, which takes a start from good slots, too."""
    settings = {"Backend": "uboot", "FwEnvConfig": f"{ROOT}/fw_env.config", "Tries": "2"}
    needs = "fw_setenv"
    tries = 2

    def __init__(self, folder):
        self.folder = folder
        data = b"BOOT_ORDER=A B\0BOOT_A_LEFT=3\0BOOT_B_LEFT=3\0".ljust(4091, b"\0")
        (folder / "env").write_bytes(zlib.crc32(data).to_bytes(4, "little") + b"\1" + data + bytes(4096))
        for name, place in (("fw_env.config", ROOT), ("outside.config", folder)):
            (folder / name).write_text(f"{place}/env 0 0x1000\n{place}/env 0x1000 0x1000\n")

    def tool(self, name, *arguments):
        return subprocess.run([name, "-c", self.folder / "outside.config", *arguments], check=True, capture_output=True,
                              text=True).stdout

    def start(self):
        known = dict(line.split("=", 1) for line in self.tool("fw_printenv").splitlines())
        for slot in known["BOOT_ORDER"].split():
            left = int(known[f"BOOT_{slot}_LEFT"], 16)
            if left:
                self.tool("fw_setenv", f"BOOT_{slot}_LEFT", f"{left - 1:x}")
                return "AB".index(slot)
        raise AssertionError(known)


class SystemdBoot:
    settings = {"Backend": "systemd-boot", "EfiVariables": f"{ROOT}/efivars"}
    needs = "sh"
    tries = 1

    def __init__(self, folder):
        self.folder = folder / "efivars"
        self.folder.mkdir()

    def start(self):
        chosen = "moonsinter-a.conf"
        for name in ("LoaderEntryDefault", "LoaderEntryOneShot"):
            path = self.folder / f"{name}-{GUID}"
            if path.exists():
                chosen = path.read_bytes()[4:].decode("utf-16-le").split("\0")[0]
        (self.folder / f"LoaderEntryOneShot-{GUID}").unlink(missing_ok=True)
        (self.folder / f"LoaderEntrySelected-{GUID}").write_bytes(b"\6\0\0\0" + chosen.encode("utf-16-le") + b"\0\0")
        return ["moonsinter-a.conf", "moonsinter-b.conf"].index(chosen)


class Tryboot:
    """The flag is what the kernel was told at its end, and good for one start."""
    settings = {"Backend": "rpi-tryboot", "AutobootFile": f"{ROOT}/autoboot.txt"}
    needs = "sh"
    tries = 1

    def __init__(self, folder):
        self.path = folder / "autoboot.txt"
        self.path.write_bytes(b"[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=2\n"
                              b"# moonsinter: armed in boot 00000000\n")
        self.parameter = folder.parent / "systemd" / "reboot-param"

    def start(self):
        flag = self.parameter.exists() and self.parameter.read_text() == "0 tryboot\n"
        usual, tried = (int(line.partition("=")[2]) for line in self.path.read_text().splitlines()
                        if line.startswith("boot_partition="))
        return (tried if flag else usual) - 2


class Custom:
    settings = {"Backend": "custom", "Program": f"{ROOT}/select-slot"}
    needs = "sh"
    tries = 1
    program = """#!/bin/sh
cd %s/slots || exit 1
put() { echo "$2" > "$1.new" && sync "$1.new" && mv "$1.new" "$1"; }
case $1 in
get-primary) cat primary ;;
set-primary) put primary "$2" ;;
get-state) cat "$2" ;;
set-state) put "$2" "$3" ;;
get-current) cat current ;;
*) exit 64 ;;
esac
"""

    def __init__(self, folder):
        self.folder = folder / "slots"
        self.folder.mkdir()
        for name, text in (("A", "good"), ("B", "good"), ("primary", "A"), ("current", "A")):
            (self.folder / name).write_text(text + "\n")
        (folder / "select-slot").write_text(self.program % ROOT)
        os.chmod(folder / "select-slot", 0o755)
        self.started = None

    def start(self):
        """One start for a slot that is not good."""
        slot = (self.folder / "primary").read_text().strip()
        if (self.folder / slot).read_text().strip() != "good":
            if self.started == slot:
                slot = "AB"["BA".index(slot)]
                (self.folder / "primary").write_text(slot + "\n")
            self.started = slot
        (self.folder / "current").write_text(slot + "\n")
        return "AB".index(slot)


class LoaderMachine(Machine):
    def __init__(self, folder, url, slots, borrowed, loader):
        super().__init__(folder, url, slots, borrowed)
        self.systemd = self.folder / "systemd"
        (self.systemd / "system").mkdir(parents=True)
        self.loader = loader(self.folder / "boot")
        self.boots = 0
        self.configure()
        (self.folder / "boot" / "systemctl").write_text(SYSTEMCTL)
        os.chmod(self.folder / "boot" / "systemctl", 0o755)

    def configure(self, more=""):
        lines = "".join(f"{key}={value}\n" for key, value in self.loader.settings.items())
        (self.folder / "boot" / "moonsinterd.conf").write_text(
            f"[Update]\nUrl={self.url}\nInterval=1s\nRandomizedDelay=0\n[Slots]\nA={self.slots[0]}\nB={self.slots[1]}\n"
            f"[Boot]\n{lines}[Api]\nSocket=/run/moonsinter/moonsinterd.sock\n"
            f"[Storage]\nStateDirectory=/var/lib/moonsinter\n{more}")

    def binds(self):
        """Lines of the script that sets the machine up, for tests that need more of it."""
        return ""

    def wait_asked(self):
        """Until the machine was told to reboot."""
        self.wait(lambda _: (self.systemd / "asked").exists(), "the reboot is asked for")

    def ask_reboot(self):
        """As an operator does it; it is refused while the server is being asked, each second."""
        programs.wait_until(lambda: self.request("POST", "/v1/reboot")[0] == 202, "the reboot is accepted")

    def reboot(self):
        """What is left to do is to start it."""
        self.ask_reboot()
        self.wait_asked()
        assert self.stop() == 0

    def power_on(self, daemon=True):
        """The loader starts a slot, whose daemon runs or never comes up. Returns the slot's number."""
        slot = self.loader.start()
        for name in ("asked", "reboot-param"):
            (self.systemd / name).unlink(missing_ok=True)
        self.boots += 1
        if not daemon:
            return slot
        (self.folder / "cmdline").write_text(f"root={self.slots[slot]} rootwait\n")
        (self.folder / "boot_id").write_text(f"{self.boots:08x}-9a12-4de0-a9d1-8e49da1b1e5f\n")
        script = self.folder / "boot.sh"
        script.write_text((BOOT % " ".join(self.borrowed)).replace("exec chroot", BINDS + self.binds() + "exec chroot"))
        self.start(prefix=["unshare", "--mount", "--propagation", "private", "sh", str(script), str(self.folder / "root"),
                           self.slots[slot], str(self.folder)], arguments=["--config", f"{ROOT}/moonsinterd.conf"],
                   env={**os.environ, "PATH": f"{ROOT}:{os.environ['PATH']}"})
        return slot


@pytest.fixture(params=[Grub, Uboot, SystemdBoot, Tryboot, Custom], ids=lambda loader: loader.settings["Backend"])
def machine(request, folder, loops, nginx):
    if not shutil.which(request.param.needs):
        pytest.skip(f"{request.param.needs} is not installed")
    if subprocess.run(["unshare", "--mount", "--propagation", "private", "true"], capture_output=True,
                      check=False).returncode != 0:
        pytest.skip("this machine allows no mount namespace")
    first, borrowed = make_root(folder, "factory", 1)
    slots = [loops.attach(SIZE + (1 << 20)) for _ in range(2)]
    with open(loops.backing(slots[0]), "r+b") as disk:
        disk.write(first.read_bytes())
    made = LoaderMachine(folder / "machine", nginx.url("image"), slots, borrowed, request.param)
    yield made
    made.close()


def publish(folder, nginx, number):
    nginx.publish(make_release(folder / str(number), make_root(folder, f"release-{number}", number)[0].read_bytes(),
                               version=str(number), serial=number))


def armed(status):
    return status["state"] == "reboot-pending" and status["slots"][status["boot"]["next"]]["role"] == "inactive"


@pytest.mark.parametrize("machine", [Grub, Tryboot], indirect=True, ids=["grub", "rpi-tryboot"])
def test_a_loader_that_cannot_be_written_is_told_of_at_the_start(machine):
    """Not by the first update: the service may have less than doctor, which is not in its sandbox."""
    (machine.folder / "read-only").touch()
    assert machine.power_on() == 0
    assert machine.status()["boot"]["next"] == "a"
    # Which mount, of what, and that it is this service's alone.
    path = list(machine.loader.settings.values())[1]
    assert re.search(f"cannot write {path}; /boot/firmware \\(.+\\) is read-only for this service alone; let moonsinterd.service "
                     "write it by its drop-in .*: Read-only file system", machine.log), machine.log
    assert machine.stop() == 0


def test_an_update_is_tried_and_kept_and_one_that_fails_is_left(machine, folder, nginx):
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    status = machine.wait(armed, "release 2 is armed")
    assert status["boot"]["backend"] == machine.loader.settings["Backend"] and status["boot"]["next"] == "b"
    assert status["boot"]["tries_left"] == machine.loader.tries and status["slots"]["b"]["state"] == "trial"
    machine.reboot()

    assert machine.power_on() == 1
    status = machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle",
                          "release 2 is marked good")
    assert status["boot"] == {**status["boot"], "next": "b", "trial": False} and status["slots"]["a"]["role"] == "inactive"
    assert machine.stop() == 0
    for _ in range(4):
        assert machine.power_on() == 1
        assert machine.stop() == 0

    publish(folder, nginx, 3)
    assert machine.power_on() == 1
    failures = 0
    while True:
        status = machine.wait(lambda status: armed(status) or any(block["what"] == "failed-before" for block in
                                                                  status["blocked_by"]), "armed, or held")
        if not armed(status):
            break
        assert status["boot"]["next"] == "a" and status["slots"]["a"]["version"] == "3"
        machine.reboot()
        # It never comes up: as many starts as the loader gives it.
        for _ in range(machine.loader.tries):
            assert machine.power_on(daemon=False) == 0
        assert machine.power_on() == 1, "the loader does not go back"
        failures += 1
        assert failures <= 2, "tried for ever"
    # With one try, a trial without a verdict is made twice.
    assert failures == (1 if machine.loader.tries > 1 else 2)
    code, history = machine.request("GET", "/v1/history")
    assert code == 200 and "fell-back" in str(history)
    assert status["slots"]["b"]["state"] == "good" and status["boot"]["next"] == "b"


def test_a_boot_selection_that_cannot_be_written_does_not_keep_a_slot_that_is_not_fit(machine, folder, nginx):
    """As where the release cannot mount it: the reboot does what the write would have."""
    checks = machine.folder / "boot" / "health.d"
    checks.mkdir(mode=0o755)
    (checks / "10-bad").write_text("#!/bin/sh\necho no camera\nexit 3\n")
    (checks / "10-bad").chmod(0o755)
    machine.configure(f"[Health]\nChecks={ROOT}/health.d\n")
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    machine.wait(armed, "release 2 is armed")
    machine.reboot()
    (machine.folder / "read-only").touch()
    for _ in range(machine.loader.tries):
        assert machine.power_on() == 1
        machine.wait_asked()
        assert machine.stop() == 0
    (machine.folder / "read-only").unlink()
    assert machine.power_on() == 0
    status = machine.wait(lambda status: "failed-before" in blocks(status), "it is held")
    assert status["last_update"]["reason"] == "health check 10-bad failed with exit status 3"
    assert status["last_update"]["output"] == "no camera" and results(machine) == ["installed", "fell-back"]


def results(machine):
    """The outcomes in the history, oldest first."""
    code, answer = machine.request("GET", "/v1/history")
    assert code == 200
    return [entry["result"] for entry in reversed(answer["history"])]


def blocks(status):
    return {block["what"]: block["why"] for block in status["blocked_by"]}


tryboot = pytest.mark.parametrize("machine", [Tryboot], indirect=True, ids=["rpi-tryboot"])


@tryboot
def test_a_plain_reboot_is_no_try(machine, folder, nginx):
    """Only what the firmware was told to try counts: by moonsinterd, or by whoever rebooted with the argument."""
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    for _ in range(3):
        status = machine.wait(lambda status: armed(status) and status["blocked_by"], "it is armed")
        assert 'systemctl reboot --reboot-argument="0 tryboot"' in blocks(status)["reboot-argument"]
        assert results(machine) == ["installed"], "one that was not tried neither failed nor is told of again and again"
        assert machine.stop() == 0
        assert machine.power_on() == 0
    machine.wait(armed, "it is armed")
    # By hand, as the sentence says. It never comes up.
    (machine.systemd / "reboot-param").write_text("0 tryboot\n")
    assert machine.stop() == 0
    assert machine.power_on(daemon=False) == 1
    assert machine.power_on() == 0
    status = machine.wait(armed, "it is armed once more")
    assert results(machine) == ["installed", "fell-back", "installed"]
    machine.reboot()
    assert machine.power_on(daemon=False) == 1
    assert machine.power_on() == 0
    machine.wait(lambda status: "failed-before" in blocks(status), "two tries are enough")


@tryboot
def test_a_power_cut_before_the_reboot_costs_one_try(machine, folder, nginx):
    publish(folder, nginx, 2)
    assert machine.power_on() == 0
    machine.wait(armed, "it is armed")
    # Without a record of it there would be no end of tries.
    in_the_way = machine.folder / "state" / "record.json.new"

    def put_in_the_way():
        with contextlib.suppress(FileExistsError):  # it is being saved right now
            in_the_way.mkdir()
        return in_the_way.is_dir()
    programs.wait_until(put_in_the_way, "the record cannot be saved")
    machine.ask_reboot()
    machine.wait(lambda status: status["last_error"] and "not tried" in status["last_error"]["message"], "it is refused")
    assert not (machine.systemd / "asked").exists()
    in_the_way.rmdir()
    machine.ask_reboot()
    machine.wait_asked()
    machine.kill()
    (machine.systemd / "reboot-param").unlink()
    assert machine.power_on() == 0
    machine.wait(armed, "it is armed once more")
    assert results(machine)[-2:] == ["fell-back", "installed"]
    assert machine.stop() == 0
    assert machine.power_on() == 0
    machine.wait(armed, "a plain reboot costs no try")
    machine.reboot()
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "it is marked good")


@tryboot
def test_a_plain_reboot_before_the_window_is_no_try(machine, folder, nginx):
    day = (datetime.date.today() + datetime.timedelta(days=2)).strftime("%a")
    machine.configure(f"[Update]\nMode=reboot\n[Reboot]\nWindow={day} 12:00-13:00\n")
    publish(folder, nginx, 2)
    for _ in range(4):
        assert machine.power_on() == 0
        status = machine.wait(lambda status: armed(status) and status["blocked_by"], "it waits for its window")
        assert list(blocks(status)) == ["reboot-window"] and results(machine) == ["installed"]
        assert machine.stop() == 0
    machine.configure("[Update]\nMode=reboot\n")
    assert machine.power_on() == 0
    machine.wait_asked()
    assert machine.stop() == 0
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "it is marked good")


@pytest.mark.parametrize("machine", [Grub], indirect=True, ids=["grub"])
def test_a_loader_without_our_script_is_not_rebooted_for_ever(machine, folder, nginx):
    machine.loader.start = lambda: 0
    machine.configure("[Update]\nMode=reboot\n")
    publish(folder, nginx, 2)
    for _ in range(3):
        assert machine.power_on() == 0
        machine.wait_asked()
        assert machine.stop() == 0
    assert machine.power_on() == 0
    status = machine.wait(lambda status: armed(status) and status["blocked_by"], "it is held")
    assert list(blocks(status)) == ["loader-stays"] and not (machine.systemd / "asked").exists()
    # Somebody mended it.
    del machine.loader.start
    machine.reboot()
    assert machine.power_on() == 1
    machine.wait(lambda status: status["slots"]["b"]["state"] == "good" and status["state"] == "idle", "it is marked good")
