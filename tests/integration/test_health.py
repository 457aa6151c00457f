# SPDX-License-Identifier: MIT
"""moonsinterd: the health checks of a slot on trial, and what is told of those that failed."""
import json
import os
import signal

import pytest

import images
import media
import programs
from conditions import whats
from programs import wait_until
from releases import make_release

pytestmark = pytest.mark.sanitized


@pytest.fixture
def release(folder):
    return make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)


@pytest.fixture
def checks(folder):
    path = folder / "health.d"
    path.mkdir(mode=0o755)
    return path


def put_check(checks, name, script, mode=0o755):
    path = checks / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)


def runs(slot):
    return lambda status: status["slots"][slot]["role"] == "active" and status["state"] in ("idle", "held")


def is_on_trial(status):
    return status["state"] == "trial"


def is_gone(pid):
    """Ended; a zombie that waits for whoever adopted it counts."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_failing_check_falls_back_and_is_told_of(nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-fine", "echo fine")
    put_check(checks, "20-app", "echo starting; echo 'no answer on port 80' >&2; echo 'ü \033[31mred'; exit 7")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks}).start()
    daemon.wait(lambda status: status["slots"]["b"]["state"] == "bad", "it is rejected")
    status = daemon.wait(runs("a"), "the old slot runs again")
    update = status["last_update"]
    assert update["result"] == "fell-back" and update["reason"] == "health check 20-app failed with exit status 7"
    assert update["output"] == "starting\nno answer on port 80\nü  [31mred"
    assert (update["from"], update["to"]) == ("1", None) and status["boot"]["next"] == "a"
    assert "| no answer on port 80" in daemon.log and "health check 10-fine passed" in daemon.log
    # Not again, whatever is asked, until an operator says so; also after a restart.
    daemon.post("check")
    daemon.wait(lambda status: whats(status) == ["failed-before"], "it is held")
    assert daemon.stop() == 0
    daemon.start()
    status = daemon.wait(lambda status: whats(status) == ["failed-before"], "it is held after a restart")
    assert "20-app" in status["blocked_by"][0]["why"] and status["last_update"] == update
    code, history = daemon.request("GET", "/v1/history")
    assert code == 200 and [entry["result"] for entry in history["history"]] == ["fell-back", "installed"]
    assert history["history"][0] == update
    shown = programs.moonsinter("history", "--socket", daemon.socket)
    assert shown.status == 0, shown
    # A release that passes is kept.
    put_check(checks, "20-app", "exit 0")
    nginx.publish(make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2))
    daemon.post("check")
    status = daemon.wait(lambda status: runs("b")(status) and status["state"] == "idle", "the newer one is kept")
    assert status["slots"]["b"]["state"] == "good" and status["boot"]["trial"] is False


def test_a_trial_lasts_until_its_checks_have_passed(nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-waits", f"while [ ! -e {folder}/go ]; do sleep 0.02; done; echo once >>{folder}/runs")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks}).start()
    status = daemon.wait(lambda status: is_on_trial(status) and "10-waits" in str(status["blocked_by"]), "it is on trial")
    assert status["slots"]["b"]["state"] == "trial" and status["boot"]["trial"] is True
    assert whats(status) == ["running-slot-not-good"]
    code, answer = daemon.request("POST", "/v1/install")
    assert code == 409, answer
    (folder / "go").touch()
    daemon.wait(lambda status: status["state"] == "idle" and status["slots"]["b"]["state"] == "good", "it is kept")
    assert (folder / "runs").read_text() == "once\n"
    code, history = daemon.request("GET", "/v1/history")
    assert [entry["result"] for entry in history["history"]] == ["good", "installed"]


def test_a_check_that_hangs_ends_at_the_deadline(nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-hangs", f"trap '' TERM; echo $$ >{folder}/pid; echo waiting for the sensor; while :; do sleep 0.1; done")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks, "Timeout": "1s"}).start()
    status = daemon.wait(lambda status: runs("a")(status) and status["slots"]["b"]["state"] == "bad", "it falls back")
    assert status["last_update"]["reason"] == "after 1.0s health check 10-hangs had not ended"
    assert status["last_update"]["output"] == "waiting for the sensor"
    # It does not even listen to SIGTERM.
    pid = int((folder / "pid").read_text())
    wait_until(lambda: is_gone(pid), "the check is killed")


def test_a_check_that_floods_costs_neither_memory_nor_the_loop(nginx, release, file_slots, checks, make_daemon):
    put_check(checks, "10-floods", "yes 'all work and no play'; exit 1")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks, "Timeout": "2s"}).start()
    daemon.wait(is_on_trial, "it is on trial")
    before = programs.peak_rss_kib(daemon.pid)
    # A loop that the flood keeps would not answer before the trial is over.
    answers = 0
    while is_on_trial(daemon.status()):
        answers += 1
    status = daemon.wait(lambda status: runs("a")(status) and status["slots"]["b"]["state"] == "bad", "it falls back")
    output = status["last_update"]["output"]
    assert 500 < len(output) < 1024 and set(output.split("\n")) - {"all work and no play"} <= {output.split("\n")[-1]}
    assert answers > 5
    if not programs.SANITIZED:
        assert programs.peak_rss_kib(daemon.pid) - before < 2000


def test_a_check_that_others_may_write_is_not_run(nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-open", f"touch {folder}/ran", mode=0o777)
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks}).start()
    status = daemon.wait(lambda status: runs("a")(status) and status["slots"]["b"]["state"] == "bad", "it falls back")
    assert "10-open may be written by others" in status["last_update"]["reason"]
    assert not (folder / "ran").exists()


def test_a_folder_of_checks_that_was_named_has_to_be_there(nginx, folder, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": folder / "absent"}).start()
    status = daemon.wait(lambda status: runs("a")(status) and status["slots"]["b"]["state"] == "bad", "it falls back")
    assert "absent cannot be read" in status["last_update"]["reason"]


def test_a_unit_that_is_not_active(nginx, release, file_slots, make_daemon):
    """With the machine's own systemctl, which may have no service manager to ask."""
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot",
                         Health={"Units": "moonsinter-test-absent.service", "Timeout": "1s"}).start()
    status = daemon.wait(lambda status: runs("a")(status) and status["slots"]["b"]["state"] == "bad", "it falls back")
    reason = status["last_update"]["reason"]
    assert reason.startswith("after 1.0s ")
    assert "moonsinter-test-absent.service is not active but inactive" in reason or "systemctl cannot tell" in reason


