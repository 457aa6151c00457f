# SPDX-License-Identifier: MIT
"""Backend=rpi-tryboot and rpi-cmdline: what stands in autoboot.txt and cmdline.txt, as the firmware would read it, and
power cuts at every write of them."""
import re
import shutil
import subprocess

import pytest

import boots

pytestmark = pytest.mark.sanitized

AUTOBOOT = "boot/firmware/autoboot.txt"
CMDLINE = "boot/firmware/cmdline.txt"
SHIPPED = (boots.ROOT / "conf" / "autoboot.txt").read_bytes()
BOOT_ID = "proc/sys/kernel/random/boot_id"


class Tryboot(boots.Loader):
    def __init__(self, root, **settings):
        super().__init__(root, "rpi-tryboot", **settings)
        self.boots = 0
        self.write(AUTOBOOT, SHIPPED)
        self.reboot()

    def reboot(self, argument=""):
        """What the firmware does: the number of the partition it starts."""
        self.boots += 1
        self.write(BOOT_ID, f"{self.boots:08x}-9a12-4de0-a9d1-8e49da1b1e5f\n")
        partition, section = 0, "[all]"
        for line in self.read_bytes(AUTOBOOT).decode().splitlines():
            line = line.split("#")[0].strip()
            if line.startswith("["):
                section = line
            elif line.startswith("boot_partition=") and (
                    section == "[all]" or (section == "[tryboot]" and argument == "0 tryboot")):
                partition = int(line.partition("=")[2])
        return partition


@pytest.fixture
def pi(tmp_path):
    return Tryboot(tmp_path / "root")


def test_an_update_that_is_marked_good(pi):
    pi.expect(running="none", next="a", trial="none", a="good", b="unknown")
    pi.call("invalidate", "b")
    assert pi.read_bytes(AUTOBOOT) == SHIPPED
    pi.call("arm", "b")
    pi.expect(next="b", trial="b", tries_left=1, a="good", b="trial")
    assert pi.reboot("0 tryboot") == 3
    # Seen from the new slot: on trial, and no further start left.
    pi.expect(next="a", trial="b", tries_left=0, a="good")
    pi.call("good", "b")
    pi.expect(next="b", trial="none", b="good")
    assert pi.reboot() == 3 and pi.reboot("0 tryboot") == 3
    assert len(pi.read_bytes(AUTOBOOT)) == len(SHIPPED)


def test_an_update_that_never_comes_up(pi):
    pi.call("invalidate", "b")
    pi.call("arm", "b")
    assert pi.reboot("0 tryboot") == 3
    assert pi.reboot() == 2
    pi.expect(next="a", trial="b", tries_left=0, a="good", b="unknown")
    pi.call("arm", "b")
    pi.expect(next="b", trial="b", tries_left=1)
    pi.call("invalidate", "b")
    assert pi.reboot("0 tryboot") == 2, "a slot that was given up can be tried"


def test_a_reboot_without_the_argument_is_no_trial(pi):
    pi.call("arm", "b")
    assert pi.reboot() == 2
    pi.expect(next="a", trial="b", tries_left=0)


def test_an_update_that_is_rejected(pi):
    pi.call("arm", "b")
    pi.reboot("0 tryboot")
    pi.call("reject", "b")
    pi.expect(next="a", trial="none")
    assert pi.reboot("0 tryboot") == 2


def test_what_is_fallen_back_to_is_kept(pi):
    pi.call("arm", "b")
    for verb in ("invalidate", "reject"):
        with pytest.raises(boots.Refused, match="slot b is on trial"):
            pi.call(verb, "a")
    pi.expect(next="b", trial="b")


def test_idempotent(pi):
    for verb in ("invalidate", "arm", "good", "reject"):
        pi.call(verb, "b")
        before = pi.read_bytes(AUTOBOOT)
        assert [operation for operation in boots.record(pi, verb, "b") if operation[0] == "write"] == []
        assert pi.read_bytes(AUTOBOOT) == before


