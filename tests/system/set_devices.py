# SPDX-License-Identifier: MIT
"""Devices whose releases are sets: the root, and beside it the boot partition, the kernel's files, a unified kernel image, or
an application. A release brings a kernel with the root that has its modules."""
import hashlib
import pathlib
import shutil

import disks
import systems
from devices import SLOT_MIB, GrubDevice, SystemdBootDevice, TrybootDevice
from guest_tree import run
from releases import make_release

# An initrd whose init ends, and the kernel with it.
PANIC = "#!/bin/sh\necho the initrd gives up >/dev/console\nexit 1\n"
PANIC_SHOWS = r"Kernel panic - not syncing: (Attempted to kill init|No working init)"


class SetDevice:
    """Mixed into a device, in front of its loader's class."""

    kernel_in_root = False

    def __init__(self, folder, guest, *arguments, **options):
        self.part_images, self.kernels, self.part_folder = {}, {1: guest.kernels[0]}, folder / "parts"
        self.part_folder.mkdir()
        self.guest = guest
        super().__init__(folder, guest, *arguments, **options)

    def make_parts(self, version, kernel, initrd=None):
        """Makes the images of the parts of that release: name -> one for both slots, or one for each."""
        raise NotImplementedError

    def part(self, version, name, slot):
        """The image of a part that slot gets."""
        image = self.part_images[version][name]
        return image if isinstance(image, pathlib.Path) else image["ab".index(slot)]

    def first_parts(self):
        """Those that the device is delivered with."""
        self.part_images[1] = self.make_parts(1, self.guest.kernels[0])
        return self.part_images[1]

    def make_release(self, version, files=None, noise_mib=0, kernel=None, panics=False):
        kernel = self.kernels[version] = kernel or self.guest.kernels[0]
        self.images[version] = self.systems.make(version, {**self.files, **(files or {})}, noise_mib, kernel)
        self.part_images[version] = self.make_parts(version, kernel, self.panic_initrd(kernel) if panics else None)
        return self.release(version)

    def publish_set(self, version, **options):
        self.publish_release(self.make_release(version, **options))

    def expect_parts(self, version, slot):
        """That the slot's places hold the parts of that release, as the machine reads them."""
        for name in self.parts:
            place, image = self.parts[name]["ab".index(slot)], self.part(version, name, slot)
            if place.startswith("PARTLABEL="):
                place = place.replace("PARTLABEL=", "/dev/disk/by-partlabel/")
            told = self.machine.run(f"head -c {image.stat().st_size} {place} | sha256sum").split()[0]
            assert told == hashlib.sha256(image.read_bytes()).hexdigest(), f"the part {name} of slot {slot} is another one"

    def release(self, version):
        """As a publisher does it: each part, and then the root with all of them."""
        folder, words = self.folder / f"release-{version}", []
        for name, image in self.part_images[version].items():
            each = [(name, image)] if isinstance(image, pathlib.Path) else [(f"{name}@a", image[0]), (f"{name}@b", image[1])]
            for part, source in each:
                path = make_release(folder, source, name=f"{part.replace('@', '-')}-{version}")
                words += ["--part", f"{part}={path}"]
        return make_release(folder, self.images[version], version=str(version), serial=version, options=words)

    def publish_release(self, image):
        """The files of the parts first, the manifest of the root last."""
        for path in sorted(image.parent.glob("*.json")):
            if path != image.with_suffix(".json"):
                part = path.with_suffix("")
                self.nginx.publish(part, name=part.name)
        self.nginx.publish(image)

    def panic_initrd(self, kernel):
        """The initrd of that kernel with an init that gives up."""
        root, path = self.part_folder / "panic-root", self.part_folder / f"panic-{kernel.release}"
        if not path.exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            run("sh", "-c", f"cd '{root}' && gzip -dc '{kernel.initrd}' | cpio -i --quiet")
            (root / "init").write_text(PANIC)
            run("sh", "-c", f"cd '{root}' && find . | cpio -o -H newc --quiet | gzip -1n > '{path}'")
        return path


class TrybootSet(SetDevice, TrybootDevice):
    """One image of the boot partition for both slots, whose config.txt tells them apart."""
    parts = {"boot": ("PARTLABEL=boot-a", "PARTLABEL=boot-b")}

    def make_parts(self, version, kernel, initrd=None):
        return {"boot": disks.make_boot_part(self.part_folder / f"boot-{version}", systems.KERNEL_OPTIONS, kernel, initrd)}

    def make_disks(self):
        self.disk = disks.make_tryboot_set_disk(self.folder, self.images[1], SLOT_MIB, self.first_parts()["boot"])
        return self.drive(self.disk.path, boot=False)


