# SPDX-License-Identifier: MIT
"""Backend=custom with a program as RAUC's custom backend wants it."""
import os
import time

import pytest

import boots

pytestmark = pytest.mark.sanitized

# A loader in three files, each replaced by a rename, with one try.
PROGRAM = """#!/bin/sh
cd "%s" || exit 1
echo "$@" >> calls
put() { echo "$2" > "$1.new" && sync "$1.new" && mv "$1.new" "$1" && sync .; }
case $1 in
get-primary) cat primary ;;
set-primary) put primary "$2" ;;
get-state) cat "state-$2" ;;
set-state) put "state-$2" "$3" ;;
get-current) cat current ;;
*) echo "no such verb: $1" >&2; exit 64 ;;
esac
"""


class Custom(boots.Loader):
    def __init__(self, root, **settings):
        super().__init__(root, "custom", Program="/usr/bin/selector", BootNameA="system0", BootNameB="system1", **settings)
        for name, text in {"primary": "system0", "current": "system0", "state-system0": "good", "state-system1": "good"}.items():
            self.write(f"loader/{name}", text + "\n")
        self.program(PROGRAM % self.path("loader"))

    def program(self, text):
        os.chmod(self.write("usr/bin/selector", text), 0o755)

    def get(self, name):
        return self.read_bytes(f"loader/{name}").decode().strip()

    def boot(self, slot):
        self.write("loader/current", f"system{'ab'.index(slot)}\n")

    def calls(self):
        text = self.read_bytes("loader/calls").decode().splitlines()
        self.path("loader/calls").unlink()
        return [call for call in text if call.startswith("set-")]


@pytest.fixture
def custom(tmp_path):
    return Custom(tmp_path / "root")


def test_an_update_that_is_marked_good(custom):
    custom.expect(running="none", next="a", trial="none", a="good", b="good")
    custom.call("invalidate", "b")
    assert custom.calls() == ["set-state system1 bad"]
    custom.expect(next="a", trial="none", a="good", b="bad")
    custom.call("arm", "b")
    assert custom.calls() == ["set-primary system1"]
    custom.expect(next="b", trial="b", tries_left=1, a="good", b="trial")
    custom.boot("b")
    custom.call("good", "b")
    assert custom.calls() == ["set-state system1 good"]
    custom.expect(next="b", trial="none", tries_left=0, a="good", b="good")


def test_an_update_that_never_comes_up(custom):
    custom.call("invalidate", "b")
    custom.call("arm", "b")
    # What the loader does on its own.
    custom.write("loader/primary", "system0\n")
    custom.expect(next="a", trial="b", tries_left=0, a="good", b="bad")
    custom.call("invalidate", "b")
    custom.expect(next="a", trial="none")


def test_an_update_that_is_rejected(custom):
    custom.call("invalidate", "b")
    custom.call("arm", "b")
    custom.boot("b")
    with pytest.raises(boots.Refused, match="slot b is not good"):
        custom.call("invalidate", "a")
    custom.call("reject", "b")
    custom.expect(next="a", trial="none", a="good", b="bad")


def test_the_program_knows_what_runs(custom):
    with pytest.raises(boots.Refused, match="says that slot a runs, so slot b cannot be marked good"):
        custom.call("good", "b")
    assert any("says that slot a runs" in sentence for sentence in custom.findings("ok"))
    with pytest.raises(boots.Refused, match="says that slot a runs, so it cannot be given up; .* exchange BootNameA="):
        custom.call("invalidate", "a")
    assert custom.calls() == []


def test_idempotent(custom):
    for verb in ("invalidate", "arm", "good", "reject"):
        custom.boot("b" if verb in ("good", "reject") else "a")
        custom.call(verb, "b")
        custom.calls()
        custom.call(verb, "b")
        assert custom.calls() == [], verb


def test_power_cuts(custom):
    """Between the program's steps and in our own file: each verb is atomic by the program's duty."""
    for verb, slot in [("invalidate", "b"), ("arm", "b"), ("good", "b"), ("reject", "b")]:
        custom.boot("b" if verb in ("good", "reject") else "a")
        steps = []
        before = boots.snapshot(custom)
        old = custom.state()
        custom.call(verb, slot)
        new = custom.state()
        after = boots.snapshot(custom)
        # The files that change, each replaced at once; in the order that they were written.
        changed = sorted((path for path in after if before.get(path) != after[path] and not path.endswith("calls")),
                         key=lambda path: os.stat(path).st_mtime_ns)
        for count in range(len(changed) + 1):
            boots.restore(custom, {**before, **{path: after[path] for path in changed[:count]}})
            steps.append(custom.state())
        boots.restore(custom, after)
        assert steps[0] == old and steps[-1] == new
        for state in steps:
            # In between, what boots next is the old or the new slot, and a slot that is out is never next.
            assert state["next"] in (old["next"], new["next"])
            assert state[state["next"]] in ("good", "trial"), (verb, steps)


@pytest.mark.parametrize("text, part", [
    ("#!/bin/sh\necho cannot talk to the flash >&2\nexit 3\n", "get-primary failed with exit status 3: cannot talk to the flash"),
    ("#!/bin/sh\nkill -9 $$\n", "failed with exit status 137"),
    ("#!/bin/sh\necho system7\n", "says \"system7\", which is neither"),
    ("#!/bin/sh\n", "says \"\", which is neither"),
    ("#!/bin/sh\nyes\n", "writes more than"),
    ("#!/bin/sh\ncase $1 in get-primary) echo system0;; *) echo fine;; esac\n", "says \"fine\" and not good or bad"),
    ("#!/nowhere\n", "cannot run"),
])
def test_hostile_programs(custom, text, part):
    custom.program(text)
    with pytest.raises(boots.Refused, match=part):
        custom.state()


def test_a_program_without_effect(custom):
    custom.program((PROGRAM % custom.path("loader")).replace('put primary "$2"', "true"))
    with pytest.raises(boots.Refused, match="set-primary system1 had no effect"):
        custom.call("arm", "b")


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_program_that_leaves_something_running(custom):
    """It holds the output open; the end of the program counts, and what it left behind is ended."""
    custom.program((PROGRAM % custom.path("loader")).replace("cd ", "sleep 3600 & echo $! > /%s/pid\ncd " % custom.path("loader")))
    custom.expect(next="a")
    pid = int(custom.get("pid"))
    # It dies soon, and may then wait to be collected by whoever adopted it. By itself it would live for an hour.
    deadline = time.monotonic() + 300
    while is_alive(pid):
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.01)


def test_hostile_trial_file(custom):
    custom.write("var/lib/moonsinter/boot-trial", "x" * 100)
    with pytest.raises(boots.Refused, match="boot-trial"):
        custom.state()
    custom.write("var/lib/moonsinter/boot-trial", "c\n")
    with pytest.raises(boots.Refused, match="holds neither a slot nor"):
        custom.state()