def test_a_file_as_raspberry_pi_documents_it(pi):
    """Without our comment, with other lines and carriage returns: the first change completes it, the others keep its
    length."""
    pi.write(AUTOBOOT, b"[all]\r\ntryboot_a_b=1\r\nboot_partition=2\r\n[tryboot]\r\nboot_partition=3\r\n")
    pi.expect(next="a", trial="b", tries_left=0)
    counted = boots.assert_atomic(pi, "invalidate", "b")
    assert counted["new"]
    size = len(pi.read_bytes(AUTOBOOT))
    assert pi.reboot("0 tryboot") == 2
    pi.call("arm", "b")
    assert pi.reboot("0 tryboot") == 3 and len(pi.read_bytes(AUTOBOOT)) == size
    pi.write(AUTOBOOT, b"tryboot_a_b=1\nboot_partition=3")
    pi.expect(next="b", trial="none")
    pi.call("arm", "a")
    assert pi.reboot("0 tryboot") == 2 and pi.reboot() == 3


@pytest.mark.parametrize("data, part", [
    (b"", "no tryboot_a_b=1 in"),
    (b"[all]\nboot_partition=2\n", "no tryboot_a_b=1 in"),
    (b"[all]\ntryboot_a_b=0\nboot_partition=2\n", "no tryboot_a_b=1 in"),
    (b"[tryboot]\ntryboot_a_b=1\nboot_partition=2\n", "no tryboot_a_b=1 in"),
    (b"[all]\ntryboot_a_b=1\n[none]\nboot_partition=2\n", "no boot_partition= in"),
    (b"[all]\ntryboot_a_b=1\nboot_partition=\n", "line 3, cannot be understood"),
    (b"[all]\ntryboot_a_b=1\nboot_partition=12\n", "line 3, cannot be understood"),
    (b"[all]\ntryboot_a_b=1\nboot_partition=2\nboot_partition=3\n", "line 4, cannot be understood"),
    (b"[all]\ntryboot_a_b=1\nboot_partition=5\n", "boot_partition=5, which is neither"),
    (b"[pi4]\nboot_partition=5\n", "line 1, cannot be understood"),
    (SHIPPED + SHIPPED, "cannot be understood"),
    (SHIPPED[:-3], "line 6, cannot be understood"),
    (SHIPPED + b"#" * 512, "over 512"),
    (SHIPPED + b"\0", "zero byte"),
])
def test_hostile_files(pi, data, part):
    pi.write(AUTOBOOT, data)
    for verb in (["read"], ["invalidate", "b"], ["good", "a"]):
        with pytest.raises(boots.Refused, match=part):
            pi.call(*verb)
    assert pi.read_bytes(AUTOBOOT) == data


def test_other_partitions(tmp_path):
    pi = Tryboot(tmp_path / "root", BootPartitionA=5, BootPartitionB=6)
    pi.write(AUTOBOOT, SHIPPED.replace(b"=2", b"=6"))
    pi.expect(next="b")
    pi.configure("rpi-tryboot", BootPartitionA=5, BootPartitionB=5)
    with pytest.raises(boots.Refused, match="are the same"):
        pi.state()


def test_whether_it_could_be_armed(pi):
    for slot in "ab":
        pi.call("can-arm", slot)
    pi.call("arm", "b")
    pi.call("can-arm", "b")
    pi.reboot("0 tryboot")
    with pytest.raises(boots.Refused, match="slot b is on trial"):
        pi.call("invalidate", "a")
    pi.write(AUTOBOOT, b"[all]\ntryboot_a_b=1\nboot_partition=2\n#" + b"x" * 440)
    with pytest.raises(boots.Refused, match="over 512"):
        pi.call("can-arm", "b")


def test_too_long_to_be_completed(pi):
    data = b"[all]\ntryboot_a_b=1\nboot_partition=2\n" + b"# " + b"x" * 440 + b"\n"
    pi.write(AUTOBOOT, data)
    with pytest.raises(boots.Refused, match="over 512"):
        pi.call("arm", "b")
    assert pi.read_bytes(AUTOBOOT) == data


def test_power_cuts(pi):
    for verb, slot in [("invalidate", "b"), ("arm", "b"), ("good", "b"), ("arm", "a"), ("reject", "a")]:
        counted = boots.assert_atomic(pi, verb, slot)
        assert counted.get("new"), verb


def tell(pi, **numbers):
    """What the firmware says in the device tree."""
    for name, number in numbers.items():
        pi.write(f"proc/device-tree/chosen/bootloader/{name}", number.to_bytes(4, "big"))


