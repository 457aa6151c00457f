# SPDX-License-Identifier: MIT
"""What an older moonsinterd, which runs on devices in the field or after a fall-back, makes of what is published now."""
import io
import os
import shutil
import subprocess
import tarfile

import pytest

import images
import programs
from conditions import booted, whats
from releases import make_release

# The last commit that knew nothing of sets.
BEFORE_SETS = "904109afe51c2ee19078cc85fdabc4605b43bee9"


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """That moonsinterd, built from this repository's own history."""
    if programs.SANITIZED:
        pytest.skip("nothing of ours to sanitize")
    told = subprocess.run(["git", "-C", programs.ROOT, "archive", BEFORE_SETS], capture_output=True, check=False)
    if told.returncode != 0:
        pytest.skip("the history of this checkout does not reach back so far")
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(told.stdout)) as archive:
        archive.extractall(folder)
    for command in (["meson", "setup", "build", "-Dtests=disabled", "-Dman=disabled", "-Dbuildtype=debug"],
                    ["ninja", "-C", "build", "daemon/moonsinterd"]):
        built = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
    yield folder / "build/daemon/moonsinterd"
    shutil.rmtree(folder)


def test_an_older_daemon_refuses_a_set(older, nginx, make_daemon, file_slots, monkeypatch):
    """It would install the main image without its kernel."""
    boot = make_release(nginx.www, images.noise(300_000, "boot"), name="boot-1.vfat")
    root = make_release(nginx.www, images.noise(900_000, "root"), name="root.img")
    monkeypatch.setattr(programs, "MOONSINTERD", older)
    daemon = make_daemon(nginx.url("root.img"), file_slots).start()
    daemon.wait(lambda status: status["state"] == "reboot-pending", "the image alone is installed")
    assert programs.moonsinter("generate", root, "--part", f"boot={boot}", "--serial", "7").status == 0
    written = [os.stat(slot).st_mtime_ns for slot in file_slots]
    daemon.post("check")
    status = daemon.wait(lambda status: status["last_error"], "the set is refused")
    assert status["last_error"]["kind"] == "format" and "0.2.0" in status["last_error"]["message"]
    assert [os.stat(slot).st_mtime_ns for slot in file_slots] == written


def of(folder, number):
    """The contents of a set's two images, and what is published of it."""
    boot = make_release(folder, images.noise(300_000, f"boot {number}"), name=f"boot-{number}.vfat")
    root = make_release(folder, images.noise(900_000, f"root {number}"), name="root.img")
    done = programs.moonsinter("generate", root, "--part", f"boot={boot}", "--version", str(number), "--serial", str(number))
    assert done.status == 0, done
    return root.read_bytes(), boot.read_bytes()


def test_an_older_daemon_between_two_that_know_sets(older, nginx, make_daemon, file_slots, folder, monkeypatch):
    """As after a fall-back. It keeps the floor and what failed, and installs a root alone, which leaves a mixed slot; the new
    one shows that it knows nothing of that slot's parts, arms nothing by itself, and installs the next set whole."""
    checks, places = folder / "health.d", [folder / "boot-a", folder / "boot-b"]
    checks.mkdir()
    parts = {"Part boot": {"A": places[0], "B": places[1]}, "Health": {"Checks": checks}}
    ours = programs.MOONSINTERD
    root, boot = of(nginx.www, 1)
    daemon = make_daemon(nginx.url("root.img"), file_slots, mode="reboot", **parts).start()
    daemon.wait(booted("1", "b"), "set 1 runs in slot B")
    assert file_slots[1].read_bytes() == root and places[1].read_bytes() == boot
    (checks / "10-app").write_text("#!/bin/sh\nexit 1\n")
    (checks / "10-app").chmod(0o755)
    of(nginx.www, 22)
    daemon.post("check")
    daemon.wait(lambda status: whats(status) == ["failed-before"], "set 22 was rejected, and slot B runs again")
    assert daemon.stop() == 0
    (checks / "10-app").unlink()

    # The older one, which knows no [Part boot].
    part = daemon.settings.pop("Part boot")
    daemon.write_config()
    monkeypatch.setattr(programs, "MOONSINTERD", older)
    daemon.start()
    daemon.post("check")
    status = daemon.wait(lambda status: status["last_error"] and status["last_error"]["kind"] == "format", "it refuses the set")
    assert status["slots"]["b"]["version"] == "1"
    plain = make_release(nginx.www, images.noise(900_000, "plain"), name="root.img", version="0", serial=0)
    daemon.post("check")
    daemon.wait(lambda status: whats(status) == ["downgrade"], "it keeps the floor")
    plain = make_release(nginx.www, images.noise(900_000, "plain 23"), name="root.img", version="2300", serial=23)
    daemon.post("check")
    daemon.wait(booted("2300", "a"), "the root alone is installed")
    assert file_slots[0].read_bytes() == plain.read_bytes() and places[0].read_bytes() == images.noise(300_000, "boot 22")
    assert daemon.stop() == 0

    # What it makes of that: it runs a slot of which it does not know the parts.
    daemon.settings["Part boot"] = part
    daemon.write_config()
    monkeypatch.setattr(programs, "MOONSINTERD", ours)
    daemon.start()
    daemon.post("check")
    status = daemon.wait(lambda status: status["last_check"]["result"] == "up-to-date" and status["state"] == "idle",
                         "it runs what is offered")
    assert status["slots"]["a"]["parts"]["boot"]["sha256"] is None and status["boot"]["next"] == "a"
    root, boot = of(nginx.www, 333333)
    daemon.post("check")
    daemon.wait(booted("333333", "b"), "the next set is installed whole")
    assert file_slots[1].read_bytes() == root and places[1].read_bytes() == boot
    # What failed is still known: by its manifest, which names its parts.
    of(nginx.www, 22)
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] == "held", "it is held")
    assert "failed-before" in whats(status)
