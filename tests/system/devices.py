# SPDX-License-Identifier: MIT
"""Devices to test: a machine, its loader, its disks, and the releases that are published for it."""
import shutil

import pytest

import disks
import machine
import raspberry
import systems
from releases import make_release

IMAGE_MIB = 112
SLOT_MIB = 120
DATA = "/dev/disk/by-partlabel/data /var/lib/moonsinter ext4 rw 0 0\n"


class Device:
    """Has release 1 in slot A and nothing in slot B, and follows `nginx`. Subclasses are loaders."""

    backend = None
    needs = ["mcopy", "debugfs", "sfdisk"]
    fstab = DATA
    machine_type = "q35"
    boot_keys = "Tries=2\n"
    one_try = False
    slots = kernel_root = "PARTLABEL="  # what stands before root-a and root-b, for the daemon and in root= for the kernel
    parts = {}  # of a set: name -> its places in slot A and B
    kernel_in_root = True
    slot, version = "a", 1  # what runs and is good

    def __init__(self, folder, guest, installed, nginx, make_machine, mode="reboot", unit_drop_in="", files=None, update_keys=""):
        if missing := machine.missing_programs(machine.QEMU, *self.needs):
            pytest.skip(f"not installed: {', '.join(missing)} (tests/packages --install system)")
        self.folder, self.nginx = folder, nginx
        self.systems = systems.Systems(folder / "systems", guest, installed, IMAGE_MIB, self.fstab, self.backend,
                                       systems.settings(nginx.port, self.backend, mode, self.boot_keys, update_keys, self.parts,
                                                        self.slots),
                                       unit_drop_in, self.kernel_in_root)
        self.guest, self.files = guest, {**self.layout(), **(files or {})}
        self.images = {1: self.systems.make(1, self.files)}
        self.machine = self.make_machine(make_machine, self.make_disks())

    def layout(self):
        """Files that all images have."""
        return {}

    def make_machine(self, make_machine, arguments):
        return make_machine(arguments, machine=self.machine_type)

    def make_disks(self):
        """Makes the disks; returns QEMU's arguments for them."""
        raise NotImplementedError

    def drive(self, path, name="disk", boot=True):
        """QEMU's arguments for one of them."""
        return machine.disk(path, name, boot=boot)

    def expect_start(self, slot):
        """Until the loader says that it starts that slot."""
        raise NotImplementedError

    def expect_up(self, version, slot):
        self.machine.expect(f"system {version} is up in slot {slot}")

    def start(self):
        """The first start: release 1 from slot A."""
        self.machine.start()
        self.expect_start("a")
        self.expect_up(1, "a")
        return self.machine.wait_status(lambda status: status["state"] == "idle", "the daemon is up")

    @property
    def other_slot(self):
        return "b" if self.slot == "a" else "a"

    def expect_old(self):
        """Until what ran before runs again."""
        self.expect_start(self.slot)
        self.expect_up(self.version, self.slot)

    def publish_next(self, files=None):
        """Publishes a release that is newer than all before; returns its version."""
        version = max(self.images) + 1
        self.publish(version, files)
        return version

    def make_release(self, version, files=None, noise_mib=0):
        """Makes a release that is not published yet; returns its path."""
        self.images[version] = self.systems.make(version, {**self.files, **(files or {})}, noise_mib)
        return self.release(version)

    def release(self, version):
        return make_release(self.folder / f"release-{version}", self.images[version], version=str(version), serial=version)

    def publish(self, version, files=None, noise_mib=0):
        """Publishes a release."""
        self.publish_release(self.make_release(version, files, noise_mib))

    def publish_release(self, image):
        self.nginx.publish(image)

    def publish_running(self):
        """Publishes what the machine was delivered with."""
        self.publish_release(self.release(1))

    def check(self):
        self.machine.api("POST", "/v1/check")

    def check_kept(self):
        """That the loader's own storage is as it should be when a release was marked good."""


def is_settled(version, slot):
    """That release runs there, is marked good, and nothing is under way."""
    return lambda status: (status["state"] in ("idle", "held") and status["slots"][slot]["role"] == "active" and
                           status["slots"][slot]["state"] == "good" and status["slots"][slot]["version"] == str(version))


