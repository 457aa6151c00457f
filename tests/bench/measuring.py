# SPDX-License-Identifier: MIT
"""Runs a program and says what it cost."""
import os
import subprocess
import time


class Failed(Exception):
    """A measured program ended with another status than 0, or not in time."""


def process_numbers(pid):
    """Peak memory in KiB, bytes read, bytes written, as long as the process is there."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            peak = next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
        with open(f"/proc/{pid}/io", encoding="ascii") as counters:
            numbers = dict(line.split(": ") for line in counters)
        return peak, int(numbers["rchar"]), int(numbers["wchar"])
    except (OSError, ValueError):
        return None


def measure(command, stdout=subprocess.DEVNULL, timeout=None, **options):
    """Runs it to its end: seconds, CPU seconds, peak KiB, bytes read, bytes written (of the process itself, the CPU
    seconds of its children too). Raises Failed."""
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=stdout,
                               stderr=subprocess.PIPE, start_new_session=True, **options)
    os.set_blocking(process.stderr.fileno(), False)
    peak = read = written = 0
    message = b""
    try:
        while True:
            # A process that has ended and was not waited for still has its counters, but no memory.
            numbers = process_numbers(process.pid)
            if numbers:
                peak, read, written = max(peak, numbers[0]), numbers[1], numbers[2]
            message = (message + (process.stderr.read() or b""))[-4000:]
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if timeout and time.monotonic() - begin > timeout:
                raise Failed(f"not done after {timeout} s")
            # Often for what is short; what takes minutes is not slowed down by being watched.
            time.sleep(min(0.05, max(0.002, (time.monotonic() - begin) / 50)))
        seconds = time.monotonic() - begin
        message += process.stderr.read() or b""
    finally:
        if process.returncode is None:
            # The session is this command's own: what it started goes with it.
            os.killpg(process.pid, 9)
            process.wait()
        process.stderr.close()
    if process.returncode != 0:
        words = " ".join(map(str, command))
        raise Failed(f"status {process.returncode}: {words[-200:]}: {message.decode(errors='replace').strip()[-400:]}")
    return seconds, usage.ru_utime + usage.ru_stime, peak, read, written
