# SPDX-License-Identifier: MIT
"""Devices whose root is a mapped device: checked by dm-verity, or encrypted with LUKS. What maps it is in a unified kernel image of each
slot, which is a part of the release."""
import pathlib
import re
import shutil

import disks
import luks
import set_devices
from devices import SLOT_MIB
from guest_tree import run

# As an initrd of dracut's or mkosi's would, by the words that systemd's generators read; and before the init of the tests' own initrd, of
# which it takes the modules.
VERITY = """
hash= data= tree=
for word in $(cat /proc/cmdline); do
    case $word in
    roothash=*) hash=${word#*=} ;;
    systemd.verity_root_data=PARTLABEL=*) data=${word##*=} ;;
    systemd.verity_root_hash=PARTLABEL=*) tree=${word##*=} ;;
    esac
done
find_partition "$data"; data=$found
find_partition "$tree"; tree=$found
veritysetup open "$data" "$mapped" "$tree" "$hash" || fail
"""
# Both, as an update writes into the one that does not run.
LUKS = """
for slot in a b; do
    find_partition crypt-$slot
    cryptsetup open --type luks --key-file /key "$found" root-$slot || fail
done
"""
INIT = """#!/bin/sh
PATH=/bin
fail() { echo "initrd: the root cannot be mapped"; sleep 1; echo b > /proc/sysrq-trigger; }
find_partition() {
    found= tries=0
    while [ $tries -lt 100 ]; do
        for event in /sys/class/block/*/uevent; do
            if grep -qx "PARTNAME=$1" $event; then event=${event%/uevent}; found=/dev/${event##*/}; return; fi
        done
        sleep 0.05
        tries=$((tries + 1))
    done
    fail
}
mount -t devtmpfs d /dev; mount -t proc p /proc; mount -t sysfs s /sys; mount -t tmpfs r /run
while read module; do insmod /modules/$module; done < /modules/order
while read module; do insmod /mapped-modules/$module; done < /mapped-modules/order
for word in $(cat /proc/cmdline); do case $word in root=/dev/mapper/*) mapped=${word##*/};; esac; done
# There is no udev here to wait for.
export DM_DISABLE_UDEV=1
MAP
mount -t ext4 -o ro /dev/mapper/$mapped /new || fail
umount /run
mount --move /dev /new/dev; mount --move /proc /new/proc; mount --move /sys /new/sys
exec switch_root /new /sbin/init
"""
KEY = b"a key that a TPM would hold"


def add_program(root, program):
    """The program and the libraries that it needs, as they are on this machine."""
    target = root / "bin" / program
    path = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    for library in re.findall(r"(/\S+) \(0x", run("ldd", path)):
        place = root / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)


def module_paths(kernel, names):
    """The files of these modules and of what they need, in the order to load them in."""
    layer, found = kernel.modules / "usr" / "lib" / "modules" / kernel.release, []
    needed = dict(line.split(":") for line in (layer / "modules.dep").read_text().splitlines())
    for name in names:
        for path, others in needed.items():
            if path.endswith(f"/{name}.ko"):
                found += [layer / word for word in [*reversed(others.split()), path]]
    return list(dict.fromkeys(found))


def make_initrd(folder, kernel, program, modules, script, files):
    """The kernel's initrd with another one behind it, whose init maps the root before it mounts it."""
    root, path = folder / f"initrd-{kernel.release}", folder / f"initrd-{kernel.release}.img"
    if path.exists():
        return path
    for name in ("bin", "mapped-modules", "run"):
        (root / name).mkdir(parents=True)
    # libcryptsetup reads the medium through the kernel's crypto API, and libgcc_s is for threads that end.
    add_program(root, program)
    libgcc = next(pathlib.Path("/lib/x86_64-linux-gnu").glob("libgcc_s.so.1"))
    shutil.copy(libgcc, root / libgcc.parent.relative_to("/") / libgcc.name)
    (root / "bin" / "umount").symlink_to("busybox")
    paths = module_paths(kernel, modules)
    for source in paths:
        shutil.copy(source, root / "mapped-modules")
    (root / "mapped-modules" / "order").write_text("".join(f"{source.name}\n" for source in paths))
    (root / "init").write_text(INIT.replace("MAP", script))
    (root / "init").chmod(0o755)
    for name, content in files.items():
        (root / name).write_bytes(content)
    run("sh", "-c", f"cp '{kernel.initrd}' '{path}' && cd '{root}' && find . | cpio -o -H newc --quiet | gzip -1n >> '{path}'")
    shutil.rmtree(root)
    return path


class MappedRoot(set_devices.UkiSet):
    kernel_root = "/dev/mapper/"
    program = modules = script = None

    def initrd(self, kernel):
        return make_initrd(self.part_folder, kernel, self.program, self.modules, self.script, self.initrd_files())

    def initrd_files(self):
        return {}

    def make_parts(self, version, kernel, initrd=None):
        return super().make_parts(version, kernel, initrd or self.initrd(kernel))


class VerityRoot(MappedRoot):
    """The slots are partitions; the root hash is in the unified kernel image, and the tree is a part of its own."""
    program, modules, script = "veritysetup", ["dm-verity"], VERITY
    parts = {"verity": ("PARTLABEL=verity-a", "PARTLABEL=verity-b"), **set_devices.UkiSet.parts}

    def __init__(self, *arguments, **options):
        self.root_hashes = {}
        super().__init__(*arguments, **options)

    def make_parts(self, version, kernel, initrd=None):
        tree = self.part_folder / f"verity-{version}"
        # The tests' ext4 has blocks of 1 KiB, and no device with larger ones can hold it.
        told = run("veritysetup", "format", "--data-block-size", "1024", self.images[version], tree)
        self.root_hashes[version] = re.search(r"Root hash:\s*([0-9a-f]{64})", told)[1]
        return {"verity": tree, **super().make_parts(version, kernel, initrd)}

    def cmdline(self, version, slot):
        words = f"roothash={self.root_hashes[version]} systemd.verity_root_data=PARTLABEL=root-{slot} systemd.verity_root_hash=PARTLABEL=verity-{slot}"
        return f"{disks.entry_options(slot, self.options, self.kernel_root)} {words}"

    def make_disk(self):
        parts = self.first_parts()
        more = [disks.Partition("verity-a", 4, content=parts["verity"]), disks.Partition("verity-b", 4)]
        return disks.make_esp_disk(self.folder, self.images[1], SLOT_MIB, self.esp_files(parts), more)


class EncryptedRoot(MappedRoot):
    """The slots are what LUKS makes of two partitions; each release is written through it."""
    slots = "/dev/mapper/"
    program, modules, script = "cryptsetup", ["ecb", "xts", "dm-crypt"], LUKS

    def initrd_files(self):
        return {"key": KEY}

    def make_disk(self):
        parts = self.first_parts()
        size_mib = SLOT_MIB + luks.HEADER_MIB
        filled = luks.encrypt(self.folder / "crypt-a", KEY, size_mib, self.images[1])
        empty = luks.encrypt(self.folder / "crypt-b", KEY, size_mib)
        files = {"EFI/BOOT/BOOTX64.EFI": disks.SYSTEMD_BOOT, "loader/loader.conf": b"timeout 0\neditor no\n", **self.esp_files(parts)}
        return disks.Disk(self.folder / "disk.img", [
            disks.Partition("esp", 64, disks.ESP, content=disks.make_fat(self.folder / "esp.fat", 64, files, big=True)),
            disks.Partition("crypt-a", size_mib, content=filled), disks.Partition("crypt-b", size_mib, content=empty),
            disks.Partition("data", 24, content=disks.make_data(self.folder))])