def test_partitions_that_are_exchanged(pi):
    """Told by where a usual start began: every change would select the slot that is written next. Nothing is changed."""
    tell(pi, partition=2, tryboot=0)
    pi.runs("a")
    pi.call("invalidate", "b")
    pi.configure("rpi-tryboot", BootPartitionA=3, BootPartitionB=2)
    before = pi.read_bytes(AUTOBOOT)
    for verb in ("invalidate", "arm", "good", "reject"):
        with pytest.raises(boots.Refused, match="slot a runs, but the firmware started from partition 2, which is BootPartitionB="):
            pi.call(verb, "b")
    assert any("exchange BootPartitionA=" in sentence for sentence in pi.findings("failure"))
    assert pi.read_bytes(AUTOBOOT) == before
    # Some firmware tells the wrong number of a trial, or tells nothing.
    tell(pi, tryboot=1)
    pi.call("invalidate", "a")
    tell(pi, tryboot=0)
    pi.write("proc/device-tree/chosen/bootloader/partition", b"\0\0\0")
    pi.call("invalidate", "a")
    pi.path("proc/device-tree/chosen/bootloader/tryboot").unlink()
    tell(pi, partition=2)
    pi.call("invalidate", "a")


@pytest.mark.parametrize("numbers, level, part", [
    ({}, "warning", "does not say .* whether it can try a partition"),
    ({"capabilities": 0x7b}, "failure", "this boot EEPROM cannot try a partition .* rpi-eeprom-update"),
    ({"capabilities": 0x7f}, "ok", "can try a partition"),
    ({"capabilities": 0x7f, "partition": 5}, "warning", "started from partition 5, which is neither BootPartitionA=2 nor"),
])
def test_doctor_looks_at_the_firmware(pi, numbers, level, part):
    tell(pi, **numbers)
    assert any(re.search(part, sentence) for sentence in pi.findings(level)), pi.call("probe")


def test_doctor(pi):
    assert any("kernel lies outside of it" in sentence for sentence in pi.findings("warning"))
    assert any("has all its lines" in sentence for sentence in pi.findings("ok"))
    pi.write(AUTOBOOT, b"[all]\ntryboot_a_b=1\nboot_partition=2\n")
    assert any("has to be made longer" in sentence for sentence in pi.findings("warning"))


# --- with the boot partition as a part of the set ---

SLOTS = ("/dev/mmcblk0p5", "/dev/mmcblk0p6")
BOOT = {"boot": ("/dev/mmcblk0p2", "/dev/mmcblk0p3")}
CONFIG = "kernel=vmlinuz\n[boot_partition=2]\ncmdline=cmdline-a.txt\n[boot_partition=3]\ncmdline=cmdline-b.txt\n[all]\n"


@pytest.fixture
def set_pi(tmp_path):
    pi = Tryboot(tmp_path / "root")
    pi.has_partitions(2, 3, 5, 6)
    pi.configure("rpi-tryboot", slots=SLOTS, parts=BOOT)
    return pi


def test_whose_boot_partition_was_started(pi):
    pi.expect(started="none")
    tell(pi, partition=3, tryboot=0)
    pi.expect(started="b")
    tell(pi, partition=2)
    pi.expect(started="a")
    tell(pi, partition=7)
    pi.expect(started="none")
    # In a trial some firmware names the usual partition.
    pi.call("arm", "b")
    pi.reboot("0 tryboot")
    tell(pi, partition=2, tryboot=1)
    pi.expect(started="none", trial="b")
    tell(pi, partition=3)
    pi.expect(started="b", trial="b")
    pi.call("good", "b")
    pi.expect(started="b", trial="none")
    tell(pi, partition=2)
    pi.expect(started="none")
    # Older firmware does not tell of a trial.
    pi.path("proc/device-tree/chosen/bootloader/tryboot").unlink()
    tell(pi, partition=3)
    pi.expect(started="none")


