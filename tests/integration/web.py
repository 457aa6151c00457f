# SPDX-License-Identifier: MIT
"""Runs nginx on loopback, and reads from its log what was requested and how many bytes were sent."""
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
LOG_LINE = re.compile(r'(?P<method>\S+) (?P<path>\S+) (?P<status>\d+) (?P<body>\d+) (?P<sent>\d+) "(?P<range>[^"]*)"$')


_held = []  # the sockets that hold the ports of free_port()


def free_port():
    """A port of 127.0.0.1 that nobody listens at, and that no other test gets until this process ends.

    Other tests run meanwhile, and it may take long until somebody listens at the port, if anybody does. So it is not one of
    those that the kernel gives to connections and to those who ask for any port; and other tests see that it is taken by
    an abstract socket with the port in its name, which is bound in the same network namespace."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    candidates = [port for port in range(10000, 65536) if not low <= port <= high]
    assert candidates, "the kernel gives all ports to connections here (net.ipv4.ip_local_port_range)"
    begin = random.randrange(len(candidates))
    for port in candidates[begin:] + candidates[:begin]:
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0moonsinter-test-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        _held.append(holder)
        return port
    raise AssertionError("no port of 127.0.0.1 is free")


class Request:
    def __init__(self, match):
        self.method, self.path, self.range = match["method"], match["path"], match["range"]
        self.status, self.body_bytes, self.sent_bytes = int(match["status"]), int(match["body"]), int(match["sent"])

    def __repr__(self):
        return f"{self.method} {self.path} {self.status} {self.body_bytes} {self.range}"


class Nginx:
    """Serves `folder`/www. `server_lines` go into the server block, such as limit_rate."""

    def __init__(self, folder, server_lines=""):
        self.folder = pathlib.Path(folder)
        self.www = self.folder / "www"
        self.www.mkdir(parents=True)
        self.log = self.folder / "access.log"
        self.port = free_port()
        config = f"""
            {"user root;" if os.getuid() == 0 else ""}
            worker_processes 1;
            daemon off;
            pid {self.folder}/nginx.pid;
            error_log {self.folder}/error.log;
            events {{ worker_connections 128; }}
            http {{
                log_format bytes '$request_method $request_uri $status $body_bytes_sent $bytes_sent "$http_range"';
                access_log {self.log} bytes;
                client_body_temp_path {self.folder}/body;
                proxy_temp_path {self.folder}/proxy;
                fastcgi_temp_path {self.folder}/fastcgi;
                uwsgi_temp_path {self.folder}/uwsgi;
                scgi_temp_path {self.folder}/scgi;
                server {{
                    listen 127.0.0.1:{self.port};
                    root {self.www};
                    location = /-/connections {{ stub_status; access_log off; }}
                    {server_lines}
                }}
            }}
        """
        (self.folder / "nginx.conf").write_text(config)
        self.process = subprocess.Popen(
            [NGINX, "-e", f"{self.folder}/error.log", "-p", str(self.folder), "-c", f"{self.folder}/nginx.conf"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while True:
            try:
                self.busy()
                break
            except (OSError, urllib.error.URLError):
                assert self.process.poll() is None, (self.folder / "error.log").read_text()
                assert time.monotonic() < deadline, "nginx does not answer"
                time.sleep(0.02)

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def busy(self):
        """How many requests are under way, without this one. Idle connections do not count."""
        with urllib.request.urlopen(self.url("-/connections"), timeout=60) as answer:
            words = answer.read().split()
        counts = dict(zip(words[-6::2], map(int, words[-5::2])))
        return counts[b"Reading:"] + counts[b"Writing:"] - 1

    def wait_for_silence(self, timeout=300):
        """Waits until no request is under way, so that all of them are in the log."""
        deadline = time.monotonic() + timeout
        while self.busy() > 0:
            assert time.monotonic() < deadline, "requests to nginx stay under way"
            time.sleep(0.02)

    def requests(self, path=None):
        """The requests in the log so far, all or those for one path."""
        found = []
        for line in self.log.read_text().splitlines():
            match = LOG_LINE.match(line)
            assert match, line
            found.append(Request(match))
        return [request for request in found if path is None or request.path == path]

    def sent(self, path=None):
        """How many bytes the bodies of the answers so far had, of all or of those for one path."""
        return sum(request.body_bytes for request in self.requests(path))

    def forget(self):
        """Empties the log."""
        os.truncate(self.log, 0)

    def publish(self, image, name="image", link=True):
        """Publishes an image and the files beside it, each by one rename, the manifest last. Returns the URL. Without
        `link` the files are copied."""
        for suffix in ("", ".pack", ".chunks", ".json.minisig", ".json"):
            source = pathlib.Path(f"{image}{suffix}")
            if not source.exists():
                continue
            fresh = self.www / f".{name}{suffix}.new"
            # What is left there may be a hard link to somebody's image, which must not be overwritten. (rename() does
            # nothing if both names are links to the same file already.)
            fresh.unlink(missing_ok=True)
            try:
                if not link:
                    raise OSError("a copy is wanted")
                os.link(source, fresh)
            except OSError:
                shutil.copyfile(source, fresh)
            os.rename(fresh, self.www / f"{name}{suffix}")
        return self.url(name)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
