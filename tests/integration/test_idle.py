# SPDX-License-Identifier: MIT
"""What a daemon costs that has nothing to do: no wake-up at all."""
import subprocess
import time

import pytest

import programs

pytestmark = pytest.mark.slow


def is_traced(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return "TracerPid:\t0\n" not in file.read()


def test_an_idle_daemon_sleeps(make_daemon, nginx, small_release, file_slots, folder):
    """Nothing under way, the next poll in an hour: strace shows no system call in 30 s."""
    daemon = make_daemon(nginx.publish(small_release[0]), file_slots, mode="reboot").start()
    daemon.wait(lambda status: status["state"] == "idle" and status["slots"]["b"]["role"] == "active", "it is idle")
    trace = folder / "trace"
    strace = subprocess.Popen(["strace", "-f", "-qq", "-o", str(trace), "-p", str(daemon.pid)], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    programs.wait_until(lambda: strace.poll() is not None or trace.exists() and is_traced(daemon.pid), "strace attaches")
    if strace.poll() is not None:
        pytest.skip(f"strace cannot attach here: {strace.stderr.read().strip()}")
    # What the update left to be done (closing connections that are kept for a while) ends within seconds of an idle machine's.
    for _ in range(10):
        begin = len(trace.read_text().splitlines())
        time.sleep(30)
        woken = trace.read_text().splitlines()[begin:]
        if not woken:
            break
    strace.terminate()
    strace.wait()
    assert woken == []
    daemon.status()