def test_the_numbers_of_the_part(set_pi):
    """They are those of its partitions, which the settings must not contradict."""
    set_pi.expect(next="a")
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts={"boot": ("/dev/mmcblk0p3", "/dev/mmcblk0p2")})
    set_pi.expect(next="b")
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts=BOOT, BootPartitionA=2, BootPartitionB=3)
    set_pi.expect(next="a")
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts=BOOT, BootPartitionA=2, BootPartitionB=4)
    with pytest.raises(boots.Refused, match="BootPartitionB=4, but the part boot of slot b .* is partition 3"):
        set_pi.state()
    absent = {"boot": ("/dev/mmcblk0p2", "/dev/mmcblk0p9")}
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts=absent)
    with pytest.raises(boots.Refused, match="slot b .* is no partition that is there, .* set BootPartitionB="):
        set_pi.state()
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts=absent, BootPartitionB=3)
    set_pi.expect(next="a")
    set_pi.has_partitions(12)
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts={"boot": ("/dev/mmcblk0p12", "/dev/mmcblk0p3")})
    with pytest.raises(boots.Refused, match="slot a .* is partition 12; it has to be one of 1 to 9"):
        set_pi.state()
    # Another part has nothing to do with it.
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts={"app": ("/dev/mmcblk0p8", "/dev/mmcblk0p9")})
    set_pi.expect(next="a")


def test_doctor_knows_that_the_part_brings_the_kernel(set_pi):
    assert not any("kernel lies outside of it" in sentence for sentence in set_pi.findings("warning"))
    set_pi.configure("rpi-tryboot", slots=SLOTS, parts={"app": ("/dev/mmcblk0p8", "/dev/mmcblk0p9")})
    assert any("kernel lies outside of it" in sentence for sentence in set_pi.findings("warning"))


def mount(pi, files):
    """Mounts both boot partitions, which hold these files."""
    lines = ""
    for number in (2, 3):
        lines += f"{20 + number} 1 179:{number} / /mnt/{number} ro - vfat /dev/mmcblk0p{number} ro\n"
        for name, text in files.items():
            pi.write(f"mnt/{number}/{name}", text)
    pi.write("proc/self/mountinfo", lines)


def about_parts(pi, level):
    return [sentence for sentence in pi.findings(level) if "boot partition of slot" in sentence or "[boot_partition=N]" in sentence]


CMDLINES = {"cmdline-a.txt": "console=tty1 root=/dev/mmcblk0p5 rootwait\n", "cmdline-b.txt": "root=/dev/mmcblk0p6\n"}


@pytest.mark.parametrize("files, expected", [
    ({"config.txt": CONFIG, **CMDLINES}, []),
    # Not told apart: what slot A's partition says is right, and slot B's leads to slot A.
    ({"config.txt": "kernel=vmlinuz\n", "cmdline.txt": "root=/dev/mmcblk0p5\n"}, ["slot b (on /mnt/3) starts slot a"]),
    ({"config.txt": CONFIG, "cmdline-a.txt": CMDLINES["cmdline-b.txt"], "cmdline-b.txt": CMDLINES["cmdline-a.txt"]},
     ["slot a (on /mnt/2) starts slot b", "slot b (on /mnt/3) starts slot a"]),
    ({"config.txt": CONFIG, "cmdline-a.txt": CMDLINES["cmdline-a.txt"]}, ["slot b (on /mnt/3) has no root= in cmdline-b.txt"]),
    # A later name counts, and so does a later root=.
    ({"config.txt": CONFIG + "cmdline=both.txt\n", "both.txt": "root=/dev/mmcblk0p5 root=/dev/mmcblk0p6\n"},
     ["slot a (on /mnt/2) starts slot b"]),
    # Nothing is concluded from a filter that is not understood, nor from a root= that is neither.
    ({"config.txt": CONFIG + "[pi4]\ncmdline=both.txt\n", "both.txt": "root=/dev/mmcblk0p5\n"}, []),
    ({"config.txt": CONFIG, "cmdline-a.txt": "root=/dev/mapper/root\n", "cmdline-b.txt": "root=LABEL=x\n"}, []),
    ({"config.txt": "", "cmdline.txt": "quiet\n"}, ["slot a (on /mnt/2) has no root=", "slot b (on /mnt/3) has no root="]),
])
def test_doctor_looks_where_the_boot_partitions_lead(set_pi, files, expected):
    assert about_parts(set_pi, "failure") == []
    mount(set_pi, files)
    found = about_parts(set_pi, "failure")
    assert len(found) == len(expected) and all(part in sentence for part, sentence in zip(expected, found)), found