class TrybootSetForEach(TrybootSet):
    """A firmware without that filter: an image of the boot partition for each slot."""

    def make_parts(self, version, kernel, initrd=None):
        return {"boot": [disks.make_boot_part(self.part_folder / f"boot-{slot}-{version}", systems.KERNEL_OPTIONS, kernel, initrd, slot)
                         for slot in "ab"]}

    def make_disks(self):
        self.disk = disks.make_tryboot_set_disk(self.folder, self.images[1], SLOT_MIB, self.first_parts()["boot"][0])
        return self.drive(self.disk.path, boot=False)

    def make_machine(self, make_machine, arguments):
        made = super().make_machine(make_machine, arguments)
        made.filters = False
        return made


class EspSet(SetDevice, SystemdBootDevice):
    """Parts that are files on the EFI system partition."""
    fstab = SystemdBootDevice.fstab.replace("vfat ro", "vfat rw")

    def __init__(self, *arguments, unit_drop_in="", **options):
        opened = " ".join(sorted({str(pathlib.PurePath(place).parent) for places in self.parts.values() for place in places}))
        super().__init__(*arguments, **options, unit_drop_in=f"[Unit]\nAfter=boot-efi.mount\n[Service]\nReadWritePaths={opened}\n" + unit_drop_in)

    def esp_files(self, parts):
        """What the partition holds beside the loader when the device is delivered."""
        raise NotImplementedError

    def make_disk(self):
        return disks.make_esp_disk(self.folder, self.images[1], SLOT_MIB, self.esp_files(self.first_parts()))


class KernelFilesSet(EspSet):
    parts = {"kernel": ("/boot/efi/a/vmlinuz", "/boot/efi/b/vmlinuz"), "initrd": ("/boot/efi/a/initrd.img", "/boot/efi/b/initrd.img")}

    def make_parts(self, version, kernel, initrd=None):
        made = {"kernel": self.part_folder / f"kernel-{version}", "initrd": self.part_folder / f"initrd-{version}"}
        shutil.copy(kernel.image, made["kernel"])
        shutil.copy(initrd or kernel.initrd, made["initrd"])
        return made

    def esp_files(self, parts):
        return {**disks.entry_files(self.options), "a/vmlinuz": parts["kernel"], "a/initrd.img": parts["initrd"], "b/empty": b"\n"}


class UkiSet(EspSet):
    names = ("moonsinter-a.efi", "moonsinter-b.efi")
    parts = {"uki": tuple(f"/boot/efi/EFI/Linux/{name}" for name in names)}
    boot_keys = f"EntryA={names[0]}\nEntryB={names[1]}\n"

    def make_parts(self, version, kernel, initrd=None):
        return {"uki": [disks.make_uki(self.part_folder / f"uki-{slot}-{version}", slot, self.cmdline(version, slot), kernel, initrd)
                        for slot in "ab"]}

    def cmdline(self, version, slot):
        return disks.entry_options(slot, self.options, self.kernel_root)

    def esp_files(self, parts):
        return {f"EFI/Linux/{self.names[0]}": parts["uki"][0]}


class GrubWithData(SetDevice, GrubDevice):
    """The kernel is in the slot, and an application on a partition of its own."""
    parts = {"app": ("PARTLABEL=app-a", "PARTLABEL=app-b")}
    kernel_in_root = True

    def layout(self):
        # As docs/boot.md tells it.
        rules = 'SUBSYSTEM=="block", IMPORT{cmdline}="moonsinter.slot"\n' + "".join(
            f'SUBSYSTEM=="block", ENV{{moonsinter.slot}}=="{slot}", ENV{{PARTNAME}}=="app-{slot}", SYMLINK+="app"\n' for slot in "ab")
        return {**super().layout(), "/etc/udev/rules.d/61-app.rules": rules}

    def make_parts(self, version, kernel, initrd=None):
        app = self.part_folder / f"app-{version}"
        app.write_bytes(f"application {version}\n".encode() * 100_000)
        return {"app": app}

    def make_disks(self):
        arguments = super().make_disks()
        app = self.first_parts()["app"]
        self.app_disk = disks.Disk(self.folder / "app.img", [disks.Partition("app-a", 4, content=app), disks.Partition("app-b", 4)])
        return arguments + self.drive(self.app_disk.path, "app", boot=False)
