# SPDX-License-Identifier: MIT
"""moonsinterd: what others do to the slots, the boot selection and the record at the worst moment."""
import json
import os
import pathlib
import shutil
import signal
import socket

import pytest

import evil_server
import images
import programs
from conditions import is_armed, whats
from releases import make_release

pytestmark = pytest.mark.sanitized


def ended(status):
    return status["state"] in ("idle", "held", "reboot-pending") and status["last_update"] is not None


def selection(daemon):
    return json.loads((daemon.folder / "state" / "boot-selection.json").read_text())


@pytest.fixture
def release(folder):
    return make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)


@pytest.fixture
def slow_nginx(make_nginx):
    return make_nginx("limit_rate 2m;")


def test_a_servers_odd_etag_does_not_cost_the_record(monkeypatch, folder, release, file_slots, make_daemon):
    """The record is JSON, and what a server says need not be UTF-8; the floor and the failed releases are at stake."""
    monkeypatch.setattr(evil_server.Handler, "evil_odd_etag", lambda self: self.send(self.answer(etag='"\xff\xfe"')),
                        raising=False)
    with evil_server.EvilServer(release.parent) as server:
        server.behave("image.json", "odd-etag")
        daemon = make_daemon(server.url("image"), file_slots, mode="reboot").start()
        daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "release 1 runs")
        daemon.post("rollback")
        daemon.wait(lambda status: status["slots"]["a"]["role"] == "active" and status["state"] == "held", "rolled back")
        assert daemon.stop() == 0
        record = json.loads((daemon.folder / "state" / "record.json").read_text())
        assert record["floor_serial"] == 1
        daemon.start()
        status = daemon.wait(lambda status: status["state"] == "held", "what was rolled back is not installed again")
        assert "failed-before" in whats(status), daemon.log
        assert status["last_update"]["result"] == "fell-back"


def test_a_slot_replaced_while_it_is_installed_is_not_armed(slow_nginx, folder, file_slots, make_daemon):
    """The verified bytes are in a file that no name leads to any more."""
    content = images.noise(8_000_000, 1)
    big = make_release(folder / "big", content, version="1", serial=1)
    daemon = make_daemon(slow_nginx.publish(big), file_slots, mode="install").start()
    daemon.wait(lambda status: status["update"]["progress"]["bytes_downloaded"] > 500_000, "the download runs")
    fresh = folder / "fresh"
    fresh.write_bytes(b"not an image")
    os.rename(fresh, file_slots[1])
    status = daemon.wait(ended, "the installation ends")
    assert status["boot"]["next"] == "a" and selection(daemon)["trial"] is None
    assert status["last_update"]["result"] == "failed" and status["slots"]["b"]["state"] != "trial"
    daemon.post("install")
    daemon.wait(is_armed, "the next attempt writes what stands there now")
    assert file_slots[1].read_bytes() == content


def test_a_slot_that_became_the_running_one_is_not_written(nginx, release, file_slots, make_daemon):
    """By a link, after the start; held, with the reason in blocked_by."""
    before = images.noise(100_000, 7)
    file_slots[0].write_bytes(before)
    url = nginx.url("image")
    daemon = make_daemon(url, file_slots, mode="install").start()
    daemon.wait(lambda status: status["last_check"]["result"] == "failed", "there is nothing to install yet")
    file_slots[1].unlink()
    file_slots[1].symlink_to(file_slots[0])
    nginx.publish(release)
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] == "held", "it is held")
    assert whats(status) and "same" in status["blocked_by"][0]["why"], status
    assert file_slots[0].read_bytes() == before


def test_a_boot_selection_that_another_one_changed_is_set_right_before_writing(slow_nginx, folder, file_slots, make_daemon):
    """Whoever selects the target meanwhile does not make a slot boot that is being written."""
    first = make_release(folder / "first", images.noise(500_000, 1), version="1", serial=1)
    daemon = make_daemon(slow_nginx.publish(first), file_slots, mode="install").start()
    daemon.wait(is_armed, "release 1 is armed")
    path = daemon.folder / "state" / "boot-selection.json"
    changed = json.loads(path.read_text())
    changed.update(running="b", selected="b", trial=None, tries_left=0)
    changed["slots"]["b"] = "good"
    path.write_text(json.dumps(changed))
    before = file_slots[1].read_bytes()
    slow_nginx.publish(make_release(folder / "second", images.noise(8_000_000, 2), version="2", serial=2))
    daemon.post("check")
    daemon.wait(lambda status: status["update"]["progress"]["bytes_downloaded"] > 600_000, "the download runs")
    assert selection(daemon)["slots"]["a"] == "invalid" and selection(daemon)["selected"] == "b"
    assert file_slots[1].read_bytes() == before, "slot b runs now"


