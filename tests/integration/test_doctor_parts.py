# SPDX-License-Identifier: MIT
"""moonsinter doctor: the places of a set's parts, and whether what is offered fits into them."""
import os
import subprocess

import pytest

import programs
from set_site import boot, root, site, url

pytestmark = pytest.mark.sanitized


@pytest.fixture
def places(folder):
    """Two files, of which an update makes the second."""
    (folder / "esp").mkdir()
    (folder / "esp" / "boot-a").write_bytes(b"a" * 5000)
    return folder / "esp" / "boot-a", folder / "esp" / "boot-b"


def examine(daemon):
    """The findings, as {check: [(result, message), ...]}."""
    done = programs.moonsinter("doctor", "--config", daemon.config,
                               env={**os.environ, "MOONSINTERD": str(programs.MOONSINTERD)})
    assert done.stderr == "", done
    found = {}
    for event in done.named("finding"):
        found.setdefault(event["check"], []).append((event["result"], event["message"]))
    return found


def part(places):
    return {"Part boot": {"A": places[0], "B": places[1]}}


def test_parts_that_are_well(url, places, file_slots, make_daemon):
    found = examine(make_daemon(url, file_slots, **part(places)))
    assert [result for result, _ in found["parts"]] == ["ok", "ok"], found
    assert "boot-a" in found["parts"][0][1] and "will be made" in found["parts"][1][1]
    assert found["part-size"][0][0] == "ok" and "slot b" in found["part-size"][0][1], found
    assert found["target"][0][0] == "ok", found
    assert not places[1].exists(), "nothing is written"


def test_partitions(url, loops, file_slots, make_daemon):
    """The boot image has 700,000 bytes."""
    devices = loops.attach(1 << 20, "boot-a"), loops.attach(256 * 1024, "boot-b")
    found = examine(make_daemon(url, file_slots, **part(devices)))
    assert [result for result, _ in found["parts"]] == ["ok", "ok"], found
    assert devices[1] in found["parts"][1][1]
    (result, message), = found["part-size"]
    assert result == "failure" and "700000 bytes" in message and "262144" in message and devices[1] in message


def test_a_partition_that_is_held(url, loops, file_slots, make_daemon):
    devices = loops.attach(1 << 20, "boot-a"), loops.attach(1 << 20, "boot-b")
    daemon = make_daemon(url, file_slots, **part(devices))
    holder = os.open(devices[1], os.O_RDONLY | os.O_EXCL)
    try:
        found = examine(daemon)
    finally:
        os.close(holder)
    assert [result for result, _ in found["parts"]] == ["ok", "failure"], found
    assert "in use" in found["parts"][1][1]


WRONG = {
    "no folder": (lambda places: places[1].with_name("absent") / "boot-b", "cannot be looked at"),
    "a link": (lambda places: places[1].symlink_to("elsewhere") or places[1], "symbolic link"),
    "a second name": (lambda places: places[1].touch() or os.link(places[1], f"{places[1]}-too") or places[1], "hard link"),
    "no partition": (lambda places: "/dev/moonsinter-test-absent", "is not there"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_place_that_cannot_be_written(what, url, places, file_slots, make_daemon):
    make, told = WRONG[what]
    found = examine(make_daemon(url, file_slots, **part((places[0], make(places)))))
    assert [result for result, _ in found["parts"]] == ["ok", "failure"], found
    assert told in found["parts"][1][1], found
    assert found["target"][0][0] == "failure" and told in found["target"][0][1], found


def test_a_running_part_that_is_gone_is_a_warning(url, places, file_slots, make_daemon):
    places[0].unlink()
    found = examine(make_daemon(url, file_slots, **part(places)))
    assert [result for result, _ in found["parts"]] == ["warning", "ok"], found


def test_two_places_that_are_one(url, places, file_slots, make_daemon):
    os.link(places[0], places[1])
    daemon = make_daemon(url, file_slots, **part(places))
    found = examine(daemon)
    assert found["slots"][0][0] == "failure" and "the same storage" in found["slots"][0][1], found
    checked = programs.moonsinter("--config", daemon.config, "--check-config", program=programs.MOONSINTERD)
    assert checked.status == 1 and "the same storage" in checked.stderr, checked
    started = programs.moonsinter("--config", daemon.config, program=programs.MOONSINTERD)
    assert started.status == 1 and "the same storage" in started.stderr, started


def test_a_state_folder_on_a_part(url, loops, mount, folder, make_daemon):
    """It would be overwritten with the part."""
    devices = loops.attach(1 << 20, "boot-a"), loops.attach(8 << 20, "boot-b")
    subprocess.run(["mkfs.ext4", "-q", "-F", devices[1]], check=True)
    (folder / "cmdline.txt").write_text("console=tty1 root=PARTUUID=738a4d67-02 rootwait\n")
    daemon = make_daemon(url, ("PARTUUID=738a4d67-02", "PARTUUID=738a4d67-03"), **part(devices),
                         Boot={"Backend": "rpi-cmdline", "CmdlineFile": folder / "cmdline.txt"},
                         Storage={"StateDirectory": mount(devices[1])})
    (result, message), = examine(daemon)["state-folder"]
    assert result == "failure" and f"part boot of slot b ({devices[1]})" in message


@pytest.mark.parametrize("limit, result", [("2300000", "failure"), ("2900000", "ok")])
def test_the_budget_is_for_all_images(url, places, file_slots, make_daemon, limit, result):
    """The root has 2,000,000 bytes of noise, and the boot image 700,000."""
    found = examine(make_daemon(url, file_slots, Transfer={"MaxBytesPerUpdate": limit}, **part(places)))
    assert found["offer"][-1][0] == result, found
    assert not places[1].exists()
