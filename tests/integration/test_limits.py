# SPDX-License-Identifier: MIT
"""What an update of gigabytes may cost: memory, and what the daemon's loop may wait for. How soon it answers is measured by
tests/bench/latency, for seconds depend on what else the machine does."""
import collections
import os
import shutil
import socket
import subprocess
import time

import pytest

import images
import programs
from releases import make_release

pytestmark = pytest.mark.slow

IMAGE_BYTES = 2 << 30

RSS_MAX_KIB = 24 * 1024

# Numbers of the system calls that a loop may sleep in: it waits for events; for another thread that has the pool's lock
# for a moment; and restart_syscall is how the kernel goes on with one of these after a stop.
WAITS = {"x86_64": {232: "epoll_wait", 281: "epoll_pwait", 441: "epoll_pwait2", 202: "futex", 219: "restart_syscall"},
         "aarch64": {22: "epoll_pwait", 441: "epoll_pwait2", 98: "futex", 128: "restart_syscall"}}.get(os.uname().machine)


class Sampler:
    """The peak of a process's resident memory, read until it ends."""

    def __init__(self, pid):
        self.pid, self.peak = pid, 0

    def sample(self):
        self.peak = max(self.peak, programs.peak_rss_kib(self.pid) or 0)


@pytest.fixture(scope="module")
def place():
    """A folder for images of gigabytes."""
    path = images.CACHE / f"large-{os.getpid()}"
    path.mkdir(parents=True)
    free = shutil.disk_usage(path).free
    try:
        if free < 8 << 30:
            pytest.skip(f"needs 8 GiB in {path}, and {free >> 20} MiB are free")
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def large_release(place):
    """2 GiB: mostly noise, some of it twice, some zeros."""
    path = place / "content"
    images.write_noise(path, IMAGE_BYTES - (64 << 20), "large")
    with open(path, "r+b") as file:
        start = file.read(32 << 20)
        file.seek(0, os.SEEK_END)
        file.write(start)
        file.truncate(IMAGE_BYTES)
    return make_release(place / "release", path, version="1", serial=1)


def get_status(path):
    """GET /v1/status over a connection of its own; every one has to be answered."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60 * programs.PATIENCE)
        client.connect(path)
        client.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
    return answer


def sleeps_in(pid):
    """The number of the system call that the process's first thread sleeps in, which is the loop's; None where it runs, is
    ready to run, or waits for a page of memory, and where this kernel does not tell."""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            word = file.read().split()[0]
    except OSError:
        return None
    return int(word) if word.isdigit() else None


@pytest.fixture(scope="module")
def large_update(place, large_release):
    """One update of 2 GiB, with a tenth of the image in the other slot; what it cost."""
    import web
    server = web.Nginx(place / "nginx")
    slots = (place / "slot-a", place / "slot-b")
    with open(large_release, "rb") as image, open(slots[0], "wb") as slot:
        image.seek(IMAGE_BYTES // 2)
        for _ in range(13):
            slot.write(image.read(16 << 20))
    slots[1].touch()
    daemon = programs.Daemon(place / "daemon", server.publish(large_release), slots, mode="check")
    try:
        daemon.start()
        daemon.wait(lambda status: status["state"] == "held", "the first look", timeout=120)
        sampler = Sampler(daemon.pid)
        answers, waits = 0, collections.Counter()
        daemon.post("install")
        state = b""
        while b'"reboot-pending"' not in state:
            state = get_status(daemon.socket)
            answers += b'"installing"' in state
            for _ in range(20):
                waits[sleeps_in(daemon.pid)] += 1
            sampler.sample()
            assert b'"last_update":{' not in state or b'"installed"' in state, state
            time.sleep(0.002)
        same = subprocess.run(["cmp", "-s", str(slots[1]), str(large_release)], check=False).returncode == 0
        status = daemon.status()
        assert daemon.stop() == 0
        yield {"answers": answers, "waits": waits, "peak_kib": sampler.peak, "same": same, "status": status}
    finally:
        daemon.close()
        server.stop()
        for slot in slots:
            slot.unlink()


def test_an_update_of_2_gib_ends_equal(large_update):
    assert large_update["same"]
    assert large_update["status"]["last_update"]["bytes_downloaded"] < IMAGE_BYTES * 0.95


def test_the_daemon_stays_under_24_mib(large_update):
    print(f"peak {large_update['peak_kib']} KiB")
    assert 0 < large_update["peak_kib"] < RSS_MAX_KIB


def test_the_api_answers_during_the_update(large_update):
    """One request after another, and none is lost: get_status() would have failed."""
    print(f"{large_update['answers']} answers while it was installing")
    assert large_update["answers"] > 50


@pytest.mark.skipif(not WAITS, reason="this machine's system calls have other numbers")
def test_the_loop_waits_for_nothing_but_events(large_update):
    """What blocks (reading, writing, syncing the medium, names, programs) is on other threads, however busy the machine is: a
    thread that only waits for its turn on a processor does not sleep in a system call."""
    waits = {WAITS.get(number, number): count for number, count in large_update["waits"].items() if number is not None}
    print(waits)
    if not waits:
        pytest.skip("this kernel does not tell what a thread sleeps in")
    assert set(waits) <= set(WAITS.values()), waits
    assert sum(waits.values()) > 200


def test_clone_stays_under_24_mib(place, large_release):
    import web
    server = web.Nginx(place / "nginx-clone")
    out = place / "out"
    seed = place / "seed"
    with open(large_release, "rb") as image, open(seed, "wb") as file:
        file.write(b"shifted")
        for _ in range(16):
            file.write(image.read(16 << 20))
    try:
        with open(place / "events", "w", encoding="ascii") as events:
            process = subprocess.Popen([str(programs.MOONSINTER), "clone", server.publish(large_release), str(out),
                                        str(seed)], stdin=subprocess.DEVNULL, stdout=events)
            sampler = Sampler(process.pid)
            while process.poll() is None:
                sampler.sample()
                time.sleep(0.005)
        assert process.returncode == 0
        assert subprocess.run(["cmp", "-s", str(out), str(large_release)], check=False).returncode == 0
        print(f"peak {sampler.peak} KiB")
        assert 0 < sampler.peak < RSS_MAX_KIB
    finally:
        server.stop()
        for path in (out, seed):
            path.unlink(missing_ok=True)