def test_the_server_is_asked_where_it_has_to_be_reachable(make_nginx, folder, file_slots, make_daemon):
    nginx = make_nginx()
    url = nginx.publish(make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1))
    daemon = make_daemon(url, file_slots, mode="install", Health={"Server": "yes", "Timeout": "2s"}).start()
    daemon.wait(lambda status: status["state"] == "reboot-pending", "release 1 is armed")
    asked = len(nginx.requests("/image.json"))
    daemon.post("reboot")
    daemon.wait(lambda status: status["slots"]["b"]["role"] == "active" and status["state"] == "idle", "it is kept")
    assert len(nginx.requests("/image.json")) == asked + 1
    nginx.publish(make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2))
    daemon.post("check")
    daemon.wait(lambda status: status["state"] == "reboot-pending", "release 2 is armed")
    nginx.stop()
    daemon.post("reboot")
    status = daemon.wait(lambda status: runs("b")(status) and status["slots"]["a"]["state"] == "bad", "it falls back")
    assert status["last_update"]["reason"].startswith("after 2.0s the image server does not answer")


def test_a_state_folder_that_hangs_does_not_keep_a_slot_that_is_not_fit(nginx, folder, release, file_slots, checks,
                                                                         make_daemon):
    put_check(checks, "10-app", f"while [ ! -e {folder}/go ]; do sleep 0.02; done; exit 1")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks},
                         # Which is about requests, and nothing else.
                         Transfer={"StallTimeout": "1h"})
    record = daemon.folder / "state" / "record.json"
    fresh, hangs = daemon.folder / "state" / "record.json.new", folder / "hangs"
    daemon.start(env=media.environment(folder, [(fresh, f"hang@{hangs}")]))
    daemon.wait(lambda status: is_on_trial(status) and "10-app" in str(status["blocked_by"]), "it is on trial")
    wait_until(lambda: json.loads(record.read_text())["trial"]["stage"] == "booted" and not fresh.exists(), "all is saved")
    hangs.touch()
    (folder / "go").touch()
    daemon.wait(runs("a"), "it falls back")
    assert "falling back does not wait for it" in daemon.log
    daemon.wait(lambda status: status.get("stalled"), "what hangs is told of")
    # When the medium answers again, what happened is written down.
    hangs.unlink()
    wait_until(lambda: "10-app failed" in record.read_text(), "the record is saved")
    daemon.wait(lambda status: not status.get("stalled"), "and nothing hangs any more")


