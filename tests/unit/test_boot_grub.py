# SPDX-License-Identifier: MIT
"""Backend=grub, against GRUB itself: the environment block is what grub-editenv makes, reads and changes, and grub-emu, which is
GRUB as a program, makes of conf/grub.cfg what it makes of it on a machine, but for the kernel's start."""
import itertools
import os
import re
import shutil
import subprocess

import pytest

import boots

NEEDS = ("grub-editenv", "grub-emu", "sfdisk", "mkfs.vfat", "mcopy")
pytestmark = [pytest.mark.sanitized,
              pytest.mark.skipif(not all(shutil.which(name) for name in NEEDS), reason=f"not installed: one of {NEEDS}")]
GRUBENV = "boot/grub/grubenv"
CONFIG = (boots.ROOT / "conf" / "grub.cfg").read_text()
# What is tested there is GRUB and its script, once.
ONCE = pytest.mark.skipif(bool(os.environ.get("MOONSINTER_SANITIZED")), reason="nothing of ours to sanitize")
# The kernel is there or not; there is no machine to start it on.
COMMANDS = 'function linux { echo "kernel: $1 $2 $3"; test -f "$1"; }\nfunction initrd { true; }\n'
A_RUNS = {"moonsinter_order": "A B", "moonsinter_A_ok": "1", "moonsinter_A_left": "0"}


class Grub(boots.Loader):
    def __init__(self, root, **settings):
        super().__init__(root, "grub", **settings)
        self.write(GRUBENV, b"")
        self.edit("create")

    def edit(self, *arguments):
        return subprocess.run(["grub-editenv", self.path(GRUBENV), *arguments], capture_output=True, text=True, timeout=10,
                              check=True).stdout

    def listed(self):
        return dict(line.split("=", 1) for line in self.edit("list").splitlines())

    def make_disk(self, kernels="ab"):
        """As docs/boot.md has it: GRUB's partition, and the slots, with a kernel or without."""
        script = CONFIG.replace("\n    boot\n", '\n    echo "booted: $slot"\n    exit\n').replace("sleep 10\nreboot\n", "exit\n")
        assert script.count("exit") == 2
        config = self.write("grub.cfg", COMMANDS + script)
        disk = self.write("disk.img", b"")
        with open(disk, "r+b") as file:
            file.truncate(5 << 20)
        subprocess.run(["sfdisk", "-q", disk], input="label: gpt\n1M,1M\n2M,1M\n3M,1M\n", text=True, check=True)
        for number in (1, 2, 3):
            subprocess.run(["mkfs.vfat", f"--offset={number * 2048}", disk, "1024"], check=True, capture_output=True)
        self.mtools("mmd", 1, "::grub")
        self.mtools("mcopy", 1, config, "::grub/grub.cfg")
        for slot in kernels:
            self.mtools("mmd", 2 + "ab".index(slot), "::boot")
            self.mtools("mcopy", 2 + "ab".index(slot), config, "::boot/vmlinuz")
        self.write("device.map", f"(hd0) {disk}\n")

    def mtools(self, tool, number, *arguments):
        options = ["-o"] if tool == "mcopy" else []
        subprocess.run([tool, *options, "-i", f"{self.path('disk.img')}@@{number}M", *arguments], check=True, capture_output=True)

    def boot(self):
        """What GRUB does at a start: the slot it starts, None where it finds none."""
        if not self.path("disk.img").exists():
            self.make_disk()
        has_block = self.path(GRUBENV).exists()
        if has_block:
            self.mtools("mcopy", 1, self.path(GRUBENV), "::grub/grubenv")
        slot = self.start()
        if has_block:
            self.mtools("mcopy", 1, "::grub/grubenv", self.path(GRUBENV))
        return slot

    def start(self):
        done = subprocess.run(["grub-emu", "-m", self.path("device.map"), "-r", "hd0,gpt1", "-d", "/grub"],
                              capture_output=True, stdin=subprocess.DEVNULL, env={"TERM": "dumb"}, timeout=20, check=False)
        self.console = done.stdout.decode(errors="replace")
        booted = re.findall(r"booted: ([AB])", self.console)
        return booted[0].lower() if booted else None


@pytest.fixture
def grub(tmp_path):
    return Grub(tmp_path / "root", Tries=3)


def test_an_update_that_is_marked_good(grub):
    grub.expect(running="none", next="a", trial="none", a="unknown", b="unknown")
    grub.call("invalidate", "b")
    grub.expect(next="a", trial="none", a="good", b="bad")
    assert grub.listed() == {**A_RUNS, "moonsinter_B_ok": "0", "moonsinter_B_left": "0"}
    assert grub.boot() == "a"
    grub.call("arm", "b")
    grub.expect(next="b", trial="b", tries_left=3, a="good", b="trial")
    assert grub.boot() == "b"
    grub.expect(next="b", trial="b", tries_left=2)
    grub.call("good", "b")
    grub.expect(next="b", trial="none", tries_left=0, a="good", b="good")
    assert [grub.boot() for _ in range(5)] == ["b"] * 5