def test_an_update_armed_just_before_the_end_stands_in_the_history(nginx, release, file_slots, make_daemon):
    """Killed after the boot selection was written and before the record says so."""
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install").start()
    daemon.wait(is_armed, "it is armed")
    assert daemon.stop() == 0
    path = daemon.folder / "state" / "record.json"
    record = json.loads(path.read_text())
    assert record["trial"]["stage"] == "armed" and record["history"].pop()["result"] == "installed"
    record["trial"]["stage"] = "arming"
    path.write_text(json.dumps(record))
    daemon.start()
    status = daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "it runs")
    assert status["last_update"] and status["last_update"]["result"] == "installed" and status["last_update"]["to"] == "1"
    history = daemon.request("GET", "/v1/history")[1]["history"]
    assert [entry["result"] for entry in history] == ["good", "installed"]


def test_a_cancelled_check_leaves_the_reason_of_the_hold(make_nginx, folder, file_slots, make_daemon):
    """An operator's install is let through by Mode=check, and is cancelled while its plan is made."""
    nginx = make_nginx("location = /image.chunks { limit_rate 200; }")
    big = make_release(folder / "big", images.noise(8_000_000, 1), version="1", serial=1)
    daemon = make_daemon(nginx.publish(big), file_slots, mode="check", Transfer={"MaxBytesPerUpdate": "100M"}).start()
    daemon.wait(lambda status: status["state"] == "held" and whats(status) == ["mode"], "it is held")
    daemon.post("install")
    daemon.wait(lambda status: status["phase"] == "scanning", "the plan is being made")
    daemon.post("cancel")
    status = daemon.wait(lambda status: status["state"] != "checking", "the check ends")
    assert status["state"] == "held" and whats(status) == ["mode"]
    daemon.settings["Update"]["Url"] += "-elsewhere"
    daemon.write_config()
    daemon.process.send_signal(signal.SIGHUP)
    status = daemon.wait(lambda status: status["update"]["url"].endswith("-elsewhere"), "another server is asked")
    assert status["state"] != "held" or whats(status), status


def test_a_failed_release_is_forgotten_only_when_it_is_installed(nginx, release, file_slots, make_daemon):
    """An operator's install that a byte budget then holds is no word for the polls that come after it."""
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install").start()
    daemon.wait(is_armed, "it is armed")
    assert daemon.stop() == 0
    path = daemon.folder / "state" / "boot-selection.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tries_left": 0}))
    os.truncate(file_slots[1], 0)
    daemon.settings["Transfer"] = {"MaxBytesPerUpdate": "100K"}
    daemon.write_config()
    daemon.start()
    daemon.wait(lambda status: whats(status) == ["failed-before"], "it failed here")
    daemon.post("install")
    daemon.wait(lambda status: status["state"] == "held" and whats(status) == ["max-bytes"], "it costs too much")
    daemon.settings["Transfer"] = {}
    daemon.write_config()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait(lambda status: "new settings are in use" in daemon.log, "the budget is lifted")
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] in ("held", "reboot-pending") and whats(status) != ["max-bytes"],
                         "it is judged anew")
    assert status["state"] == "held" and whats(status) == ["failed-before"]


@pytest.mark.skipif(programs.SANITIZED, reason="strace and the leak sanitizer do not go together")
def test_a_cancel_that_was_accepted_is_one(nginx, release, folder, file_slots, make_daemon):
    """The image is verified, the seeds are being closed (which here takes a second), and then comes the cancel."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install")
    daemon.start(prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(file_slots[0]),
                         "-e", "inject=close:delay_enter=1000000"])
    try:
        size = release.stat().st_size
        daemon.wait(lambda status: status["update"]["progress"]["bytes_verified"] == size, "it is verified", interval=0.005)
        code, answer = daemon.request("POST", "/v1/cancel")
        status = daemon.wait(lambda status: status["state"] in ("held", "reboot-pending"), "it ends")
        assert code == 202, answer
        assert status["state"] == "held" and whats(status) == ["cancelled"], status
        assert status["boot"]["next"] == "a" and status["last_update"]["result"] == "cancelled"
        daemon.post("check")
        status = daemon.wait(lambda status: status["state"] != "checking", "the check ends")
        assert status["state"] == "held" and whats(status) == ["cancelled"], status
    finally:
        # strace hands no SIGTERM on; its one child is the daemon.
        children = pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        daemon.process.wait(20)


def test_a_reload_during_an_update_does_not_keep_the_manager_waiting(make_nginx, folder, file_slots, make_daemon):
    """systemctl reload ends with READY=1, which must not take as long as a download does."""
    big = make_release(folder / "big", images.noise(8_000_000, 1), version="1", serial=1)
    daemon = make_daemon(make_nginx("limit_rate 400k;").publish(big), file_slots, mode="install")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        place = os.path.join(daemon.socket_folder, "notify")
        manager.bind(place)
        manager.settimeout(20 * programs.PATIENCE)
        daemon.start(env={**os.environ, "NOTIFY_SOCKET": place})
        daemon.wait(lambda status: status["update"]["progress"]["bytes_downloaded"] > 500_000, "the download runs")
        daemon.process.send_signal(signal.SIGHUP)
        while "RELOADING=1" not in manager.recv(4096).decode():
            pass
        while "READY=1" not in manager.recv(4096).decode():
            pass
        assert daemon.status()["state"] == "installing", "the new settings wait, the manager does not"
        daemon.wait(lambda status: status["state"] == "reboot-pending" and "new settings are in use" in daemon.log,
                    "they are taken at its end")
