# SPDX-License-Identifier: MIT
"""moonsinterd: what wakes it before the next look is due: a route that comes, and a clock that is set."""
import os
import shutil
import subprocess
import sys
import time

import pytest

import images
import programs
from conditions import whats
from evil_server import EvilServer
from releases import make_release

HERE = os.path.dirname(__file__)


class Island:
    """A network of its own, of which nothing is up."""

    def __init__(self):
        if os.getuid() != 0 or not shutil.which("ip", path=os.environ["PATH"] + ":/sbin:/usr/sbin"):
            pytest.skip("networks of one's own need root and iproute2")
        # Lives until its standard input ends.
        self.process = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write(b"x")
        self.process.stdin.flush()
        if self.process.stdout.read(1) != b"x":
            pytest.skip("this machine has no networks of one's own")
        self.prefix = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]

    def ip(self, *arguments):
        subprocess.run([*self.prefix, "ip", *arguments], check=True, capture_output=True)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def island():
    made = Island()
    yield made
    made.close()


@pytest.fixture
def release(folder):
    return make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)


@pytest.fixture
def island_server(island, release):
    """Its port on the island, where it can be reached as soon as there is a route."""
    server = subprocess.Popen([*island.prefix, sys.executable, os.path.join(HERE, "evil_server.py"), "--root", release.parent],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield int(server.stdout.readline())
    server.stdin.close()
    server.wait()


def fail_often(daemon, count=8):
    """As in a night without a network, only faster: the waits get longer, up to an hour."""
    daemon.wait(lambda status: status["last_check"]["result"] == "failed", "the first look fails")
    for _ in range(count):
        before = daemon.log.count("check failed: ")
        daemon.post("check")
        daemon.wait(lambda _, before=before: daemon.log.count("check failed: ") > before, "it fails")


def test_a_route_that_comes_ends_the_wait(island, island_server, file_slots, make_daemon):
    daemon = make_daemon(f"http://127.0.0.1:{island_server}/image", file_slots, mode="check", Update={"Interval": "5s"})
    daemon.start(prefix=island.prefix)
    fail_often(daemon)
    island.ip("link", "set", "lo", "up")
    # However long: what is asserted is who woke it.
    daemon.wait(lambda status: whats(status) == ["mode"], "the release is found", timeout=600)
    assert "for a route or the clock came" in daemon.log
    assert daemon.status()["last_check"]["result"] == "update"


def test_an_address_that_comes_is_one(island, island_server, file_slots, make_daemon):
    """The loopback has a route, and the server's name leads elsewhere until a cable is plugged in."""
    island.ip("link", "set", "lo", "up")
    daemon = make_daemon(f"http://192.0.2.1:{island_server}/image", file_slots, mode="check", Update={"Interval": "5s"})
    daemon.start(prefix=island.prefix)
    fail_often(daemon)
    count = daemon.log.count("for a route or the clock came")
    island.ip("address", "add", "192.0.2.1/24", "dev", "lo")
    daemon.wait(lambda _: daemon.log.count("for a route or the clock came") > count, "it is woken")


def test_what_did_not_fail_is_not_woken(island, island_server, file_slots, make_daemon):
    """A route that flaps is no reason to ask a server that has answered, nor one that asked for patience."""
    island.ip("link", "set", "lo", "up")
    daemon = make_daemon(f"http://127.0.0.1:{island_server}/image", file_slots, mode="check").start(prefix=island.prefix)
    first = daemon.wait(lambda status: whats(status) == ["mode"], "it is held")["last_check"]
    patient = make_daemon(f"http://127.0.0.1:{island_server}/503/image?times=1000&retry=600", file_slots, mode="check",
                          Storage={"StateDirectory": os.path.dirname(file_slots[0]) + "/other"})
    patient.start(prefix=island.prefix)
    asked = patient.wait(lambda status: status["last_check"]["result"] == "failed", "it is told to wait")["last_check"]
    # One that is woken, to know that the others have heard of it.
    failing = make_daemon("http://192.0.2.1:1/image", file_slots, mode="check",
                          Storage={"StateDirectory": os.path.dirname(file_slots[0]) + "/third"}).start(prefix=island.prefix)
    fail_often(failing)
    for number in range(20):
        island.ip("address", "add", f"198.51.100.{number + 1}/32", "dev", "lo")
    failing.wait(lambda _: "for a route or the clock came" in failing.log, "they came")
    assert daemon.status()["last_check"] == first and patient.status()["last_check"] == asked


# --- the clock ----------------------------------------------------------------------------------------------------

class Clock:
    """The clock of a program, see clock_set.c."""

    def __init__(self, folder):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if programs.SANITIZED or not compiler:
            pytest.skip("it takes a compiler, and a sanitizer wants to be loaded first")
        self.shift, self.fifo, library = folder / "shift", folder / "set", folder / "clock_set.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, os.path.join(HERE, "clock_set.c")], check=True)
        os.mkfifo(self.fifo)
        self.shift.write_text("0")
        self.environment = {**os.environ, "LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self.shift),
                            "CLOCK_SET": str(self.fifo)}

    def set(self, seconds):
        """To so many seconds from now."""
        self.shift.write_text(str(seconds))
        with open(self.fifo, "wb") as fifo:
            fifo.write(b"x")


@pytest.fixture
def clock(folder):
    return Clock(folder)


@pytest.fixture
def server(release):
    with EvilServer(release.parent) as evil:
        yield evil


def test_a_clock_that_is_set_ends_the_wait(server, file_slots, clock, make_daemon):
    server.behave("image.json", "404")
    daemon = make_daemon(server.url("image"), file_slots, mode="check", Update={"Interval": "5s"})
    daemon.start(env=clock.environment)
    fail_often(daemon)
    server.behave("image.json", None)
    clock.set(3600)
    daemon.wait(lambda status: whats(status) == ["mode"], "the release is found", timeout=600)
    assert "for a route or the clock came" in daemon.log


def test_expiry_goes_by_the_new_clock_at_once(folder, file_slots, clock, make_daemon):
    """A board that begins in the past, or in 2099: what it says of a release ends with that."""
    made = make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2,
                        options=["--expires", f"@{int(time.time()) + 30 * 86400}"])
    with EvilServer(made.parent) as evil:
        daemon = make_daemon(evil.url("image"), file_slots, mode="check")
        daemon.start(env=clock.environment)
        daemon.wait(lambda status: whats(status) == ["mode"], "it is held by the mode")
    # Nobody is there to be asked.
    clock.set(90 * 86400)
    daemon.wait(lambda status: "expired" in whats(status), "it has expired")
    clock.set(0)
    daemon.wait(lambda status: whats(status) == ["mode"], "it has not")


def test_a_window_opens_by_the_new_clock(server, file_slots, clock, make_daemon):
    """Not up to a minute later, nor when it would have by the old one."""
    daemon = make_daemon(server.url("image"), file_slots, mode="reboot", Reboot={"Window": "12:00-13:00"})
    # Tomorrow, for it cannot be earlier than the program was made.
    tomorrow = 86400 - int(time.time()) % 86400
    clock.shift.write_text(str(tomorrow + 6 * 3600))
    daemon.start(env={**clock.environment, "TZ": "UTC"})
    daemon.wait(lambda status: "reboot-window" in whats(status), "it waits")
    clock.set(tomorrow + 12 * 3600 + 60)
    daemon.wait(lambda status: status["slots"]["b"]["role"] == "active", "it reboots")