def wait_for_trial(daemon, started):
    """Until a slot is on trial, the record says so, and its check has written that file. A daemon that is killed then has not
    forgotten that it came up, and no process is left that still holds what it held. Returns the status."""
    record = daemon.folder / "state" / "record.json"
    fresh = daemon.folder / "state" / "record.json.new"
    status = daemon.wait(is_on_trial, "it is tried")
    wait_until(lambda: json.loads(record.read_text())["trial"]["stage"] == "booted" and not fresh.exists(), "all is saved")
    wait_until(started.exists, "the check runs")
    started.unlink()
    return status


def test_every_start_without_a_verdict_is_a_try(nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-hangs", f"touch {folder}/started; sleep 1000")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Boot={"Tries": 2}, Health={"Checks": checks}).start()
    for left in (1, 0):
        status = wait_for_trial(daemon, folder / "started")
        assert status["boot"]["tries_left"] == left
        daemon.kill()
        daemon.start()
    status = daemon.wait(lambda status: whats(status) == ["failed-before"], "it is held")
    assert status["slots"]["a"]["role"] == "active" and status["slots"]["b"]["state"] == "bad"
    assert "without a verdict" in status["last_update"]["reason"]


def test_with_a_single_try_a_power_cut_gives_a_second_one(nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-hangs", f"touch {folder}/started; sleep 1000")
    # The first poll since a start comes within a hundred days, but for a second try.
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Update={"RandomizedDelay": "100d"}, Boot={"Tries": 1},
                         Health={"Checks": checks}).start()
    daemon.post("check")
    wait_for_trial(daemon, folder / "started")
    requests = len(nginx.requests("/image"))
    daemon.kill()
    daemon.start()
    status = wait_for_trial(daemon, folder / "started")
    assert "tried once more" in str(daemon.request("GET", "/v1/history"))
    assert len(nginx.requests("/image")) == requests, "what is there already is not downloaded again"
    daemon.kill()
    daemon.start().post("check")
    status = daemon.wait(lambda status: whats(status) == ["failed-before"], "and not a third time")
    assert status["slots"]["a"]["role"] == "active"
    # Where an operator wants it nevertheless, it has its two tries again.
    daemon.post("install")
    for _ in range(2):
        wait_for_trial(daemon, folder / "started")
        daemon.kill()
        daemon.start()
    daemon.post("check")
    daemon.wait(lambda status: whats(status) == ["failed-before"], "and not a third time")


@pytest.mark.parametrize("order", ["mark-good", "mark-bad"])
def test_an_operators_word_comes_before_the_checks(order, nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-hangs", f"echo $$ >{folder}/pid.new; mv {folder}/pid.new {folder}/pid; exec sleep 1000")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks}).start()
    daemon.wait(is_on_trial, "it is on trial")
    wait_until((folder / "pid").exists, "the check runs")
    pid = int((folder / "pid").read_text())
    daemon.post(order)
    slot = "b" if order == "mark-good" else "a"
    status = daemon.wait(runs(slot), "the word is carried out")
    assert status["slots"]["b"]["state"] == ("good" if order == "mark-good" else "bad")
    assert (status["last_update"]["reason"] or "") == ("" if order == "mark-good" else "marked bad by an operator")
    wait_until(lambda: is_gone(pid), "the check is ended")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_stopping_during_a_trial(ending, nginx, folder, release, file_slots, checks, make_daemon):
    put_check(checks, "10-hangs", f"echo $$ >{folder}/pid.new; mv {folder}/pid.new {folder}/pid; exec sleep 1000")
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Health={"Checks": checks}).start()
    daemon.wait(is_on_trial, "it is on trial")
    wait_until((folder / "pid").exists, "the check runs")
    pid = int((folder / "pid").read_text())
    os.kill(daemon.pid, ending)
    # Its own end: after 10 s it would leave with status 1.
    assert daemon.process.wait(10 * programs.PATIENCE) == 0
    wait_until(lambda: is_gone(pid), "the check is ended")
    record = json.loads((daemon.folder / "state" / "record.json").read_text())
    assert record["trial"]["stage"] == "booted"
    (folder / "pid").unlink()
    daemon.start()
    assert daemon.wait(is_on_trial, "the trial goes on")["boot"]["tries_left"] == 1
    wait_until((folder / "pid").exists, "the check runs again")
