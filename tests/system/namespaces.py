# SPDX-License-Identifier: MIT
"""A system with systemd as PID 1 that needs no machine: it runs in namespaces of this one, is up in half a second, and has
its service manager's limits enforced. See boot-namespaces."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import programs

BOOT = pathlib.Path(__file__).with_name("boot-namespaces")
SOCKET = "/run/moonsinter/moonsinterd.sock"


class Unavailable(Exception):
    """This machine does not give what such a system needs (root, namespaces, writable control groups)."""


class Namespaces:
    """One system. start() and stop() may alternate; what was written to the root is gone after each stop, `binds` stay."""

    def __init__(self, folder, lower, binds=None, nodes=None):
        self.folder, self.lower = pathlib.Path(folder), lower
        self.binds, self.nodes = binds or {}, nodes or {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = self.init = None
        self.group = f"moonsinter-{os.getpid()}-{id(self):x}"

    def start(self, timeout=30):
        """Returns when systemd says that everything is started, or that something failed."""
        assert self.process is None
        stage = tempfile.mkdtemp(prefix="moonsinter-stage-")
        environment = {
            "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "STAGE": stage, "LOWER": str(self.lower),
            "BINDS": " ".join(f"{source}:{place}" for place, source in self.binds.items()),
            "NODES": " ".join(f"{place}:{os.major(number)}:{os.minor(number)}" for place, number in self.nodes.items()),
        }
        self.errors = self.folder / "boot.log"
        with open(self.errors, "wb") as log:
            self.process = subprocess.Popen([str(BOOT), self.group], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment)
        self.stage = stage
        deadline = time.monotonic() + timeout * programs.PATIENCE
        while True:
            self.init = self.find_init()
            if self.init and os.path.exists(f"/proc/{self.init}/root/run/systemd/private"):
                break
            if self.process.poll() is not None:
                text = self.errors.read_text(errors="replace")
                self.clean()
                raise Unavailable(f"no system starts in namespaces here: {text.strip()[-500:]}")
            assert time.monotonic() < deadline, self.errors.read_text(errors="replace")
            time.sleep(0.02)
        self.run("systemctl", "is-system-running", "--wait", check=False, timeout=timeout)
        return self

    def find_init(self):
        """The process that is PID 1 there, by its number here."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if len(children) == 1 and pathlib.Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd":
                return int(children[0])
        return None

    def run(self, *command, check=True, timeout=30):
        """Runs a command inside; returns its output."""
        done = subprocess.run(["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-p", "-C", "-r", "-w", *map(str, command)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=timeout * programs.PATIENCE, check=False,
                              env={"PATH": "/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin"})
        assert not check or done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}\n{self.journal()}"
        return done.stdout

    def write(self, path, text):
        """Writes a file inside, as it is seen from here."""
        target = pathlib.Path(f"/proc/{self.init}/root{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def unit(self, *properties, name="moonsinterd.service"):
        """Properties of a unit as systemctl show has them; one alone as its text."""
        told = self.run("systemctl", "show", name, "-p", ",".join(properties))
        found = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        return found[properties[0]] if len(properties) == 1 else found

    def pid_here(self, name="moonsinterd.service"):
        """The service's main process, by its number on this side of the namespace."""
        inside = self.unit("MainPID", name=name)
        told = subprocess.run(["pgrep", "--ns", str(self.init), "--nslist", "pid", "."], capture_output=True, text=True,
                              check=False).stdout.split()
        for pid in told:
            # Others may come to their end while they are looked at.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                if f"\nNSpid:\t{pid}\t{inside}\n" in status:
                    return int(pid)
        raise AssertionError(f"{name} has no main process: {self.journal()}")

    def journal(self):
        with contextlib.suppress(Exception):
            return self.run("journalctl", "-b", "--no-pager", "-q", "-n", "80", check=False)[-6000:]
        return "(no journal)"

    def request(self, method, path, timeout=10):
        """One request to the daemon's API, as root inside."""
        connection = programs.UnixConnection(f"/proc/{self.init}/root{SOCKET}", timeout * programs.PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def status(self):
        code, status = self.request("GET", "/v1/status")
        assert code == 200, status
        return status

    def wait(self, condition, what, timeout=30, interval=0.02):
        """Until `condition` holds of the daemon's status; returns that."""
        return self.wait_until(lambda: self.status(), condition, what, timeout, interval)

    def wait_until(self, look, condition, what, timeout=30, interval=0.02):
        """Until `condition` holds of what look() returns; an API that does not answer at the moment is waited for."""
        deadline, seen = time.monotonic() + timeout * programs.PATIENCE, None
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                seen = look()
                if condition(seen):
                    return seen
            time.sleep(interval)
        raise AssertionError(f"{what}: not within {timeout * programs.PATIENCE} s\nseen: {json.dumps(seen, indent=1)}\n"
                             f"journal:\n{self.journal()}")

    def reboot(self, timeout=30):
        """systemctl reboot; returns when the system is down, having looked that it went down for a reboot."""
        self.run("systemctl", "reboot", check=False)
        assert self.wait_end(timeout) == -signal.SIGHUP

    def wait_end(self, timeout=30):
        """Until it is down; returns as subprocess does how it ended."""
        try:
            ended = self.process.wait(timeout * programs.PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the system does not go down\n{self.journal()}") from None
        self.clean()
        return ended

    def stop(self):
        """Pulls the plug."""
        if self.process is None:
            return
        init = self.find_init()
        if init:
            os.kill(init, signal.SIGKILL)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.clean()

    def clean(self):
        self.process = self.init = None
        with contextlib.suppress(OSError):
            os.rmdir(self.stage)
        hierarchies = subprocess.run(["findmnt", "-rn", "-t", "cgroup,cgroup2", "-o", "TARGET"], capture_output=True,
                                     text=True, check=False).stdout.split()
        for hierarchy in hierarchies:
            for folder, _, _ in os.walk(f"{hierarchy}/{self.group}", topdown=False):
                # The last of its processes may be dying still.
                for _ in range(100):
                    try:
                        os.rmdir(folder)
                        break
                    except OSError:
                        time.sleep(0.01)
