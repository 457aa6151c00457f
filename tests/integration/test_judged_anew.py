# SPDX-License-Identifier: MIT
"""moonsinterd: what is said of a release once it runs, or has failed, and before the server is asked again."""
import contextlib
import json
import os
import socket

import pytest

import images
import programs
from conditions import whats
from evil_server import EvilServer
from releases import make_release

pytestmark = pytest.mark.sanitized


def runs(slot, state):
    return lambda status: status["slots"][slot]["role"] == "active" and status["state"] == state


@pytest.fixture
def server(folder):
    release = make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)
    with EvilServer(release.parent) as evil:
        yield evil


def asked(server):
    return server.stats()["paths"]["/image.json"]["requests"]


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, place):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(place)
        self.socket.settimeout(0)
        self.environment = {**os.environ, "NOTIFY_SOCKET": place}
        self.sentences = []

    def read(self):
        """All STATUS= so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in self.socket.recv(4096).decode().splitlines():
                    if line.startswith("STATUS="):
                        self.sentences.append(line[len("STATUS="):])
        return self.sentences


@pytest.fixture
def make_manager():
    made = []

    def make(daemon):
        made.append(Manager(os.path.join(daemon.socket_folder, "notify")))
        return made[-1]
    yield make
    for manager in made:
        manager.socket.close()


def fail_check(folder):
    checks = folder / "health.d"
    checks.mkdir(mode=0o755)
    (checks / "10-app").write_text("#!/bin/sh\nexit 7\n")
    (checks / "10-app").chmod(0o755)
    return checks


def test_after_a_failed_trial(server, folder, file_slots, make_daemon, make_manager):
    daemon = make_daemon(server.url("image"), file_slots, mode="reboot", Health={"Checks": fail_check(folder)})
    manager = make_manager(daemon)
    daemon.start(env=manager.environment)
    status = daemon.wait(lambda status: status["slots"]["b"]["state"] == "bad" and runs("a", "held")(status), "it fell back")
    assert whats(status) == ["failed-before"] and "10-app" in status["blocked_by"][0]["why"]
    assert status["last_check"]["result"] == "update" and status["last_update"]["result"] == "fell-back"
    assert asked(server) == 1, "and the server was not asked for that"
    daemon.wait(lambda _: manager.read() and manager.read()[-1].startswith("Held: "), "the service manager hears it")
    assert not [sentence for sentence in manager.sentences if "Up to date" in sentence]
    why = programs.moonsinter("why", "--socket", daemon.socket)
    assert "failed-before" in why.stdout
    code, metrics = daemon.request("GET", "/metrics")
    assert code == 200 and "\nmoonsinter_blocked 1\n" in metrics


def test_after_mark_bad_of_what_was_good(server, file_slots, make_daemon, make_manager):
    daemon = make_daemon(server.url("image"), file_slots, mode="install")
    manager = make_manager(daemon)
    daemon.start(env=manager.environment)
    daemon.wait(lambda status: status["state"] == "reboot-pending", "it is armed")
    daemon.post("reboot")
    status = daemon.wait(runs("b", "idle"), "the update runs")
    assert status["last_check"]["result"] == "up-to-date" and status["blocked_by"] == []
    daemon.wait(lambda _: manager.read() and manager.read()[-1].startswith("Up to date"), "it is told so")
    manager.sentences.clear()
    daemon.post("mark-bad")
    status = daemon.wait(lambda status: status["state"] == "reboot-pending", "the next boot takes slot A")
    assert "failed-before" in whats(status) and status["last_check"]["result"] == "update"
    daemon.post("reboot")
    status = daemon.wait(runs("a", "held"), "slot A runs")
    assert whats(status) == ["failed-before"] and status["last_check"]["result"] == "update"
    daemon.wait(lambda _: manager.read() and manager.read()[-1].startswith("Held: "), "the service manager hears it")
    assert not [sentence for sentence in manager.sentences if "Up to date" in sentence]


@pytest.mark.parametrize("end", ["good", "failed"])
def test_after_a_restart_before_the_first_look(server, folder, file_slots, make_daemon, end):
    """The loader was at it meanwhile: the release came up, or never did. The server is away by then."""
    daemon = make_daemon(server.url("image"), file_slots, mode="install").start()
    daemon.wait(lambda status: status["state"] == "reboot-pending", "it is armed")
    assert daemon.stop() == 0
    if end == "failed":
        path = daemon.folder / "state" / "boot-selection.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "tries_left": 0}))
    daemon.settings["Update"].update({"Interval": "1h", "RandomizedDelay": "1h"})
    daemon.write_config()
    asked_before = asked(server)
    daemon.start()
    if end == "failed":
        status = daemon.wait(runs("a", "held"), "it fell back")
        assert status["last_check"]["result"] == "update" and whats(status) == ["failed-before"]
    else:
        status = daemon.wait(runs("b", "idle"), "the update runs")
        assert status["last_check"]["result"] == "up-to-date" and status["blocked_by"] == []
    assert asked(server) == asked_before


def test_what_is_remembered_is_shown_from_the_start(server, folder, file_slots, make_daemon):
    """Not only after the first look, which may be an hour away."""
    daemon = make_daemon(server.url("image"), file_slots, mode="reboot", Health={"Checks": fail_check(folder)}).start()
    daemon.wait(lambda status: whats(status) == ["failed-before"], "it failed")
    assert daemon.stop() == 0
    daemon.settings["Update"]["RandomizedDelay"] = "1h"
    daemon.write_config()
    daemon.start()
    status = daemon.status()
    assert status["state"] == "held" and whats(status) == ["failed-before"]
    assert status["last_check"]["result"] == "update"


def test_a_table_that_is_missing_is_told_of(server, folder, file_slots, make_daemon):
    """Without it the whole fleet downloads more, and nobody would look into a journal for that."""
    server.behave("image.chunks", "404")
    daemon = make_daemon(server.url("image"), file_slots, mode="install").start()
    status = daemon.wait(lambda status: status["state"] == "reboot-pending", "it is installed all the same")
    assert "image.chunks" in status["update"]["table_skipped"] and status["update"]["pack_skipped"] is None
    why = programs.moonsinter("why", "--socket", daemon.socket)
    assert "(table-skipped)" in why.stdout
    assert "\nmoonsinter_update_table_skipped 1\n" in daemon.request("GET", "/metrics")[1]
    # Of that release, and of no other one.
    server.behave("image.chunks", None)
    make_release(folder / "1", images.noise(500_000, 2), version="2", serial=2)
    daemon.post("check")
    status = daemon.wait(lambda status: status["slots"]["b"]["version"] == "2" and status["state"] == "reboot-pending", "the next")
    assert status["update"]["table_skipped"] is None
    assert "\nmoonsinter_update_table_skipped 0\n" in daemon.request("GET", "/metrics")[1]