def test_an_update_that_never_comes_up(grub):
    grub.call("invalidate", "b")
    grub.call("arm", "b")
    assert [grub.boot() for _ in range(5)] == ["b", "b", "b", "a", "a"]
    grub.expect(next="a", trial="b", tries_left=0, a="good", b="bad")
    grub.call("invalidate", "b")
    grub.expect(next="a", trial="none", b="bad")


def test_an_update_that_is_rejected(grub):
    grub.call("invalidate", "b")
    grub.call("arm", "b")
    assert grub.boot() == "b"
    grub.call("reject", "b")
    grub.expect(next="a", trial="none", a="good", b="bad")
    assert grub.boot() == "a"


def told(order, ok, left, kernels):
    """What docs/boot.md says of a state: the slot that is started, and the starts that are left after it."""
    order = order.split()
    start = next((slot for slot in order if ok[slot] or left[slot]), "A")
    if not ok[start] and left[start]:
        left = {**left, start: left[start] - 1}
    other = "BA"["AB".index(start)]
    tried = [start] + ([other] if ok[other] else [])
    return next((slot.lower() for slot in tried if slot.lower() in kernels), None), left


@ONCE
def test_what_grub_makes_of_every_state(grub):
    """And that it is what we say it does, where any slot may be started."""
    for kernels in ("ab", "a", "b", ""):
        grub.make_disk(kernels)
        for order, a_ok, b_ok, left in itertools.product(("A B", "B A"), (0, 1), (0, 1), (0, 2)):
            if kernels != "ab" and left:
                continue
            ok, lefts = {"A": a_ok, "B": b_ok}, {"A": left, "B": left}
            grub.edit("set", f"moonsinter_order={order}", f"moonsinter_A_ok={a_ok}", f"moonsinter_A_left={left}",
                      f"moonsinter_B_ok={b_ok}", f"moonsinter_B_left={left}")
            if kernels == "ab" and (a_ok or b_ok or left):
                assert grub.state()["next"] == told(order, ok, lefts, kernels)[0]
            before = grub.listed()
            slot, lefts = told(order, ok, lefts, kernels)
            assert grub.boot() == slot, (before, kernels, grub.console)
            assert grub.listed() == {**before, **{f"moonsinter_{name}_left": str(count) for name, count in lefts.items()}}
            if slot:
                assert f"/boot/vmlinuz root=PARTLABEL=root-{slot} moonsinter.slot={slot}" in grub.console


@ONCE
@pytest.mark.parametrize("data", [b"", b"#", b"# GRUB Environment Block\n" + b"#" * 1024, b"\0" * 1024,
                                  b"# GRUB Environment Block\nmoonsinter_order=B\nmoonsinter_B_ok=1\n".ljust(1024, b"#"), None],
                         ids=["empty", "short", "long", "zeros", "nonsense", "none"])
def test_a_block_that_says_nothing_is_slot_a(grub, data):
    """And B where A has no kernel."""
    grub.path(GRUBENV).unlink()
    if data is not None:
        grub.write(GRUBENV, data)
    assert grub.boot() == "a"
    grub.make_disk("b")
    assert grub.boot() == "b"


@ONCE
def test_a_try_that_cannot_be_written_down_is_not_made(grub):
    """On a file system that GRUB does not write."""
    grub.call("invalidate", "b")
    grub.call("arm", "b")
    assert grub.boot() == "b"
    grub.make_disk()
    folder = grub.path("boot")
    shutil.copy(grub.path("grub.cfg"), folder / "grub" / "grub.cfg")
    image = grub.path("boot.squashfs")
    subprocess.run(["mksquashfs", folder, image, "-quiet", "-comp", "gzip"], check=True, capture_output=True)
    data = bytearray(grub.read_bytes("disk.img"))
    data[1 << 20:2 << 20] = image.read_bytes().ljust(1 << 20, b"\0")
    grub.write("disk.img", data)
    assert grub.start() == "a"


def test_calls_are_idempotent_and_write_nothing_twice(grub):
    for verb, slot in [("invalidate", "b"), ("arm", "b"), ("good", "b"), ("reject", "b")]:
        grub.call(verb, slot)
        before = grub.read_bytes(GRUBENV)
        assert [operation for operation in boots.record(grub, verb, slot) if operation[0] == "write"] == [], verb
        assert grub.read_bytes(GRUBENV) == before


