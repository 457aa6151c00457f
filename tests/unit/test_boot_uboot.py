# SPDX-License-Identifier: MIT
"""Backend=uboot, against fw_printenv and fw_setenv on environments in files: one copy and two, RAUC's variables and
Mender's."""
import json
import os
import re
import shutil
import subprocess
import zlib

import pytest

import boots

pytestmark = [pytest.mark.sanitized,
              pytest.mark.skipif(not shutil.which("fw_setenv"), reason="fw_setenv is not installed")]
SIZE = 0x2000
HELD = "mount -t tmpfs none /run/lock; exec 9>/run/lock/fw_printenv.lock; flock 9"
RAUC_FRESH = {"BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"}
MENDER_FRESH = {"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0", "bootcount": "0",
                "bootlimit": "1", "altbootcmd": "run mender_altbootcmd"}


class Uboot(boots.Loader):
    def __init__(self, root, variables, copies=2, **settings):
        super().__init__(root, "uboot", **settings)
        self.copies = copies
        self.write("dev/env", bytes(copies * SIZE))
        self.write("etc/fw_env.config", "# device offset size\n" + "".join(
            f"{self.path('dev/env')} {hex(copy * SIZE)} {hex(SIZE)}\n" for copy in range(copies)))
        self.runs("a")
        # A first environment, as a U-Boot that was never told anything saves it.
        text = b"".join(f"{key}={value}\0".encode() for key, value in variables.items()).ljust(
            SIZE - 4 - (copies == 2), b"\0")
        checksum = zlib.crc32(text).to_bytes(4, "little")
        self.write("dev/env", (checksum + (b"\1" if copies == 2 else b"") + text) + bytes((copies - 1) * SIZE))

    def tool(self, name, *arguments):
        return subprocess.run([name, "-c", self.path("etc/fw_env.config"), *arguments], capture_output=True, text=True,
                              timeout=20, check=True).stdout

    def variables(self):
        return dict(line.split("=", 1) for line in self.tool("fw_printenv").splitlines())

    def set(self, **variables):
        for key, value in variables.items():
            self.tool("fw_setenv", key, str(value))


class Rauc(Uboot):
    def boot(self, ours=True):
        """What the boot script does: ours counts in a trial only, the common one always."""
        known = self.variables()
        for slot in known.get("BOOT_ORDER", "A B").split():
            left = int(known.get(f"BOOT_{slot}_LEFT", "3"), 16)
            if not left:
                continue
            if not ours or known.get("moonsinter_trial") in (slot, "all"):
                self.set(**{f"BOOT_{slot}_LEFT": f"{left - 1:x}"})
            return slot.lower()
        return None


class Mender(Uboot):
    def boot(self):
        known = self.variables()
        if known["upgrade_available"] == "1":
            count = int(known["bootcount"]) + 1
            if count > int(known["bootlimit"]):
                part = "2" if known["mender_boot_part"] == "3" else "3"
                self.set(mender_boot_part=part, mender_boot_part_hex=part, upgrade_available=0, bootcount=0)
            else:
                self.set(bootcount=count)
        return {"2": "a", "3": "b"}[self.variables()["mender_boot_part"]]


@pytest.fixture(params=[1, 2], ids=["one-copy", "two-copies"])
def rauc(request, tmp_path):
    return Rauc(tmp_path / "root", RAUC_FRESH, request.param, UbootVariables="rauc")


@pytest.fixture(params=[1, 2], ids=["one-copy", "two-copies"])
def mender(request, tmp_path):
    return Mender(tmp_path / "root", MENDER_FRESH, request.param, UbootVariables="mender", Tries=2)


