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
