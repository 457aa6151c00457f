# SPDX-License-Identifier: MIT
"""Machines whose "/" really is slot A or B: moonsinterd runs in a mount namespace, on a root file system that borrows the
programs of this machine. And boot loaders to start them, which go by the same data as the real ones."""
import os
import shutil
import subprocess
import tempfile
import zlib

import pytest

import images
import programs
from releases import make_release

# Stands before a command whose mounts nobody else is to see.
PRIVATE = ["unshare", "--mount", "--propagation", "private"]
SIZE = 24 << 20
BORROWED = ["proc", "sys", "dev", "usr", "etc", "tmp"]
LINKED = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]

BOOT = """
set -e
root=$1 device=$2 work=$3 program=$4; shift 4
mount -o ro,noload "$device" "$root"
for folder in %s; do mount --rbind "/$folder" "$root/$folder"; done
mount --bind "$work/cmdline" "$root/proc/cmdline"
mount --bind "$work/boot" "$root/boot/firmware"
mount --bind "$work/run" "$root/run/moonsinter"
mount --bind "$work/state" "$root/var/lib/moonsinter"
mount --bind "${program%%/*/*}" "$root/opt"
exec chroot "$root" "/opt/daemon/${program##*/}" "$@"
"""


def make_root(folder, name, seed):
    """Makes an ext4 image with the root file system of such a machine. Returns it and the folders that it borrows."""
    tree = folder / f"tree-{name}"
    for place in BORROWED + ["boot/firmware", "run/moonsinter", "run/systemd", "var/lib/moonsinter", "var/lock", "opt"]:
        (tree / place).mkdir(parents=True)
    # moonsinterd demands modules for the running kernel of a slot, if this machine has any for it.
    (tree / "usr" / "lib" / "modules" / os.uname().release).mkdir(parents=True)
    borrowed = list(BORROWED)
    for place in LINKED:
        if os.path.islink(f"/{place}"):
            (tree / place).symlink_to(os.readlink(f"/{place}"))
        elif os.path.isdir(f"/{place}"):
            (tree / place).mkdir()
            borrowed.append(place)
    (tree / "content").write_bytes(images.noise(6_000_000, seed))
    image = folder / f"{name}.ext4"
    with open(image, "wb") as file:
        file.truncate(SIZE)
    images.run("mkfs.ext4", "-q", "-F", "-d", tree, "-U", "00000000-0000-0000-0000-%012d" % seed,
               "-E", f"hash_seed=00000000-0000-0000-0000-{seed:012d}", image)
    return image, borrowed


class Machine(programs.Daemon):
    def __init__(self, folder, url, slots, borrowed):
        super().__init__(folder, url, slots)
        shutil.rmtree(self.socket_folder)
        # Short, for the socket's path, and bound into the machine as /run/moonsinter.
        self.socket_folder = tempfile.mkdtemp(prefix="moonsinter-")
        self.socket = f"{self.socket_folder}/moonsinterd.sock"
        self.url, self.slots, self.borrowed = url, slots, borrowed
        for name in ("boot", "state", "root"):
            (self.folder / name).mkdir()
        (self.folder / "run").symlink_to(self.socket_folder)
        self.cmdline_txt = self.folder / "boot" / "cmdline.txt"

    def boot(self, root=None):
        """Boots as firmware and kernel do, from root= in cmdline.txt, which is returned; from `root` if it is given."""
        cmdline = self.cmdline_txt.read_text()
        (self.folder / "cmdline").write_text(cmdline)
        device = next(word for word in cmdline.split() if word.startswith("root="))[5:]
        script = self.folder / "boot.sh"
        script.write_text(BOOT % " ".join(self.borrowed))
        self.start(prefix=[*PRIVATE, "sh", str(script), str(self.folder / "root"),
                           root or device, str(self.folder)], arguments=[self.url, *self.slots, "1"])
        return device


def need_namespaces():
    """Skips the test if this machine allows no mount namespace."""
    probe = subprocess.run([*PRIVATE, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"this machine allows no mount namespace: {probe.stderr.strip()}")


def attach_slots(folder, loops):
    """Makes two slots as in a new machine, A with a root file system. Returns them and the folders that it borrows."""
    need_namespaces()
    first, borrowed = make_root(folder, "factory", 1)
    slots = [loops.attach(SIZE + (1 << 20)) for _ in range(2)]
    with open(loops.backing(slots[0]), "r+b") as disk:
        disk.write(first.read_bytes())
    return slots, borrowed


# --- loaders ------------------------------------------------------------------------------------------------------

GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
ROOT = "/boot/firmware"  # where the machine sees `folder`
BINDS = ('mount --bind "$work/boot_id" "$root/proc/sys/kernel/random/boot_id"\n'
         'mount --bind "$work/systemd" "$root/run/systemd"\n'
         'mount -t tmpfs none "$root/var/lock"\n'
         '[ ! -e "$work/read-only" ] || mount -o remount,bind,ro "$root/boot/firmware"\n')
# Stands for systemctl: leaves what systemctl leaves for the end of the machine, which the test then brings about.
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
        """Does what conf/grub.cfg does at a start of the machine. Returns the number of the slot, as all loaders do."""
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
    """U-Boot with RAUC's script, which takes a start from good slots, too."""
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
    """The firmware of a Raspberry Pi. Its flag is the argument of the last reboot, and holds for one start."""
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
        """Starts a slot that is not good once only."""
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
        """More lines for the script that sets the machine up; tests that need some override this."""
        return ""

    def wait_asked(self):
        """Waits until the machine is told to reboot."""
        self.wait(lambda _: (self.systemd / "asked").exists(), "the reboot is asked for")

    def ask_reboot(self):
        """Asks for a reboot as an operator does, until it is accepted: it is refused during each look at the server."""
        programs.wait_until(lambda: self.request("POST", "/v1/reboot")[0] == 202, "the reboot is accepted")

    def reboot(self):
        """Asks for a reboot, and ends the daemon. power_on() does the rest."""
        self.ask_reboot()
        self.wait_asked()
        assert self.stop() == 0

    def power_on(self, daemon=True):
        """Has the loader start a slot, whose daemon runs, or without `daemon` never comes up. Returns its number."""
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
        self.start(prefix=[*PRIVATE, "sh", str(script), str(self.folder / "root"),
                           self.slots[slot], str(self.folder)], arguments=["--config", f"{ROOT}/moonsinterd.conf"],
                   env={**os.environ, "PATH": f"{ROOT}:{os.environ['PATH']}"})
        return slot


def publish(folder, nginx, number):
    nginx.publish(make_release(folder / str(number), make_root(folder, f"release-{number}", number)[0].read_bytes(),
                               version=str(number), serial=number))


def armed(status):
    """Whether the slot that does not run boots next."""
    return status["state"] == "reboot-pending" and status["slots"][status["boot"]["next"]]["role"] == "inactive"


def results(machine):
    """The outcomes in the history, oldest first."""
    code, answer = machine.request("GET", "/v1/history")
    assert code == 200
    return [entry["result"] for entry in reversed(answer["history"])]
