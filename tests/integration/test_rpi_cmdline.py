# SPDX-License-Identifier: MIT
"""The ancestor's own command line, on a machine made of loop devices: the daemon runs in a mount namespace of its own
whose "/" really is slot A or B, as the kernel tells it, with a /proc/cmdline and a boot folder to match."""
import hashlib
import json
import os
import pathlib

import pytest

from loader_machines import Machine, attach_slots, make_root
from releases import make_release

pytestmark = [pytest.mark.sanitized,
              pytest.mark.skipif(os.getuid() != 0, reason="mount namespaces and loop devices need root")]


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


@pytest.fixture
def machine(folder, loops, nginx):
    slots, borrowed = attach_slots(folder, loops)
    made = Machine(folder / "machine", nginx.url("image"), slots, borrowed)
    made.cmdline_txt.write_text(f"console=serial0,115200 root={slots[0]} rootfstype=ext4 fsck.repair=yes rootwait  \n")
    yield made
    made.close()


def armed(status):
    return status["state"] == "reboot-pending"


def test_the_ancestors_command_line_updates_a_machine_twice(machine, folder, loops, nginx):
    slots = machine.slots
    releases = [make_release(folder / str(number), make_root(folder, f"release-{number}", number)[0].read_bytes(),
                             version=str(number), serial=number) for number in (2, 3)]
    for number, (running, target) in enumerate(((0, 1), (1, 0))):
        nginx.publish(releases[number])
        assert machine.boot() == slots[running]
        before = digest(loops.backing(slots[running]))
        text = machine.cmdline_txt.read_text()
        status = machine.wait(armed, f"update {number + 1} is armed")
        assert status["boot"]["backend"] == "rpi-cmdline"
        assert status["slots"]["ab"[running]]["role"] == "active" and status["boot"]["next"] == "ab"[target]
        image = releases[number].read_bytes()
        assert loops.backing(slots[target]).read_bytes()[:len(image)] == image
        assert digest(loops.backing(slots[running])) == before, "the running slot was written"
        # Overwritten in place: the same length, padded with blanks, one line, nothing else changed.
        flipped = machine.cmdline_txt.read_text()
        assert len(flipped) == len(text) and flipped.endswith("\n") and flipped.count("\n") == 1
        assert flipped.split() == text.replace(f"root={slots[running]} ", f"root={slots[target]} ").split()
        assert machine.stop() == 0
    assert machine.boot() == slots[0]
    status = machine.wait(lambda status: status["state"] == "idle" and status["last_check"]["result"] == "up-to-date",
                          "it runs what is offered")
    assert status["slots"]["a"]["version"] == "3" and status["slots"]["a"]["role"] == "active"


def test_nothing_is_written_where_the_kernel_contradicts_itself(machine, folder, loops, nginx):
    """root= says slot B, and "/" is mounted from slot A."""
    release = make_release(folder / "2", make_root(folder, "release-2", 2)[0].read_bytes(), version="2", serial=2)
    nginx.publish(release)
    machine.cmdline_txt.write_text(f"root={machine.slots[1]} rootwait\n")
    before = [digest(loops.backing(slot)) for slot in machine.slots]
    machine.boot(root=machine.slots[0])
    status = machine.wait(lambda status: status["blocked_by"], "it is held")
    assert {slot["role"] for slot in status["slots"].values()} == {"inactive"}
    assert any("cannot be determined" in block["why"] for block in status["blocked_by"])
    code, answer = machine.request("POST", "/v1/install")
    machine.wait(lambda status: status["state"] in ("held", "idle"), "still held")
    assert machine.stop() == 0, (code, answer)
    assert [digest(loops.backing(slot)) for slot in machine.slots] == before
    assert machine.cmdline_txt.read_text() == f"root={machine.slots[1]} rootwait\n"


def test_a_password_on_the_ancestors_command_line_is_not_shown_on(machine, nginx):
    machine.url = machine.url.replace("://", "://device:s3cret@")
    machine.boot()
    arguments = pathlib.Path(f"/proc/{machine.pid}/cmdline").read_bytes().split(b"\0")
    assert arguments[0].endswith(b"moonsinterd") and machine.url.replace("device:s3cret@", "").encode() in arguments
    assert not any(b"s3cret" in argument for argument in arguments)
    machine.wait(lambda _: nginx.requests(), "it uses the whole of it")
    machine.reload()
    settings = json.dumps(machine.request("GET", "/v1/config")[1])
    assert "(hidden)@127.0.0.1" in settings and "s3cret" not in settings + machine.log