PI_5 = b"raspberrypi,5-model-b\0brcm,bcm2712\0"
PI_4 = b"raspberrypi,4-model-b\0brcm,bcm2711\0"
FILTER_DAY = 1741564800


@pytest.mark.parametrize("model, built, files, level", [
    (PI_5, FILTER_DAY - 1, {"config.txt": CONFIG, **CMDLINES}, "failure"),
    (PI_5, FILTER_DAY - 1, {}, "warning"),
    # One image for each slot does without the filter.
    (PI_5, FILTER_DAY - 1, {"config.txt": "kernel=vmlinuz\n", "cmdline.txt": "root=/dev/mapper/root\n"}, None),
    (PI_5, FILTER_DAY, {"config.txt": CONFIG, **CMDLINES}, None),
    (PI_5, None, {"config.txt": CONFIG, **CMDLINES}, None),
    # There start4.elf reads config.txt, which is on the boot partition itself.
    (PI_4, FILTER_DAY - 1, {"config.txt": CONFIG, **CMDLINES}, None),
    (None, FILTER_DAY - 1, {"config.txt": CONFIG, **CMDLINES}, None),
])
def test_doctor_knows_which_firmware_lacks_the_filter(set_pi, model, built, files, level):
    if model:
        set_pi.write("proc/device-tree/compatible", model)
    if built:
        tell(set_pi, **{"build-timestamp": built})
    mount(set_pi, files)
    for one in ("failure", "warning"):
        assert any("2025-03-10" in sentence for sentence in about_parts(set_pi, one)) == (one == level), set_pi.call("probe")


# --- rpi-cmdline ---

@pytest.fixture
def cmdline(tmp_path):
    pi = boots.Loader(tmp_path / "root", "rpi-cmdline", slots=("PARTUUID=738a4d67-02", "/dev/mmcblk0p3"))
    pi.write(CMDLINE, "console=tty1 root=PARTUUID=738a4d67-02 rootwait quiet\n")
    return pi


def test_cmdline_power_cuts(cmdline):
    """Also where the file has to grow first: all that a cut leaves then names the old slot."""
    for start in ("root=PARTUUID=738a4d67-02 quiet\n", "root=/dev/mmcblk0p3 quiet", "root=/dev/mmcblk0p3 quiet\n"):
        cmdline.write(CMDLINE, start)
        old = cmdline.state()["next"]
        other = "ba"["ab".index(old)]
        for verb, slot in [("arm", other), ("good", other), ("reject", other), ("invalidate", other)]:
            counted = boots.assert_atomic(cmdline, verb, slot)
            assert counted
        cmdline.expect(next=old)


def test_cmdline_says_that_there_is_no_way_back(cmdline):
    warnings = cmdline.findings("warning")
    assert any("cannot fall back by itself" in sentence for sentence in warnings)
    assert any("one kernel outside the slots serves both" in sentence for sentence in warnings)


@pytest.mark.skipif(not shutil.which("mcopy") or not shutil.which("mkfs.vfat"), reason="mtools is not installed")
def test_the_file_on_a_fat_keeps_its_cluster(pi, tmp_path):
    """What is overwritten in place goes back to the same place of a FAT: everything but the one sector is the same."""
    image = tmp_path / "fat.img"
    with open(image, "wb") as file:
        file.truncate(2 << 20)
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
    subprocess.run(["mcopy", "-i", image, pi.path(AUTOBOOT), "::autoboot.txt"], check=True)
    before = image.read_bytes()
    place = before.index(SHIPPED)
    assert place % 512 == 0
    operations = boots.record(pi, "arm", "b")
    writes = [operation for operation in operations if operation[0] == "write"]
    assert len(writes) == 1 and writes[0][2] == 0 and len(writes[0][3]) == len(SHIPPED)
    after = bytearray(before)
    after[place:place + len(SHIPPED)] = writes[0][3]
    image.write_bytes(after)
    text = subprocess.run(["mtype", "-i", image, "::autoboot.txt"], check=True, capture_output=True).stdout
    assert text == pi.read_bytes(AUTOBOOT)
    assert [at for at in range(0, len(after), 512) if after[at:at + 512] != before[at:at + 512]] == [place]
