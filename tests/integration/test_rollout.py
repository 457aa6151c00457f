# SPDX-License-Identifier: MIT
"""Phased rollout from a static file: the device judges for itself, and a second implementation (this file) agrees."""
import datetime
import hashlib
import json
import pathlib
import time

import pytest

import images
from conditions import installed
from programs import moonsinter
from releases import make_release, read_manifest

pytestmark = pytest.mark.sanitized

MACHINE_ID = pathlib.Path("/etc/machine-id")


def place(image):
    """docs/manifest.md, section 1.3: this machine's place among all, as a share."""
    machine_id = MACHINE_ID.read_text().split("\n")[0]
    digest = hashlib.sha256(f"moonsinter rollout 1\n{machine_id}\n{read_manifest(image)['moonsinter']['sha256']}\n".encode())
    return int.from_bytes(digest.digest()[:4], "big") / 2**32


def rfc3339(seconds):
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def held_by_rollout(status):
    return status["state"] == "held" and [block["what"] for block in status["blocked_by"]] == ["rollout"]


@pytest.fixture
def rolled_out(folder):
    """rolled_out(*options): the same image each time, with these options of generate; its path."""
    content = images.noise(300_000, "rollout")

    def make(*options):
        return make_release(folder / f"release-{len(list(folder.iterdir()))}", content, version="7", serial=7, options=options)
    assert MACHINE_ID.exists(), "systemd's package makes one"
    return make


def test_the_manifest_says_what_was_asked_for(rolled_out):
    options = ["--rollout-start", "2026-12-01T06:00:00Z", "--rollout-duration", "2d 12h", "--rollout-percent", "25",
               "--rollout-hold"]
    assert read_manifest(rolled_out(*options))["moonsinter"]["release"]["rollout"] == {
        "start": "2026-12-01T06:00:00Z", "duration": 216000, "percent": 25, "hold": True}
    assert "rollout" not in read_manifest(rolled_out())["moonsinter"]["release"]
    assert read_manifest(rolled_out("--rollout-percent", "100"))["moonsinter"]["release"]["rollout"] == {}


@pytest.mark.parametrize("options", [
    ["--rollout-percent", "101"], ["--rollout-percent", "1.5"], ["--rollout-percent", ""], ["--rollout-duration", "5parsecs"],
    ["--rollout-duration", "500ms", "--created", "@5"], ["--rollout-duration", "4294967296", "--created", "@5"],
    ["--rollout-duration", "1h"], ["--rollout-start", "tomorrow"], ["--rollout-hold=yes"]])
def test_what_makes_no_rollout_is_refused(folder, options):
    (folder / "image").write_bytes(b"abc")
    result = moonsinter("generate", folder / "image", *options)
    assert result.status == 2 and len(result.stderr.splitlines()) == 1, result


def test_the_status_says_when_the_turn_comes_and_then_it_does(nginx, rolled_out, file_slots, make_daemon):
    share = place(rolled_out())
    # So that this machine's turn is some seconds away, and those before it have had theirs.
    duration = 1_000_000
    turn = int(time.time()) + 4
    start = turn - int(duration * share)
    release = rolled_out("--rollout-start", f"@{start}", "--rollout-duration", f"{duration}s")
    daemon = make_daemon(nginx.publish(release), file_slots).start()
    status = daemon.wait(held_by_rollout, "its turn is to come")
    [block] = status["blocked_by"]
    assert block["until"] == rfc3339(turn) and rfc3339(turn) in block["why"], block
    assert f"turn in the rollout comes at {rfc3339(turn)}" in moonsinter("why", "--socket", daemon.socket).stdout
    assert nginx.requests("/image") == [] and file_slots[1].read_bytes() == b""
    # Interval= is an hour; the next look is made for the turn.
    status = daemon.wait(installed("7"), "the turn came")
    assert time.time() >= turn
    assert [poll.status for poll in nginx.requests("/image.json")] == [200, 304], "judged again without a new manifest"


def test_a_hold_pauses_and_a_newer_manifest_resumes(nginx, rolled_out, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(rolled_out("--rollout-hold")), file_slots).start()
    status = daemon.wait(held_by_rollout, "it is paused")
    assert "paused" in status["blocked_by"][0]["why"] and status["blocked_by"][0]["until"] is None
    daemon.post("check")
    daemon.wait(lambda _: [poll.status for poll in nginx.requests("/image.json")] == [200, 304], "a look")
    daemon.wait(held_by_rollout, "it is still paused")
    nginx.publish(rolled_out())
    daemon.post("check")
    daemon.wait(installed("7"), "it is resumed")


def test_a_share_excludes_until_it_grows(nginx, rolled_out, file_slots, make_daemon):
    below = int(100 * place(rolled_out()))
    daemon = make_daemon(nginx.publish(rolled_out("--rollout-percent", f"{below}")), file_slots).start()
    status = daemon.wait(held_by_rollout, "this device is not in it")
    assert f"{below} %" in status["blocked_by"][0]["why"]
    nginx.publish(rolled_out("--rollout-percent", f"{below + 1}"))
    daemon.post("check")
    daemon.wait(installed("7"), "now it is")


def test_an_operator_who_asks_does_not_wait(nginx, rolled_out, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(rolled_out("--rollout-hold")), file_slots).start()
    daemon.wait(held_by_rollout, "it is paused")
    daemon.post("install")
    daemon.wait(installed("7"), "it is installed when asked for")


def test_a_clock_before_the_release_is_not_believed(nginx, rolled_out, file_slots, make_daemon):
    created = int(time.time()) + 1_000_000
    release = rolled_out("--created", f"@{created}", "--rollout-duration", "1h")
    daemon = make_daemon(nginx.publish(release), file_slots).start()
    status = daemon.wait(held_by_rollout, "no turn can be told")
    assert "clock" in status["blocked_by"][0]["why"] and rfc3339(created) in status["blocked_by"][0]["why"]


def test_the_machine_id_does_not_leave_the_device(nginx, rolled_out, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(rolled_out("--rollout-percent", "0")), file_slots).start()
    daemon.wait(held_by_rollout, "it is held")
    machine_id = MACHINE_ID.read_text().strip()
    for path in ("status", "config", "plan", "history"):
        assert machine_id not in json.dumps(daemon.request("GET", f"/v1/{path}"))
    assert machine_id not in daemon.log + nginx.log.read_text()
    assert all(machine_id not in file.read_text(errors="replace") for file in (daemon.folder / "state").iterdir())