class GrubDevice(Device):
    backend = "grub"
    needs = [*Device.needs, "grub-mkimage", "grub-editenv"]
    fstab = Device.fstab + "/dev/disk/by-partlabel/boot /boot/grub vfat rw 0 0\n"
    slots_apart = False

    def make_disks(self):
        self.disk, self.boot_disk = disks.make_grub_disk(self.folder, self.images[1], None, SLOT_MIB, systems.KERNEL_OPTIONS,
                                                         self.slots_apart)
        arguments = self.drive(self.disk.path, boot=not self.slots_apart)
        if self.slots_apart:
            arguments += self.drive(self.boot_disk.path, "boot")
        return arguments

    def expect_start(self, slot):
        self.machine.expect(f"moonsinter: starting slot {slot.upper()}")


class UbootDevice(Device):
    backend = "uboot"
    needs = [*Device.needs, "mkimage"]
    machine_type = "pc"

    def layout(self):
        return {"/etc/fw_env.config": f"/dev/disk/by-partlabel/env 0x0 {disks.ENVIRONMENT_BYTES:#x}\n"}

    def make_disks(self):
        self.disk = disks.make_uboot_disk(self.folder, self.images[1], SLOT_MIB, systems.KERNEL_OPTIONS)
        return [*self.drive(self.disk.path), "-bios", disks.UBOOT]

    def expect_start(self, slot):
        self.machine.expect(f"moonsinter: starting slot {slot.upper()}")


class SystemdBootDevice(Device):
    backend = "systemd-boot"
    fstab = Device.fstab + "/dev/disk/by-partlabel/esp /boot/efi vfat ro 0 0\n"
    boot_keys = ""
    one_try = True
    # The loader says nothing of what it starts, so the kernel has to.
    options = systems.KERNEL_OPTIONS.replace("quiet", "loglevel=7")

    def __init__(self, *arguments, **options):
        if not disks.SYSTEMD_BOOT.exists() or not (disks.OVMF / "OVMF_CODE_4M.fd").exists():
            pytest.skip("not installed: systemd-boot or OVMF (tests/packages --install system)")
        super().__init__(*arguments, **options)

    def make_disks(self):
        self.disk = self.make_disk()
        variables = self.folder / "variables.fd"
        shutil.copy(disks.OVMF / "OVMF_VARS_4M.fd", variables)
        return [*self.drive(self.disk.path),
                "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={disks.OVMF}/OVMF_CODE_4M.fd",
                *self.flash(variables)]

    def flash(self, path):
        """QEMU's arguments for the firmware's variables."""
        return ["-drive", f"if=pflash,format=raw,unit=1,file={path}"]

    def make_disk(self):
        return disks.make_systemd_boot_disk(self.folder, self.images[1], SLOT_MIB, self.options, self.guest.kernels[0])

    def expect_start(self, slot):
        self.machine.expect(f"Kernel command line: .*root={self.kernel_root}root-{slot} ")

    def check_kept(self):
        # The kernel guards the variable by the immutable flag, which had to be taken off to write it and is back.
        told = self.machine.run("rm /sys/firmware/efi/efivars/LoaderEntryDefault-*", check=False)
        assert "Operation not permitted" in told


class TrybootDevice(Device):
    backend = "rpi-tryboot"
    fstab = Device.fstab + "/dev/disk/by-partlabel/firmware /boot/firmware vfat rw 0 0\n"
    boot_keys = ""
    one_try = True
    make_disk = staticmethod(disks.make_tryboot_disk)

    def make_disks(self):
        self.disk = self.make_disk(self.folder, self.images[1], SLOT_MIB, systems.KERNEL_OPTIONS, self.guest.kernels[0])
        return self.drive(self.disk.path, boot=False)

    def make_machine(self, make_machine, arguments):
        return make_machine(arguments, kind=raspberry.Pi, disk=self.disk)

    def expect_start(self, slot):
        self.machine.expect(rf"firmware: tryboot \d, root=PARTLABEL=root-{slot}")


class CmdlineDevice(TrybootDevice):
    backend = "rpi-cmdline"
    boot_keys = "AllowNoFallback=yes\n"
    make_disk = staticmethod(disks.make_cmdline_disk)

    def expect_start(self, slot):
        self.machine.expect(f"firmware: tryboot 0, root=PARTLABEL=root-{slot}")


class GrubTwoDisks(GrubDevice):
    """The loader, its variables and the data are on a disk of their own."""
    slots_apart = True