def test_rauc_an_update_that_is_marked_good(rauc):
    rauc.expect(running="none", next="a", trial="none", a="good", b="good")
    rauc.call("invalidate", "b")
    rauc.expect(next="a", trial="none", a="good", b="bad")
    assert rauc.variables() == {"BOOT_ORDER": "A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "0"}
    rauc.call("arm", "b")
    rauc.expect(next="b", trial="b", tries_left=3, a="good", b="trial")
    assert rauc.variables() == {"BOOT_ORDER": "B A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3", "moonsinter_trial": "B"}
    assert rauc.boot() == "b"
    rauc.expect(next="b", trial="b", tries_left=2)
    rauc.call("good", "b")
    rauc.expect(next="b", trial="none", a="good", b="good")
    assert rauc.variables() == {"BOOT_ORDER": "B A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"}


@pytest.mark.parametrize("ours", [True, False], ids=["our-script", "raucs-script"])
def test_rauc_an_update_that_never_comes_up(rauc, ours):
    rauc.call("invalidate", "b")
    rauc.call("arm", "b")
    assert [rauc.boot(ours) for _ in range(4)] == ["b", "b", "b", "a"]
    rauc.call("start")
    rauc.expect(next="a", trial="b", tries_left=0, a="good", b="bad")
    rauc.call("invalidate", "b")
    rauc.expect(next="a", trial="none", b="bad")


def test_rauc_good_slots_get_their_starts_back(rauc):
    """With a script that counts every start, the daemon's start is what keeps a good slot going."""
    for _ in range(8):
        assert rauc.boot(ours=False) == "a"
        rauc.call("start")
    rauc.expect(next="a", trial="none", a="good")
    assert rauc.variables()["BOOT_A_LEFT"] == "3"


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_rauc_good_slots_are_not_left_for_few_tries(rauc, tries):
    """Tries= is how often a new slot is started. A good one has more, or a start that does not come up would leave it."""
    rauc.configure("uboot", UbootVariables="rauc", Tries=tries)
    rauc.runs("a")
    for _ in range(8):
        assert [rauc.boot(ours=False) for _ in range(2)] == ["a", "a"]
        rauc.call("start")
        rauc.expect(next="a", trial="none", a="good")
    rauc.runs("b")
    rauc.call("invalidate", "a")
    rauc.call("arm", "a")
    assert rauc.boot(ours=False) == "a"
    rauc.call("good", "a")
    rauc.runs("a")
    assert [rauc.boot(ours=False) for _ in range(2)] == ["a", "a"]


def test_rauc_the_last_start_of_a_good_slot(rauc):
    """Power lost twice before the daemon came up: the slot that runs is given its starts back, for it does come up. The other
    one, which did not, is not."""
    rauc.runs("a")
    assert [rauc.boot(ours=False) for _ in range(3)] == ["a", "a", "a"]
    rauc.call("start")
    rauc.expect(next="a", trial="none", a="good")
    assert rauc.boot(ours=False) == "a"
    rauc.set(BOOT_A_LEFT=0)
    assert rauc.boot(ours=False) == "b"
    rauc.runs("b")
    rauc.call("start")
    assert rauc.variables() == {"BOOT_ORDER": "A B", "BOOT_A_LEFT": "0", "BOOT_B_LEFT": "3"}
    # Nor is one that was left on purpose, or whose tries ran out.
    rauc.call("invalidate", "a")
    rauc.runs("a")
    rauc.call("start")
    assert rauc.variables() == {"BOOT_ORDER": "B", "BOOT_A_LEFT": "0", "BOOT_B_LEFT": "3"}
    rauc.call("arm", "a")
    assert [rauc.boot(ours=False) for _ in range(3)] == ["a", "a", "a"]
    rauc.call("start")
    rauc.expect(next="b", trial="a", tries_left=0)


def test_rauc_an_environment_made_anew_is_all_on_trial(rauc):
    """What our script does where it could not read the environment."""
    rauc.set(BOOT_ORDER="A B", BOOT_A_LEFT=3, BOOT_B_LEFT=3, moonsinter_trial="all")
    assert rauc.boot() == "a"
    rauc.call("start")
    rauc.expect(next="a", trial="a", tries_left=2)
    assert any("every slot is on trial" in sentence for sentence in rauc.findings("warning"))
    assert [rauc.boot() for _ in range(3)] == ["a", "a", "b"]
    rauc.runs("b")
    rauc.expect(next="b", trial="b", tries_left=2)
    rauc.call("good", "b")
    rauc.expect(next="b", trial="none", b="good")


@pytest.fixture
def made_anew(rauc):
    """As above, and slot A has no kernel, so that the script went on to B; A had a start taken for that."""
    rauc.set(BOOT_ORDER="A B", BOOT_A_LEFT=2, BOOT_B_LEFT=2, moonsinter_trial="all")
    rauc.runs("b")
    return rauc


def test_rauc_the_slot_that_runs_is_on_trial(made_anew):
    """And when it is marked good, the other one may hold anything: it does not stand in for it."""
    made_anew.expect(next="a", trial="b", tries_left=2, a="unknown", b="trial")
    with pytest.raises(boots.Refused, match="slot b is not good"):
        made_anew.call("invalidate", "a")
    boots.assert_atomic(made_anew, "good", "b") if made_anew.copies == 2 else made_anew.call("good", "b")
    made_anew.expect(next="b", trial="none", a="bad", b="good")
    assert made_anew.variables() == {"BOOT_ORDER": "B", "BOOT_A_LEFT": "0", "BOOT_B_LEFT": "3"}


def test_rauc_a_rejection_leaves_the_other_one_on_trial(made_anew):
    """Nobody knows that it is good, so it must not be started for ever."""
    made_anew.runs("a")
    made_anew.call("reject", "a")
    made_anew.expect(next="b", b="unknown")
    assert [made_anew.boot() for _ in range(2)] == ["b", "b"]
    made_anew.runs("b")
    made_anew.expect(trial="b", tries_left=0)
    assert made_anew.boot() is None, "the script begins anew"
    # With nothing left of either, none can be given up.
    for slot in "ab":
        with pytest.raises(boots.Refused, match="is not good"):
            made_anew.call("reject", slot)


def test_rauc_slots_by_other_names(tmp_path):
    """RAUC's bootname is whatever the board's integrator chose."""
    settings = {"UbootVariables": "rauc", "BootNameA": "system0", "BootNameB": "system-1.b"}
    rauc = Rauc(tmp_path / "root", {"BOOT_ORDER": "system0 system-1.b", "BOOT_system0_LEFT": "3", "BOOT_system-1.b_LEFT": "3"},
                **settings)
    rauc.expect(next="a", trial="none", a="good", b="good")
    rauc.call("invalidate", "b")
    boots.assert_atomic(rauc, "arm", "b")
    assert rauc.variables() == {"BOOT_ORDER": "system-1.b system0", "BOOT_system0_LEFT": "3", "BOOT_system-1.b_LEFT": "3",
                                "moonsinter_trial": "system-1.b"}
    rauc.expect(next="b", trial="b", tries_left=3, a="good", b="trial")
    rauc.call("reject", "b")
    assert rauc.variables()["BOOT_ORDER"] == "system0"
    rauc.set(BOOT_ORDER="A B")
    with pytest.raises(boots.Refused, match=r"BOOT_ORDER=A B, which has to name system0 \(BootNameA=\), system-1.b .*or the names"):
        rauc.state()
    for names, part in ((("x", "x"), "are the same: x"), (("all", "x"), "BootNameA=all cannot be used")):
        rauc.configure("uboot", **{**settings, "BootNameA": names[0], "BootNameB": names[1]})
        with pytest.raises(boots.Refused, match=part):
            rauc.state()


def test_rauc_without_variables(rauc):
    """A board that never saved any: the scripts' defaults."""
    for name in RAUC_FRESH:
        rauc.tool("fw_setenv", name)
    rauc.set(ethaddr="00:11:22:33:44:55")
    rauc.expect(next="a", trial="none", a="unknown", b="unknown")
    with pytest.raises(boots.Refused, match="slot b was never marked good"):
        rauc.call("reject", "a")
    rauc.call("invalidate", "b")
    rauc.expect(next="a", trial="none", a="good", b="bad")
    rauc.call("arm", "b")
    assert rauc.boot() == "b" and rauc.variables()["ethaddr"] == "00:11:22:33:44:55"


def test_rauc_rejected_and_kept(rauc):
    rauc.call("invalidate", "b")
    for verb in ("invalidate", "reject", "arm"):
        with pytest.raises(boots.Refused, match="slot b is not good"):
            rauc.call(verb, "a")
    rauc.call("arm", "b")
    rauc.boot()
    with pytest.raises(boots.Refused, match="slot b is not good"):
        rauc.call("invalidate", "a")
    rauc.call("reject", "b")
    rauc.expect(next="a", trial="none", a="good", b="bad")


@pytest.mark.parametrize("variables, part", [
    ({"BOOT_ORDER": "A C"}, "BOOT_ORDER=A C"),
    ({"BOOT_ORDER": "A A"}, "BOOT_ORDER=A A"),
    ({"BOOT_ORDER": "A B A"}, "BOOT_ORDER=A B A"),
    ({"BOOT_A_LEFT": "3 3"}, "BOOT_A_LEFT=3 3"),
    ({"BOOT_B_LEFT": "100"}, "BOOT_B_LEFT=100"),
    ({"BOOT_B_LEFT": "0x3"}, "BOOT_B_LEFT=0x3"),
    ({"moonsinter_trial": "C"}, "moonsinter_trial=C"),
    ({"BOOT_ORDER": "A" * 200}, "200 bytes in BOOT_ORDER"),
])
def test_rauc_hostile_variables(rauc, variables, part):
    rauc.set(**variables)
    before = rauc.variables()
    for verb in (["read"], ["invalidate", "b"], ["good", "a"]):
        with pytest.raises(boots.Refused, match=part):
            rauc.call(*verb)
    assert rauc.variables() == before


def test_mender_an_update_that_is_marked_good(mender):
    mender.expect(next="a", trial="none", a="good", b="unknown")
    mender.call("invalidate", "b")
    mender.expect(next="a", trial="none")
    mender.call("arm", "b")
    mender.expect(next="b", trial="b", tries_left=2, a="good", b="trial")
    assert mender.variables() == {**MENDER_FRESH, "mender_boot_part": "3", "mender_boot_part_hex": "3",
                                  "upgrade_available": "1", "bootlimit": "2"}
    assert mender.boot() == "b"
    mender.expect(next="b", trial="b", tries_left=1)
    with pytest.raises(boots.Refused, match="slot b is not good"):
        mender.call("invalidate", "a")
    mender.call("good", "b")
    mender.expect(next="b", trial="none", b="good")
    assert mender.boot() == "b"


def test_mender_an_update_that_never_comes_up(mender):
    mender.call("arm", "b")
    assert [mender.boot() for _ in range(4)] == ["b", "b", "a", "a"]
    mender.expect(next="a", trial="none", a="good")


def test_mender_an_update_that_is_rejected(mender):
    mender.call("arm", "b")
    mender.boot()
    mender.call("reject", "b")
    mender.expect(next="a", trial="none")
    assert mender.boot() == "a"


@pytest.mark.parametrize("variables, part", [
    ({"mender_boot_part": "7"}, "mender_boot_part=7, which is neither"),
    ({"mender_boot_part": ""}, "which is neither"),
    ({"mender_boot_part": "x"}, "mender_boot_part=x"),
    ({"bootcount": "99999999999999999999"}, "bootcount=99"),
    ({"upgrade_available": "yes"}, "upgrade_available=yes"),
])
def test_mender_hostile_variables(mender, variables, part):
    mender.set(**variables)
    with pytest.raises(boots.Refused, match=part):
        mender.call("arm", "b")


def test_mender_wants_partitions(mender):
    mender.path("sys/dev/block/179:3/partition").unlink()
    with pytest.raises(boots.Refused, match="slot b .* is no partition with a number"):
        mender.state()


def test_idempotent(rauc):
    for verb in ("invalidate", "arm", "good", "reject"):
        rauc.call(verb, "b")
        writes = [operation for operation in boots.record(rauc, verb, "b") if operation[0] == "write"]
        assert writes == [], verb


CHANGES = [("invalidate", "b"), ("arm", "b"), ("good", "b"), ("reject", "b"), ("arm", "b"), ("good", "b"), ("good", "b")]


@pytest.mark.parametrize("make, fresh, scheme", [(Rauc, RAUC_FRESH, "rauc"), (Mender, MENDER_FRESH, "mender")])
def test_power_cuts_with_two_copies(tmp_path, make, fresh, scheme):
    loader = make(tmp_path / "root", fresh, 2, UbootVariables=scheme)
    for verb, slot in CHANGES:
        boots.assert_atomic(loader, verb, slot)
        loader.variables()


@pytest.mark.parametrize("make, fresh, scheme", [(Rauc, RAUC_FRESH, "rauc"), (Mender, MENDER_FRESH, "mender")])
def test_power_cuts_with_one_copy(tmp_path, make, fresh, scheme):
    """A torn store is old, new, or cannot be read, to us as to U-Boot; it is never another state."""
    # Long enough for the checksum and the variables to lie in two sectors.
    loader = make(tmp_path / "root", {**fresh, "bootcmd": "x" * 700}, 1, UbootVariables=scheme)
    torn = 0
    for verb, slot in CHANGES:
        counted, _ = boots.power_cuts(loader, verb, slot)
        for name in counted.keys() - {"old", "new"}:
            assert name.startswith("unreadable: ") and "no copy has a valid checksum" in name
            torn += counted[name]
    assert torn


def test_one_store_a_change(rauc):
    """All variables at once: one write of a whole copy, besides the flag of the one it replaces."""
    for verb, slot in CHANGES[:4]:
        writes = [operation for operation in boots.record(rauc, verb, slot) if operation[0] == "write"]
        assert sum(len(operation[3]) == SIZE for operation in writes) == 1, writes
        assert all(len(operation[3]) in (SIZE, 1) for operation in writes)


def test_doctor(rauc):
    level = "ok" if rauc.copies == 2 else "warning"
    text = "has two copies" if rauc.copies == 2 else "names one copy of U-Boot's environment"
    assert any(text in sentence for sentence in rauc.findings(level))


@pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces need root")
@pytest.mark.parametrize("prepare, part", [
    ("mount -t tmpfs -o ro none /run/lock", "cannot open /var/lock/fw_printenv.lock, .* the drop-in for Backend=uboot"),
    (HELD, "another program holds /var/lock/fw_printenv.lock, so U-Boot's environment cannot be written"),
], ids=["no-lock", "held"])
def test_the_lock(tmp_path, prepare, part):
    """libubootenv goes on without the lock where it cannot be opened, and waits for it for ever."""
    rauc = Rauc(tmp_path / "root", RAUC_FRESH, 2, UbootVariables="rauc")
    before = rauc.read_bytes("dev/env")
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", f'{prepare}; "$@" 9>&-', "sh", *rauc.command("invalidate", "b")],
                          capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert re.search(part, json.loads(done.stdout)["message"]), done
    assert rauc.read_bytes("dev/env") == before


@pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces need root")
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("prepare, part", [("mount -t tmpfs -o ro none /run/lock", "cannot open /var/lock/fw_printenv.lock"),
                                           (HELD, "another program holds /var/lock/fw_printenv.lock")], ids=["no-lock", "held"])
def test_without_the_lock_it_is_read_all_the_same(tmp_path, prepare, part, copies):
    """So that moonsinterd can say what is wrong, and that nobody who may open the lock keeps it from its start."""
    rauc = Rauc(tmp_path / "root", RAUC_FRESH, copies, UbootVariables="rauc")
    told = {}
    for verb in ("read", "probe"):
        done = subprocess.run(["unshare", "--mount", "sh", "-ec", f'{prepare}; "$@" 9>&-', "sh", *rauc.command(verb)],
                              capture_output=True, text=True, timeout=120, check=False)
        if "unshare" in done.stderr:
            pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
        told[verb] = json.loads(done.stdout)
    assert told["read"]["next"] == "a"
    assert any(part in str(finding) for finding in told["probe"]["findings"])


def test_whether_it_could_be_armed(rauc):
    for slot in "ab":
        rauc.call("can-arm", slot)
    rauc.call("invalidate", "b")
    rauc.call("can-arm", "b")
    with pytest.raises(boots.Refused, match="slot b is not good"):
        rauc.call("can-arm", "a")


def test_wrong_sizes_are_not_answered_by_a_store(rauc):
    """The environment is whole; what a store with wrong sizes would destroy is left alone, and the sizes come first."""
    before = rauc.read_bytes("dev/env")
    rauc.write("etc/fw_env.config", rauc.read_bytes("etc/fw_env.config").replace(hex(SIZE).encode(), hex(SIZE // 2).encode()))
    with pytest.raises(boots.Refused, match="Compare the offsets, the sizes .* nothing may be written") as refused:
        rauc.state()
    assert "fw_setenv" not in str(refused.value) and "saveenv" not in str(refused.value)
    assert rauc.read_bytes("dev/env") == before


@pytest.mark.skipif(os.getuid() != 0, reason="loop devices and mounts need root")
@pytest.mark.parametrize("kind", ["mount", "device"])
def test_an_environment_that_is_read_only(tmp_path, kind):
    """Before the download, and with what it lies on and the way to go on."""
    rauc = Rauc(tmp_path / "root", RAUC_FRESH, 2, UbootVariables="rauc")
    env = rauc.path("dev/env")
    if kind == "mount":
        script, part = (f"mount --bind {env} {env}; mount -o remount,bind,ro {env}",
                        f"cannot write {env}; .* is read-only for this service alone.*: Read-only file system")
    else:
        done = subprocess.run(["losetup", "--find", "--show", "--read-only", env], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip("this machine gives no loop device")
        device = done.stdout.strip()
        script, part = "true", f"cannot write {device}; the device is read-only; blockdev --setrw {device} lifts that"
        rauc.write("etc/fw_env.config", rauc.read_bytes("etc/fw_env.config").replace(str(env).encode(), device.encode()))
    try:
        for verb in ("can-arm", "invalidate"):
            done = subprocess.run(["unshare", "--mount", "sh", "-ec", f'{script}; "$@"', "sh", *rauc.command(verb, "b")],
                                  capture_output=True, text=True, timeout=60, check=False)
            if "unshare" in done.stderr:
                pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
            assert re.search(part, json.loads(done.stdout)["message"]), done.stdout
    finally:
        if kind == "device":
            subprocess.run(["losetup", "--detach", device], check=True)


def test_damaged_environments(rauc):
    size = rauc.copies * SIZE
    for data in (bytes(size), b"\xff" * size, b"x" * size):
        rauc.write("dev/env", data)
        with pytest.raises(boots.Refused, match="no copy has a valid checksum"):
            rauc.state()
        assert rauc.read_bytes("dev/env") == data
    for text in ("", "# nothing\n", "/nowhere 0 0x1000\n"):
        rauc.write("etc/fw_env.config", text)
        with pytest.raises(boots.Refused, match="does not lead to an environment"):
            rauc.state()
