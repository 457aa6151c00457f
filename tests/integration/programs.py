# SPDX-License-Identifier: MIT
"""Runs the two programs: the command to its end, and the daemon with its API on a Unix socket."""
import contextlib
import http.client
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MOONSINTER_BUILD", ROOT / "build"))
MOONSINTER = BUILD / "cli" / "moonsinter"
MOONSINTERD = BUILD / "daemon" / "moonsinterd"
SANITIZED = bool(os.environ.get("MOONSINTER_SANITIZED"))
# A build for coverage writes its counts when a program ends by itself.
COUNTING = bool(os.environ.get("MOONSINTER_COUNTING"))

# By how much all deadlines are multiplied. They only end what hangs: a busy machine takes several times as long as an idle
# one, and so do sanitizer builds.
PATIENCE = int(os.environ.get("MOONSINTER_PATIENCE", 20 if SANITIZED else 5))


def wait_until(condition, what, timeout=20):
    """Waits until `condition` is true; fails after `timeout` seconds, multiplied by PATIENCE."""
    deadline = time.monotonic() + timeout * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout * PATIENCE} s"
        time.sleep(0.02)


def written_bytes(path):
    """How many bytes of a file are on the medium, without its holes; 0 if there is no such file."""
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def is_stopped(pid):
    """Whether a process has been stopped by SIGSTOP."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0] in "Tt"


class Result:
    """The results of a command that has ended: exit status, JSON events from stdout, and stderr."""

    def __init__(self, arguments, status, stdout, stderr, seconds):
        self.arguments, self.status, self.stdout, self.stderr = arguments, status, stdout, stderr
        self.seconds = seconds

    @property
    def events(self):
        """All lines of stdout, each of which must be a JSON object."""
        lines = [json.loads(line) for line in self.stdout.splitlines()]
        assert all(isinstance(line, dict) for line in lines), self.stdout
        return lines

    def named(self, name):
        """The events with this name."""
        return [event for event in self.events if event_name(event) == name]

    @property
    def names(self):
        return [event_name(event) for event in self.events]

    def __repr__(self):
        return f"{' '.join(self.arguments)}: status {self.status}\nstderr: {self.stderr}\nstdout: {self.stdout[-3000:]}"


def event_name(event):
    """The name of an event, which is {"event": NAME, ...}, as the ancestor writes it."""
    return event.get("event")


def moonsinter(*arguments, timeout=120, program=MOONSINTER, **options):
    """Runs the command to its end."""
    arguments = [str(program), *map(str, arguments)]
    begin = time.monotonic()
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=timeout * PATIENCE, check=False, **options)
    return Result(arguments, done.returncode, done.stdout, done.stderr, time.monotonic() - begin)


# For a clone from a server whose files never fit together: by default it would wait long for a publication to end.
IMPATIENT = ("--retry-for", "2s")


def start_moonsinter(*arguments, **options):
    """Starts the command; the caller ends it."""
    return subprocess.Popen([str(MOONSINTER), *map(str, arguments)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", **options)


def waits_for_a_reader(pid):
    """Whether the standard output of a process, a pipe, is full."""
    with open(f"/proc/{pid}/fd/1", "wb", buffering=0) as pipe:
        _, writable, _ = select.select([], [pipe], [], 0)
    return not writable


def on_terminal(*arguments):
    """Runs the command on a terminal of 100 columns; its exit status and all it drew."""
    try:
        pid, fd = pty.fork()
    except OSError as error:
        pytest.skip(f"this machine gives no terminal: {error}")
    if pid == 0:
        os.execve(MOONSINTER, [str(MOONSINTER), *arguments], {**os.environ, "COLUMNS": "100"})
    drawn = b""
    deadline = time.monotonic() + 30 * PATIENCE
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 1)[0]:
            continue
        try:
            more = os.read(fd, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            break
        if not more:
            break
        drawn += more
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), drawn.decode(errors="surrogateescape")


def assert_failed(result, *words, status=1, kind=None):
    """The command must have failed, with one sentence on stderr that contains all the words (of a tuple, any one), and with
    a JSON event at the end, of `kind` if it is given. Returns the sentence."""
    assert result.status == status, result
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, f"one sentence expected: {result}"
    for word in words:
        choices = word if isinstance(word, tuple) else (word,)
        assert any(choice.lower() in lines[0].lower() for choice in choices), f"no {choices} in: {lines[0]}"
    if status != 2:
        assert result.events, f"a last JSON event expected: {result}"
        assert "done" not in result.names, result
    assert kind is None or (result.names[-1], result.events[-1]["kind"]) == ("failed", kind), result
    return lines[0]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """One moonsinterd with its own configuration, state and socket under `folder`."""

    def __init__(self, folder, url=None, slots=None, mode="install", **sections):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # A socket's path has room for 107 bytes, which a test's folder may exceed.
        self.socket_folder = tempfile.mkdtemp(prefix="moonsinter-")
        self.socket = os.path.join(self.socket_folder, "s")
        self.config = self.folder / "moonsinterd.conf"
        self.log_path = self.folder / "daemon.log"
        self.process = None
        self.settings = {
            "Update": {"Url": url, "Interval": "1h", "RandomizedDelay": "0", "Mode": mode},
            "Slots": {"A": slots[0], "B": slots[1]} if slots else {},
            "Boot": {"Backend": "file"},
            "Api": {"Socket": self.socket},
            "Storage": {"StateDirectory": self.folder / "state"},
        }
        for section, keys in sections.items():
            self.settings.setdefault(section, {}).update(keys)
        self.write_config()

    def write_config(self, extra=""):
        text = ""
        for section, keys in self.settings.items():
            text += f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items() if value is not None)
        self.config.write_text(text + extra)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self):
        return self.process.pid

    def start(self, wait=True, arguments=None, prefix=(), env=None, stderr=None):
        """Starts it; with `wait`, returns when the API answers. `stderr` is a descriptor for its log."""
        arguments = arguments or ["--config", str(self.config)]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*prefix, str(MOONSINTERD), *arguments], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log if stderr is None else stderr, env=env)
        if wait:
            self.wait_for_api()
        return self

    def wait_for_api(self, timeout=20):
        deadline = time.monotonic() + timeout * PATIENCE
        while True:
            assert self.process.poll() is None, f"moonsinterd ended with {self.process.returncode}:\n{self.log}"
            try:
                return self.status()
            except OSError:
                assert time.monotonic() < deadline, f"the API does not answer:\n{self.log}"
                time.sleep(0.02)

    def request(self, method, path, body=None, timeout=10, headers=None):
        """Makes one request. Returns the HTTP status and the answer's JSON, or its text if it is not JSON."""
        connection = UnixConnection(self.socket, timeout * PATIENCE)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.headers.get_content_type() == "application/json":
            return response.status, json.loads(text)
        return response.status, text

    def status(self):
        code, status = self.request("GET", "/v1/status")
        assert code == 200, status
        return status

    def post(self, action):
        code, answer = self.request("POST", f"/v1/{action}")
        assert code == 202, answer
        return answer

    def wait(self, condition, what, timeout=60, interval=0.02):
        """Asks for the status until `condition` is true of it, and returns it."""
        deadline = time.monotonic() + timeout * PATIENCE
        status = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"moonsinterd ended with {self.process.returncode}:\n{self.log}"
            # A reboot in place closes the socket for a moment.
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = self.status()
                if condition(status):
                    return status
            time.sleep(interval)
        raise AssertionError(f"{what}: not within {timeout * PATIENCE} s\nstatus: {json.dumps(status, indent=1)}\n"
                             f"log:\n{self.log[-4000:]}")

    def events(self, timeout=60):
        """Yields the lines of GET /v1/events as they come."""
        connection = UnixConnection(self.socket, timeout * PATIENCE)
        try:
            connection.request("GET", "/v1/events")
            response = connection.getresponse()
            assert response.status == 200
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        """Ends it by SIGKILL, as suddenly as a power cut."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self, timeout=10):
        """Ends it by SIGTERM, and returns its exit status."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM did not stop it within {timeout * PATIENCE} s:\n{self.log}") from None
        finally:
            self.process = None

    def close(self):
        """Ends it in whatever state it is, and removes the socket's folder."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            if COUNTING:
                self.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(PATIENCE)
            self.process.kill()
            self.process.wait()
            self.process = None
        shutil.rmtree(self.socket_folder, ignore_errors=True)


def peak_rss_kib(pid):
    """The largest resident size so far (VmHWM); None if the process has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None
