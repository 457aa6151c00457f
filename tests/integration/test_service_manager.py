# SPDX-License-Identifier: MIT
"""A service manager, or a journal, that does not read what it is told: its queue is full, as where PID 1 is stuck."""
import os
import socket

import pytest

import programs

pytestmark = pytest.mark.sanitized


class Manager:
    """What NOTIFY_SOCKET= names."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(60 * programs.PATIENCE)

    def fill(self):
        """Until it takes no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            try:
                while True:
                    other.sendto(b"FILL", self.path)
            except BlockingIOError:
                pass

    def read(self):
        """The next message that is not the filling, as a list of lines."""
        while (message := self.socket.recv(4096)) == b"FILL":
            pass
        return message.decode().split("\n")

    def read_until(self, line):
        """Every line up to this one."""
        lines = []
        while line not in lines:
            lines += self.read()
        return lines


@pytest.fixture
def manager(tmp_path_factory):
    manager = Manager(tmp_path_factory.mktemp("manager"))
    yield manager
    manager.socket.close()


def test_a_manager_that_does_not_read_holds_nothing_up(manager, make_daemon, file_slots, nginx, small_release):
    daemon = make_daemon(nginx.publish(small_release[0]), file_slots, mode="install")
    manager.fill()
    daemon.start(env={**os.environ, "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"})
    daemon.wait(lambda status: status["state"] == "reboot-pending", "the installation")
    # It is told when it reads again, and what is so then; that the start is over above all.
    first = manager.read()
    assert first[0] == "READY=1"
    status = daemon.status()
    assert status["state"] == "reboot-pending"
    manager.read_until("WATCHDOG=1")
    manager.fill()
    daemon.reload()
    programs.wait_until(lambda: "new settings" in daemon.log, "the reload")
    assert daemon.status()["state"] == "reboot-pending"
    lines = manager.read_until("READY=1")
    assert any(line.startswith("RELOADING=1") for line in lines), lines
    manager.fill()
    assert daemon.stop() == 0


def test_a_journal_that_does_not_read_holds_nothing_up(make_daemon, file_slots, nginx, small_release):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    daemon = make_daemon(nginx.publish(small_release[0]), file_slots, mode="install").start(stderr=writer)
    os.close(writer)
    daemon.wait(lambda status: status["state"] == "reboot-pending", "the installation")
    daemon.process.terminate()
    assert daemon.process.wait(60 * programs.PATIENCE) == 0
    os.close(reader)