def test_the_good_slot_is_kept(grub):
    """Neither a second slot given up nor a rejection leaves nothing to boot."""
    grub.call("invalidate", "b")
    for verb in ("invalidate", "reject", "arm"):
        with pytest.raises(boots.Refused, match="slot b is not marked good"):
            grub.call(verb, "a")
    grub.expect(next="a", a="good", b="bad")


def test_nothing_is_known_of_a_fresh_block(grub):
    """What GRUB starts where A cannot be started may be an empty partition: it is not what one falls back to."""
    with pytest.raises(boots.Refused, match="slot b was never marked good"):
        grub.call("reject", "a")
    assert "moonsinter" not in str(grub.listed())
    grub.call("good", "a")
    grub.expect(next="a", trial="none", a="good", b="bad")
    assert grub.listed() == {**A_RUNS, "moonsinter_B_ok": "0", "moonsinter_B_left": "0"}
    # Made anew while B runs.
    grub.edit("create")
    grub.call("invalidate", "a")
    grub.expect(next="b", trial="none", a="bad", b="good")


def test_other_variables_stay(grub):
    grub.edit("set", "saved_entry=Debian, with a \\ in it", "next_entry=")
    others = {"saved_entry": "Debian, with a \\ in it", "next_entry": ""}
    for verb in ("invalidate", "arm", "good"):
        grub.call(verb, "b")
        assert {key: value for key, value in grub.listed().items() if not key.startswith("moonsinter")} == others
    # What grub-editenv and GRUB do to the block's other variables does not move ours.
    grub.edit("set", "saved_entry=1", "more=" + "x" * 700)
    grub.edit("unset", "next_entry")
    grub.expect(next="b", trial="none", a="good", b="good")
    grub.call("reject", "b")
    assert grub.listed()["more"] == "x" * 700 and grub.boot() == "a"


def test_comments_stay(grub):
    """Before the variables and after them; GRUB passes them by."""
    data = grub.read_bytes(GRUBENV).rstrip(b"#") + b"# ours\none=1\n# more of ours\n"
    grub.write(GRUBENV, data.ljust(1024, b"#"))
    for verb in ("invalidate", "arm", "good"):
        grub.call(verb, "b")
    left = grub.read_bytes(GRUBENV)
    assert b"# ours\nmoonsinter_order" in left and b"\none=1\n# more of ours\n####" in left
    assert grub.listed()["one"] == "1" and grub.boot() == "b"


def test_too_many_other_variables(grub):
    grub.edit("set", "more=" + "x" * 400)
    before = grub.read_bytes(GRUBENV)
    with pytest.raises(boots.Refused, match="so many other variables"):
        grub.call("invalidate", "b")
    assert grub.read_bytes(GRUBENV) == before


@pytest.mark.parametrize("variables", [[], ["saved_entry=0"]])
def test_a_block_without_padding(grub, variables):
    """As an editor leaves it that ends each file in a line feed: to GRUB the padding is a comment then."""
    if variables:
        grub.edit("set", *variables)
    data = grub.read_bytes(GRUBENV)[:-1] + b"\n"
    grub.write(GRUBENV, data)
    grub.expect(next="a")
    for verb in ("can-arm", "invalidate"):
        with pytest.raises(boots.Refused, match=f"lacks the padding.*grub-editenv {grub.path(GRUBENV)} create"):
            grub.call(verb, "b")
    assert grub.read_bytes(GRUBENV) == data
    grub.edit("create")
    grub.call("invalidate", "b")


def test_an_empty_block_is_made_anew(grub):
    """What grub-editenv leaves at a power cut must not be the last that the machine hears of updates."""
    grub.write(GRUBENV, b"")
    grub.expect(next="a", trial="none", a="unknown", b="unknown")
    assert any("is empty, as grub-editenv leaves it" in sentence for sentence in grub.findings("warning"))
    assert grub.boot() == "a" and grub.read_bytes(GRUBENV) == b""
    counted, operations = boots.power_cuts(grub, "invalidate", "b")
    # This one write is not of one sector. What a cut in it leaves is no other state, and to GRUB what it was before.
    assert {name.split(":")[0] for name in counted} == {"old", "new", "unreadable"}
    assert [operation[2:] for operation in operations if operation[0] == "write"] == [(0, grub.read_bytes(GRUBENV))]
    for data in (b"", grub.read_bytes(GRUBENV)[:512].ljust(1024, b"\0"), b"\0" * 512 + b"#" * 512):
        grub.edit("create")
        grub.write(GRUBENV, data)
        assert grub.boot() == "a"
    grub.write(GRUBENV, b"")
    grub.call("invalidate", "b")
    grub.expect(next="a", trial="none", a="good", b="bad")
    assert len(grub.read_bytes(GRUBENV)) == 1024 and grub.listed() == {**A_RUNS, "moonsinter_B_ok": "0", "moonsinter_B_left": "0"}
    grub.call("arm", "b")
    assert [grub.boot() for _ in range(4)] == ["b", "b", "b", "a"]
    grub.write(GRUBENV, b"")
    grub.call("invalidate", "a")
    assert grub.boot() == "b"


