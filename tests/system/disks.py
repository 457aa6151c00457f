# SPDX-License-Identifier: MIT
"""Disks of machines that boot: a GPT with what each loader needs, and slots. Made without loop devices or mounts, so that no
kernel here has to know partitions or FAT."""
import pathlib
import struct
import subprocess
import zlib

from guest_tree import run
import programs

MIB = 1 << 20
GRUB = pathlib.Path("/usr/lib/grub/i386-pc")
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


class Partition:
    def __init__(self, label, size_mib, kind=LINUX, content=None):
        self.label, self.size_mib, self.kind, self.content = label, size_mib, kind, content
        self.offset = self.number = None


class Disk:
    """A file with a partition table; `at` gives its partitions by label."""

    def __init__(self, path, partitions):
        self.path, self.at = pathlib.Path(path), {}
        place = 1
        for number, partition in enumerate(partitions, 1):
            partition.offset, partition.number = place * MIB, number
            place += partition.size_mib
            self.at[partition.label] = partition
        self.path.unlink(missing_ok=True)
        with open(self.path, "wb") as file:
            file.truncate((place + 1) * MIB)
        script = "label: gpt\n" + "".join(
            f"start={part.offset // 512}, size={part.size_mib * MIB // 512}, type={part.kind}, name={part.label}\n"
            for part in partitions)
        done = subprocess.run(["/sbin/sfdisk", "-q", str(self.path)], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        for partition in partitions:
            if partition.content:
                self.write(partition.label, partition.content)

    def write(self, label, source):
        """Copies a file to the beginning of a partition."""
        partition = self.at[label]
        assert pathlib.Path(source).stat().st_size <= partition.size_mib * MIB, f"{source} does not fit into {label}"
        run("dd", f"if={source}", f"of={self.path}", "bs=1M", f"seek={partition.offset // MIB}", "conv=notrunc,sparse")

    def read(self, label, size):
        """The first bytes of a partition."""
        with open(self.path, "rb") as file:
            file.seek(self.at[label].offset)
            return file.read(size)

    def fat(self, label):
        """What mtools call the FAT file system in that partition."""
        return f"{self.path}@@{self.at[label].offset}"


def make_fat(path, size_mib, files, big=False):
    """A FAT file system with `files`: name in it -> a path here, or bytes."""
    path = pathlib.Path(path)
    with open(path, "wb") as file:
        file.truncate(size_mib * MIB)
    run("/sbin/mkfs.vfat", *(["-F", "32"] if big else []), "-n", "BOOT", path)
    folders = sorted({str(parent) for name in files for parent in pathlib.PurePath(name).parents} - {"."})
    for name in folders:
        run("mmd", "-i", path, f"::{name}")
    for name, content in files.items():
        source = content
        if isinstance(content, bytes):
            source = path.with_suffix(".part")
            source.write_bytes(content)
        run("mcopy", "-i", path, source, f"::{name}")
    return path


def read_fat(fat, name):
    """The bytes of a file in a FAT file system, or None."""
    done = subprocess.run(["mtype", "-i", str(fat), f"::{name}"], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def make_data(folder, size_mib=24):
    """The file system that both slots share."""
    path = folder / "data.ext4"
    with open(path, "wb") as file:
        file.truncate(size_mib * MIB)
    run("/sbin/mkfs.ext4", "-q", "-F", path)
    return path


# --- GRUB -------------------------------------------------------------------------------------------------------

# What our grub.cfg names that GRUB has not built in.
GRUB_MODULES = ["biosdisk", "part_gpt", "fat", "ext2", "linux", "configfile", "normal", "loadenv", "test", "regexp", "echo",
                "reboot", "sleep", "serial", "terminal"]


def grub_settings(options, first_slot, slots_disk):
    """The shipped grub.cfg with this disk's partitions, on a serial console."""
    text = (programs.ROOT / "conf" / "grub.cfg").read_text()
    options_line = next(line for line in text.splitlines() if line.startswith("set options="))
    for old, new in (("set part_A=gpt2\n", f"set part_A=gpt{first_slot}\n"), ("set part_B=gpt3\n", f"set part_B=gpt{first_slot + 1}\n"),
                     (options_line, f'set options="{options}"'), ("($disk,", f"({slots_disk},")):
        assert old in text, old
        text = text.replace(old, new)
    return "serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n" + text


def make_grub_disk(folder, slot_a, slot_b, slot_mib, options, slots_apart=False):
    """BIOS boot partition, FAT with grub.cfg and grubenv, two slots, data; the slots on a disk of their own where told so.
    Returns the disk with the slots and the one with the rest. Nothing is installed by grub-install: GRUB's two images are
    put where it would put them."""
    early = folder / "early.cfg"
    early.write_text("set root=hd0,gpt2\nconfigfile ($root)/grub.cfg\n")
    core = folder / "core.img"
    run("grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "(hd0,gpt2)/", "-c", early, *GRUB_MODULES)
    environment = folder / "grubenv"
    run("grub-editenv", environment, "create")
    settings = grub_settings(options, 1 if slots_apart else 3, "hd1" if slots_apart else "$disk")
    fat = make_fat(folder / "boot.fat", 16, {"grub.cfg": settings.encode(), "grubenv": environment})
    loader = [Partition("bios", 1, BIOS_BOOT), Partition("boot", 16, content=fat)]
    slots = [Partition("root-a", slot_mib, content=slot_a), Partition("root-b", slot_mib, content=slot_b)]
    data = [Partition("data", 24, content=make_data(folder))]
    if slots_apart:
        made, boot_disk = Disk(folder / "slots.img", slots), Disk(folder / "boot.img", loader + data)
    else:
        made = boot_disk = Disk(folder / "disk.img", loader + slots + data)
    sector = boot_disk.at["bios"].offset // 512
    boot, image = bytearray((GRUB / "boot.img").read_bytes()[:440]), bytearray(core.read_bytes())
    # The sector that boot.img loads, and the one that core.img's first sector goes on with (GRUB's boot.S and diskboot.S).
    struct.pack_into("<Q", boot, 0x5c, sector)
    struct.pack_into("<Q", image, 0x1f4, sector + 1)
    with open(boot_disk.path, "r+b") as file:
        file.write(boot)
        file.seek(boot_disk.at["bios"].offset)
        file.write(image)
    return made, boot_disk


def find_in(disk, label, text):
    """Where on the disk the file is that begins with `text`, in the partition of that label."""
    partition = disk.at[label]
    at = disk.read(label, partition.size_mib * MIB).index(text)
    assert at % 512 == 0
    return partition.offset + at


def grub_selection(block):
    """What the shipped grub.cfg makes of an environment block: the slot it starts, and all that it might ever start."""
    found = dict(line.split("=", 1) for line in bytes(block).decode(errors="replace").splitlines()
                 if "=" in line and not line.startswith("#"))
    order = found.get("moonsinter_order", "")
    if order not in ("A B", "B A"):
        return "a", {"a"}
    bootable = [slot for slot in order.split() if found.get(f"moonsinter_{slot}_ok") == "1" or found.get(f"moonsinter_{slot}_left", "0") != "0"]
    return (bootable or ["A"])[0].lower(), {slot.lower() for slot in bootable} or {"a"}


# --- U-Boot -----------------------------------------------------------------------------------------------------

UBOOT = pathlib.Path("/usr/lib/u-boot/qemu-x86/u-boot.rom")
ENVIRONMENT_BYTES = 0x4000


def uboot_script(options, disk):
    """The shipped script for this board: a PC with a virtio disk, whose U-Boot keeps no environment of its own."""
    sector = disk.at["env"].offset // 512
    start = ("load ${device}:${part} ${kernel_addr_r} /boot/vmlinuz && setenv size ${filesize} && "
             # Lower, the kernel would overwrite it when it unpacks itself.
             "load ${device}:${part} 0x10000000 /boot/initrd.img && zboot ${kernel_addr_r} ${size} 0x10000000 ${filesize}")
    board = {"device": "virtio 0", "part_A": disk.at["root-a"].number, "part_B": disk.at["root-b"].number,
             "root_A": "PARTLABEL=root-a", "root_B": "PARTLABEL=root-b", "options": options, "start": f"'{start}'",
             "env_size": hex(ENVIRONMENT_BYTES), "env_addr": "0x7100000",
             "env_read": f"virtio read 0x7100000 {sector:#x} {ENVIRONMENT_BYTES // 512:#x}",
             "env_write": f"virtio write 0x7100000 {sector:#x} {ENVIRONMENT_BYTES // 512:#x}"}
    lines = []
    for line in (programs.ROOT / "conf" / "uboot-boot.cmd").read_text().splitlines():
        words = line.split()
        if len(words) > 1 and line.startswith("setenv ") and words[1] in board:
            line = f"setenv {words[1]} {board.pop(words[1])}"
        lines.append(line)
    assert not board, f"the script has no {', '.join(board)}"
    return "\n".join(lines) + "\n"


def make_uboot_disk(folder, slot_a, slot_mib, options):
    """FAT with boot.scr, the environment raw in a partition of its own (all zeroes as yet), two slots, data."""
    made = Disk(folder / "disk.img", [
        Partition("boot", 16), Partition("env", 1), Partition("root-a", slot_mib, content=slot_a),
        Partition("root-b", slot_mib), Partition("data", 24, content=make_data(folder))])
    (folder / "boot.cmd").write_text(uboot_script(options, made))
    run("mkimage", "-A", "x86", "-T", "script", "-C", "none", "-d", folder / "boot.cmd", folder / "boot.scr")
    made.write("boot", make_fat(folder / "boot.fat", 16, {"boot.scr": folder / "boot.scr"}))
    return made


def uboot_selection(block):
    """What the shipped script makes of an environment: the slot it starts, and all that it might ever start while what it
    starts is whole."""
    block = bytes(block)
    found = {}
    if struct.unpack("<I", block[:4])[0] == zlib.crc32(block[4:]):
        lines = block[4:].split(b"\0\0")[0].decode(errors="replace").split("\0")
        found = dict(line.split("=", 1) for line in lines if "=" in line)
    order, trial = found.get("BOOT_ORDER", ""), found.get("moonsinter_trial", "")
    if order not in ("A B", "B A", "A", "B"):
        order, trial, found = "A B", "all", {}
    bootable = [slot.lower() for slot in order.split() if (found.get(f"BOOT_{slot}_LEFT") or "3") != "0"]
    # Made anew by the script: the second one is started only when the first one did not come up at every try.
    return (bootable or ["a"])[0], set(bootable[:1] if trial == "all" else bootable) or {"a"}


# --- systemd-boot -----------------------------------------------------------------------------------------------

SYSTEMD_BOOT = pathlib.Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
OVMF = pathlib.Path("/usr/share/OVMF")


def entry_options(slot, options, slots="PARTLABEL="):
    return f"root={slots}root-{slot} moonsinter.slot={slot} {options}"


def entry_files(options):
    """The slots' entries, which name a kernel and an initrd of each slot's own."""
    return {f"loader/entries/moonsinter-{slot}.conf": (
        f"title Slot {slot.upper()}\nsort-key moonsinter-{slot}\nlinux /{slot}/vmlinuz\ninitrd /{slot}/initrd.img\n"
        f"options {entry_options(slot, options)}\n").encode() for slot in "ab"}


def make_esp_disk(folder, slot_a, slot_mib, files, more=()):
    """EFI system partition with systemd-boot and these files, two slots, data, and more partitions."""
    files = {"EFI/BOOT/BOOTX64.EFI": SYSTEMD_BOOT, "loader/loader.conf": b"timeout 0\neditor no\n", **files}
    return Disk(folder / "disk.img", [
        Partition("esp", 64, ESP, content=make_fat(folder / "esp.fat", 64, files, big=True)),
        Partition("root-a", slot_mib, content=slot_a), Partition("root-b", slot_mib), Partition("data", 24, content=make_data(folder)), *more])


def make_systemd_boot_disk(folder, slot_a, slot_mib, options, kernel):
    """EFI system partition with an entry and a kernel for each slot, two slots, data."""
    files = {f"{slot}/{name}": source for slot in "ab" for name, source in (("vmlinuz", kernel.image), ("initrd.img", kernel.initrd))}
    return make_esp_disk(folder, slot_a, slot_mib, {**entry_files(options), **files})


STUB = pathlib.Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")


def make_uki(path, slot, cmdline_text, kernel, initrd=None):
    """A unified kernel image of that slot: systemd's stub with the kernel, the initrd and the command line in it."""
    release, cmdline = path.with_suffix(".release"), path.with_suffix(".cmdline")
    release.write_text(f"ID=moonsinter-{slot}\nNAME=Slot {slot.upper()}\nPRETTY_NAME=Slot {slot.upper()}\nVERSION_ID=1\n")
    cmdline.write_text(cmdline_text)
    # Behind the stub's own sections, with room between them.
    place = max(int(words[3], 16) + int(words[2], 16) for line in run("objdump", "-h", STUB).splitlines()
                if len(words := line.split()) == 7 and words[0].isdigit())
    arguments = []
    for name, source in ((".osrel", release), (".cmdline", cmdline), (".linux", kernel.image), (".initrd", initrd or kernel.initrd)):
        place = (place + MIB - 1) // MIB * MIB
        arguments += ["--add-section", f"{name}={source}", "--change-section-vma", f"{name}={place:#x}"]
        place += pathlib.Path(source).stat().st_size
    run("objcopy", *arguments, STUB, path)
    return path


# --- Raspberry Pi -----------------------------------------------------------------------------------------------

def make_tryboot_disk(folder, slot_a, slot_mib, options, kernel):
    """FAT with autoboot.txt, a boot partition for each slot, two slots, data."""
    config = b"kernel=vmlinuz\ninitramfs initrd.img followkernel\n"
    autoboot = (programs.ROOT / "conf" / "autoboot.txt").read_bytes()
    partitions = [Partition("firmware", 4, content=make_fat(folder / "firmware.fat", 4, {"autoboot.txt": autoboot}))]
    for slot in "ab":
        cmdline = f"root=PARTLABEL=root-{slot} moonsinter.slot={slot} {options}\n".encode()
        partitions.append(Partition(f"boot-{slot}", 24, content=make_fat(folder / f"boot-{slot}.fat", 24, {
            "config.txt": config, "cmdline.txt": cmdline, "vmlinuz": kernel.image, "initrd.img": kernel.initrd})))
    return Disk(folder / "disk.img", [*partitions, Partition("root-a", slot_mib, content=slot_a),
                                      Partition("root-b", slot_mib), Partition("data", 24, content=make_data(folder))])


BOOT_MIB = 24


def make_boot_part(path, options, kernel, initrd=None, slots="ab"):
    """An image of a boot partition. For both slots, config.txt tells them apart by the number of the partition, which is 2 or 3;
    for one, there is only its own command line."""
    config, files = "kernel=vmlinuz\ninitramfs initrd.img followkernel\n", {"vmlinuz": kernel.image, "initrd.img": initrd or kernel.initrd}
    for slot in slots:
        name = f"cmdline-{slot}.txt" if len(slots) > 1 else "cmdline.txt"
        if len(slots) > 1:
            config += f"[boot_partition={2 + 'ab'.index(slot)}]\ncmdline={name}\n"
        files[name] = f"root=PARTLABEL=root-{slot} moonsinter.slot={slot} {options}\n".encode()
    return make_fat(path, BOOT_MIB, {"config.txt": config.encode(), **files})


def make_tryboot_set_disk(folder, slot_a, slot_mib, boot_a):
    """FAT with autoboot.txt, two boot partitions, two slots, data; what belongs to slot B is empty."""
    autoboot = (programs.ROOT / "conf" / "autoboot.txt").read_bytes()
    return Disk(folder / "disk.img", [
        Partition("firmware", 4, content=make_fat(folder / "firmware.fat", 4, {"autoboot.txt": autoboot})),
        Partition("boot-a", BOOT_MIB, content=boot_a), Partition("boot-b", BOOT_MIB),
        Partition("root-a", slot_mib, content=slot_a), Partition("root-b", slot_mib), Partition("data", 24, content=make_data(folder))])


def tryboot_selection(block, slots):
    """What the firmware makes of autoboot.txt: the slot it starts, and all that it starts where it is told to try.
    `slots`: number of a boot partition -> slot."""
    lines, section, found = bytes(block).rstrip(b"\0").decode(errors="replace").splitlines(), "[all]", {}
    for line in lines:
        if line.startswith("["):
            section = line
        elif line.startswith("boot_partition="):
            found[section] = slots[int(line.split("=")[1])]
    return found["[all]"], set(found.values())


def make_cmdline_disk(folder, slot_a, slot_mib, options, kernel):
    """One boot partition for both slots, whose cmdline.txt names one of them."""
    files = {"config.txt": b"kernel=vmlinuz\ninitramfs initrd.img followkernel\n", "vmlinuz": kernel.image, "initrd.img": kernel.initrd,
             "cmdline.txt": f"root=PARTLABEL=root-a {options}\n".encode()}
    return Disk(folder / "disk.img", [
        Partition("firmware", 24, content=make_fat(folder / "firmware.fat", 24, files)),
        Partition("root-a", slot_mib, content=slot_a), Partition("root-b", slot_mib),
        Partition("data", 24, content=make_data(folder))])
