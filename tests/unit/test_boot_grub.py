"""Backend=grub, against GRUB's own tools: the environment block is what grub-editenv makes, reads and changes."""
import shutil
import subprocess

import pytest

import boots

pytestmark = [pytest.mark.sanitized,
              pytest.mark.skipif(not shutil.which("grub-editenv"), reason="grub-editenv is not installed")]
GRUBENV = "boot/grub/grubenv"
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

    def boot(self):
        """What conf/grub.cfg does at a start; returns the slot that is started. What GRUB itself makes of that file is
        tested in a machine that boots."""
        known = self.listed()
        order = known.get("moonsinter_order", "A B").split()
        for slot in order:
            if known.get(f"moonsinter_{slot}_ok", "1") == "1":
                return slot.lower()
            left = int(known[f"moonsinter_{slot}_left"])
            if left:
                self.edit("set", f"moonsinter_{slot}_left={left - 1}")
                return slot.lower()
        return order[0].lower()


@pytest.fixture
def grub(tmp_path):
    return Grub(tmp_path / "root", Tries=3)


def test_an_update_that_is_marked_good(grub):
    grub.expect(running="none", next="a", trial="none", a="good", b="good")
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


@pytest.mark.parametrize("change, part", [
    (lambda data: b"", "no environment block"),
    (lambda data: data[:1023], "no environment block"),
    (lambda data: data + b"#", "over 1024"),
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
    grub.write(GRUBENV, b"")
    with pytest.raises(boots.Refused, match="make it with grub-editenv"):
        grub.call("probe")