@pytest.mark.parametrize("change, part", [
    (lambda data: data[:1], "no environment block"),
    (lambda data: data[:1023], "no environment block"),
    (lambda data: data + b"#", "1025 bytes; over 1024, .*; make it anew with grub-editenv .*/grubenv create"),
    (lambda data: bytes(1024), "zero byte; make it anew with grub-editenv .*/grubenv create"),
    (lambda data: b"!" + data[1:], "no environment block"),
    (lambda data: data[:600] + b"\0" + data[601:], "zero byte"),
    (lambda data: data.replace(b"A_left=0", b"A_left=x"), "with a value that cannot be"),
    (lambda data: data.replace(b"A_ok=1", b"A_ok=2"), "with a value that cannot be"),
    (lambda data: data.replace(b"order=A B", b"order=A A"), "with a value that cannot be"),
    (lambda data: data.replace(b"A_left=0\n", b"A_left=\n#"), "of a length that cannot be"),
    (lambda data: data.replace(b"A_left=0", b"A_lefu=0"), "some of moonsinter's variables"),
    (lambda data: data[:-24] + b"\nmoonsinter_A_ok=0\n#####", "has moonsinter_A_ok twice"),
    (lambda data: data[:-10] + b"\nendless=1", "its last line does not end"),
    (lambda data: data[:-2] + b"\n\\", "its last line does not end"),
    (lambda data: data[:-30] + b"no padding" + b"#" * 20, "its last line does not end"),
])
def test_hostile_blocks(grub, change, part):
    grub.call("invalidate", "b")
    grub.write(GRUBENV, change(grub.read_bytes(GRUBENV)))
    before = grub.read_bytes(GRUBENV)
    for verb in (["read"], ["good", "a"], ["arm", "b"]):
        with pytest.raises(boots.Refused, match=part):
            grub.call(*verb)
    assert grub.read_bytes(GRUBENV) == before


def test_variables_behind_the_first_sector(grub):
    grub.edit("set", "more=" + "x" * 500, *[f"{key}={value}" for key, value in A_RUNS.items()],
              "moonsinter_B_ok=1", "moonsinter_B_left=0")
    with pytest.raises(boots.Refused, match="behind its first 512 bytes"):
        grub.state()


def test_power_cuts(grub):
    """Each change from each state it is made in; the first one also brings the variables."""
    grub.edit("set", "saved_entry=0")
    for calls in ([("invalidate", "b"), ("arm", "b"), ("good", "b"), ("reject", "b"), ("good", "a")],
                  [("invalidate", "b"), ("arm", "b"), ("reject", "b"), ("invalidate", "b")]):
        for verb, slot in calls:
            counted = boots.assert_atomic(grub, verb, slot)
            assert grub.listed()["saved_entry"] == "0"
        assert counted


def test_whether_it_could_be_armed(grub):
    for slot in "ab":
        grub.call("can-arm", slot)
    grub.call("invalidate", "b")
    grub.call("arm", "b")
    grub.call("can-arm", "b")
    with pytest.raises(boots.Refused, match="slot b is not marked good"):
        grub.call("can-arm", "a")
    grub.edit("create")
    grub.edit("set", "more=" + "x" * 400)
    with pytest.raises(boots.Refused, match="so many other variables"):
        grub.call("can-arm", "b")


def test_power_cuts_would_find_a_truncation(grub):
    """The same test on what grub-editenv does."""
    grub.call("invalidate", "b")
    grub.command = lambda verb, *slot: (["grub-editenv", str(grub.path(GRUBENV)), "set", "moonsinter_B_left=3"]
                                        if verb == "arm" else boots.Loader.command(grub, verb, *slot))
    counted, _ = boots.power_cuts(grub, "arm", "b")
    assert any(name.startswith("unreadable") for name in counted), counted


def test_doctor(grub):
    assert any("has no variables of moonsinter's yet" in sentence for sentence in grub.findings("warning"))
    grub.call("invalidate", "b")
    assert grub.findings("warning") == [] and grub.findings("failure") == []
    grub.write(GRUBENV, b"#" * 1024)
    with pytest.raises(boots.Refused, match="make it with grub-editenv"):
        grub.call("probe")
