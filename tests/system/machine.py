# SPDX-License-Identifier: MIT
"""A machine under QEMU without KVM: its console, a root shell on the second serial port, the daemon's events on the third,
and the plug, which can be pulled. Everything waits for a condition, with a deadline; emulation on a busy machine is slow,
so deadlines are many times what a quiet one needs."""
import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time


# A boot takes 6 to 13 seconds of processor time.
PATIENCE_S = 600
HOST = "10.0.2.2"  # this machine, as a guest's user-mode network knows it
QEMU = "qemu-system-x86_64"


class Machine:
    """One emulator. start() after a cut or an end starts it again on the same disks."""

    def __init__(self, folder, arguments, machine="q35", memory_mib=384, processors=2):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.arguments, self.machine, self.memory_mib = [str(word) for word in arguments], machine, memory_mib
        self.processors = processors
        self.process = None
        self.console = self.shell = self.events = b""
        self.seen = self.begun = 0
        self.status = None
        self.commands = 0

    # --- power --------------------------------------------------------------------------------------------------

    def start(self, extra=()):
        assert self.process is None
        # A socket's path has room for 107 bytes.
        self.sockets = tempfile.mkdtemp(prefix="moonsinter-qemu-")
        serial = []
        for name in ("console", "shell", "events"):
            serial += ["-serial", f"unix:{self.sockets}/{name},server=on,wait=off"]
        # Stopped, until somebody listens to its console.
        command = [QEMU, "-accel", "tcg,thread=multi", "-smp", str(self.processors), "-m", str(self.memory_mib), "-nodefaults",
                   "-no-user-config", "-display", "none", "-M", self.machine, *serial, "-qmp", f"unix:{self.sockets}/qmp,server=on,wait=off", "-S",
                   "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
                   # Without it, whoever asks for random numbers first waits for them.
                   "-device", "virtio-rng-pci", *self.arguments, *extra]
        with open(self.folder / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.lines = {name: self.connect(name) for name in ("console", "shell", "events")}
        self.qmp_socket = self.connect("qmp")
        self.qmp_lines = self.qmp_socket.makefile("rw")
        self.qmp_lines.readline()
        self.qmp("qmp_capabilities")
        self.shell, self.events, self.status = b"", b"", None
        self.begun = len(self.console)
        self.log = open(self.folder / "console.log", "ab")
        self.log.write(b"\n=== power on\n")
        if "-incoming" not in extra:
            self.qmp("cont")
        return self

    def connect(self, name):
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                link = socket.socket(socket.AF_UNIX)
                link.connect(f"{self.sockets}/{name}")
                return link
            assert self.process.poll() is None, (self.folder / "qemu.log").read_text(errors="replace")
            assert time.monotonic() < deadline, f"QEMU does not listen on {name}"
            time.sleep(0.02)

    def cut(self):
        """Pulls the plug: what the guest has not handed to its disks is gone. expect() looks at what comes after it."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError):
            self.pump(0)
        for link in (*self.lines.values(), self.qmp_lines, self.qmp_socket, self.log):
            link.close()
        shutil.rmtree(self.sockets, ignore_errors=True)
        self.process = None
        self.forget()

    def forget(self):
        """expect() looks only at what comes from now on."""
        self.seen = len(self.console)

    def qmp(self, command, **arguments):
        """One order to the emulator; returns its answer."""
        self.qmp_lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_lines.flush()
        while line := self.qmp_lines.readline():
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            assert "error" not in answer, f"{command}: {answer['error']}"
        raise AssertionError(f"QEMU is gone: {(self.folder / 'qemu.log').read_text(errors='replace')[-2000:]}")

    # --- what comes from it -------------------------------------------------------------------------------------

    def pump(self, seconds):
        """Takes what has come, waiting at most so long for something."""
        ready, _, _ = select.select(list(self.lines.values()), [], [], seconds)
        for name, link in self.lines.items():
            if link not in ready:
                continue
            data = link.recv(65536)
            if not data:
                # The emulator has ended; whoever waits notices by its process.
                time.sleep(0.02)
            elif name == "console":
                self.console += data
                self.log.write(data)
                self.log.flush()
            elif name == "shell":
                self.shell += data
            else:
                self.take_events(data)

    def take_events(self, data):
        *lines, self.events = (self.events + data).split(b"\n")
        for line in lines:
            # A guest that went down in the middle of a line leaves half of one.
            with contextlib.suppress(ValueError):
                status = json.loads(line[line.index(b"{"):])
                if "slots" in status:
                    self.status = status

    def tail(self):
        return (f"console:\n{self.console[-2500:].decode(errors='replace')}\n"
                f"status: {json.dumps(self.status)}\nlogs in {self.folder}")

    def wait(self, look, what, timeout=PATIENCE_S):
        """Until look() gives something; returns that."""
        deadline = time.monotonic() + timeout
        while True:
            found = look()
            if found:
                self.log.write(f"\n=== {what}, after {time.monotonic() - deadline + timeout:.0f} s\n".encode())
                return found
            assert time.monotonic() < deadline, f"{what}: not within {timeout} s\n{self.tail()}"
            if self.process.poll() is not None:
                self.ended(what)
            self.pump(0.2)

    def ended(self, what):
        """The emulator has ended by itself while somebody waited for something."""
        raise AssertionError(f"{what}: QEMU has ended\n{self.tail()}")

    def expect(self, pattern, timeout=PATIENCE_S):
        """Until the console shows the pattern behind what was expected before; returns the match."""
        expression = re.compile(pattern.encode())
        found = self.wait(lambda: expression.search(self.console, self.seen), f"'{pattern}' on the console", timeout)
        self.seen = found.end()
        return found

    def wait_status(self, condition, what, timeout=PATIENCE_S):
        """Until `condition` holds of the daemon's status; returns that."""
        return self.wait(lambda: self.status if self.status and condition(self.status) else None, what, timeout)

    # --- what goes to it ----------------------------------------------------------------------------------------

    def post(self, command):
        """A command that gives no answer: a reboot, a crash."""
        self.lines["shell"].sendall(f"{command}\n".encode())

    def run(self, command, check=True, timeout=PATIENCE_S):
        """A shell command in the guest; returns its output."""
        self.commands += 1
        tag = f"-- {os.getpid()}.{self.commands}"
        expression = re.compile(rb"status (\d+) " + tag.encode() + rb"\r?\n")
        begin = len(self.shell)
        self.post(f"{{ {command}\n}} 2>&1; echo \"status $? {tag}\"")
        found = self.wait(lambda: expression.search(self.shell, begin), f"the end of: {command}", timeout)
        output = self.shell[begin:found.start()].decode(errors="replace").replace("\r", "").strip()
        assert not check or found[1] == b"0", f"{command}: status {found[1].decode()}\n{output}\n{self.tail()}"
        return output

    def api(self, method, path):
        """One request to the daemon inside; returns the JSON answer."""
        told = self.run(f"curl -sS -X {method} --unix-socket /run/moonsinter/moonsinterd.sock http://localhost{path}")
        return json.loads(told)

    def seconds_of_processor(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def disk(path, name="disk", options="format=raw,cache=writeback", boot=True):
    """Arguments for one virtio disk."""
    return ["-drive", f"file={path},if=none,id={name},{options}", "-device",
            f"virtio-blk-pci,drive={name}" + (",bootindex=1" if boot else "")]


def missing_programs(*names):
    """Those of the programs that are not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in names if not shutil.which(name, path=path)]


