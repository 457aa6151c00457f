# SPDX-License-Identifier: MIT
"""The API over its Unix socket: answers, errors, and clients that do not behave."""
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess

import pytest

import programs
from conditions import installed

pytestmark = pytest.mark.sanitized


@pytest.fixture
def daemon(make_daemon, file_slots, nginx, small_release):
    daemon = make_daemon(nginx.publish(small_release[0]), file_slots, mode="check").start()
    daemon.wait(lambda status: status["state"] == "held", "the first look")
    return daemon


def talk(daemon, data, timeout=15):
    """Sends raw bytes; returns everything that comes until the other side closes or `timeout`."""
    with socket.socket(socket.AF_UNIX) as client:
        # Blocking, for a full backlog is waited for; a connect() with a timeout would fail at once.
        client.connect(daemon.socket)
        client.settimeout(timeout * programs.PATIENCE)
        answer = b""
        try:
            client.sendall(data)
            while piece := client.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        return answer


def request(path, method="GET", headers="", body=""):
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}".encode()


def status_of(answer):
    match = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(match[1]) if match else None


def test_the_status_has_every_member_of_the_contract(daemon):
    status = daemon.status()
    assert set(status) >= {"daemon", "state", "phase", "since", "blocked_by", "slots", "boot", "update", "last_check",
                           "last_error", "last_update"}
    assert status["daemon"]["pid"] == daemon.pid
    assert set(status["slots"]["a"]) >= {"device", "role", "state", "version", "serial", "sha256"}
    assert set(status["boot"]) >= {"backend", "next", "trial", "tries_left"}
    assert set(status["update"]["progress"]) >= {
        "percent", "bytes_kept", "bytes_copied", "bytes_downloaded", "bytes_to_download", "bytes_written",
        "bytes_patched", "bytes_verified", "rate_bytes_per_s", "eta_s", "requests", "retries"}
    for name in (status["since"], status["daemon"]["started"], status["last_check"]["time"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", name), name


def members(value, known, place=""):
    """Places of `value` that `known`, an object of docs/api.md, does not have; and of `known` that `value` lacks."""
    if isinstance(value, list) and value and known:
        value, known = value[0], known[0]
    if not isinstance(value, dict) or not isinstance(known, dict) or not known:
        return set()
    different = {f"{place}.{name}" for name in set(value) ^ set(known)}
    return different.union(*(members(value[name], known[name], f"{place}.{name}") for name in set(value) & set(known)))


def documented(heading):
    """The JSON object below a heading of docs/api.md."""
    text = (programs.ROOT / "docs" / "api.md").read_text()
    return json.loads(re.search(rf"^#+ {heading}\n.*?```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)[1])


def test_the_page_tells_every_member(daemon):
    daemon.request("POST", "/v1/check")
    daemon.wait(lambda status: daemon.request("GET", "/v1/plan")[0] == 200, "there is a plan")
    plan = daemon.request("GET", "/v1/plan")[1]
    assert members(plan, documented("The plan")) - {".serial"} == set()
    held = daemon.status()
    daemon.post("install")
    status = daemon.wait(installed("1", "b"), "it is installed")
    page = documented("The status")
    told = members(status, page) | {place for place in members(held, page) if place.startswith(".blocked_by")}
    # There where a health check has failed.
    assert told == {".last_update.output"}
    entry = daemon.request("GET", "/v1/history")[1]["history"][0]
    assert set(entry) == set(page["last_update"]) - {"output"}


def test_curl_speaks_it(daemon):
    done = subprocess.run(["curl", "-fsS", "--unix-socket", daemon.socket, "http://localhost/v1/status"],
                          capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["state"] == "held"


def test_metrics_are_prometheus_text(daemon):
    code, text = daemon.request("GET", "/metrics")
    assert code == 200
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r'[a-z_:][a-z0-9_:]*(\{[^{}]*\})? [-+0-9.eE]+(inf|nan)?', line), line
    assert "moonsinter_" in text


def test_config_and_history_answer(daemon):
    code, config = daemon.request("GET", "/v1/config")
    assert code == 200 and "Interval" in json.dumps(config)
    assert daemon.request("GET", "/v1/history")[0] == 200


def test_secrets_are_masked(make_daemon, file_slots):
    daemon = make_daemon("http://user:s3cret@127.0.0.1:1/image", file_slots,
                         Transfer={"Header": "Authorization: Bearer t0ken"}).start()
    daemon.wait(lambda status: status["last_error"], "the error")
    texts = [json.dumps(daemon.request("GET", path)[1]) for path in
             ("/v1/config", "/v1/status", "/v1/history", "/metrics")] + [daemon.log]
    assert not any("s3cret" in text or "t0ken" in text for text in texts)


@pytest.mark.parametrize("method, path, code", [
    ("GET", "/", 404), ("GET", "/v1", 404), ("GET", "/v1/none", 404), ("GET", "/v1/status/", 404),
    ("POST", "/v1/status", 405), ("GET", "/v1/install", 405), ("DELETE", "/v1/status", 405),
    ("PUT", "/v1/check", 405), ("GET", "/../etc/passwd", 404), ("GET", "/v1/%73tatus%00", 404)])
def test_what_does_not_exist_is_said(daemon, method, path, code):
    got, answer = daemon.request(method, path)
    assert got == code, answer
    assert re.fullmatch(r"[a-z0-9-]+", answer["error"]["code"]) and answer["error"]["message"]


MALFORMED = {
    "not http": b"hello\r\n\r\n", "empty line": b"\r\n\r\n\r\n", "nul": b"\0" * 64, "no version": b"GET /v1/status\r\n\r\n",
    "http/9": b"GET /v1/status HTTP/9.9\r\nHost: x\r\n\r\n", "header without colon": request("/v1/status", headers="bad\r\n"),
    "negative length": request("/v1/check", "POST", "Content-Length: -1\r\n"),
    "huge length": request("/v1/check", "POST", "Content-Length: 99999999999999999999\r\n"),
    "two lengths": request("/v1/check", "POST", "Content-Length: 1\r\nContent-Length: 2\r\n", "xx"),
    "length and chunked": request("/v1/check", "POST", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "folded": request("/v1/status", headers="A: b\r\n c\r\n"),
    "bare path": b"GET v1/status HTTP/1.1\r\nHost: x\r\n\r\n", "tls": bytes.fromhex("1603010200010001fc0303"),
    "space in name": request("/v1/status", headers="Content Length: 1\r\n"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused(daemon, name):
    answer = talk(daemon, MALFORMED[name] + (b"\r\n\r\n" if name in ("nul", "tls") else b""))
    assert status_of(answer) in (None, 400, 404, 411, 413, 501, 505), answer
    assert daemon.status()["state"] == "held"


TOO_LARGE = {
    "path": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "long header": b"GET /v1/status HTTP/1.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "body": request("/v1/check", "POST", "Content-Length: 10000000\r\n") + b"z" * 10_000_000,
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_requests_that_are_too_large_are_refused(daemon, name):
    answer = talk(daemon, TOO_LARGE[name])
    assert status_of(answer) in (None, 400, 413, 414, 431), answer[:200]
    assert daemon.status()["state"] == "held"


def test_too_many_clients_do_not_shut_out_the_rest_for_ever(daemon):
    clients = []
    try:
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20 * programs.PATIENCE)
            try:
                client.connect(daemon.socket)
            except OSError:
                client.close()
                break
            clients.append(client)
        # One that comes now is answered at once, if only that there are too many.
        answer = talk(daemon, request("/v1/status"))
        assert status_of(answer) in (200, 503), answer
        descriptors = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        assert descriptors < 120, "clients are bounded in number"
    finally:
        for client in clients:
            client.close()
    def answers():
        with contextlib.suppress(OSError, AssertionError):
            return daemon.status()["state"] == "held"
        return False
    programs.wait_until(answers, "it answers again")


HOG = """
import socket, sys, time
path, clients = sys.argv[1], [None] * 60
requests = b"GET /v1/history HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" * 2000
streams = b"GET /v1/events HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
print("ready", flush=True)
while True:
    for number, client in enumerate(clients):
        try:
            if not client:
                clients[number] = client = socket.socket(socket.AF_UNIX)
                client.connect(path)
                client.setblocking(False)
            client.send(streams if number % 3 == 0 else requests)
        except BlockingIOError:
            pass
        except OSError:
            client.close()
            clients[number] = None
    time.sleep(0.001)
"""


@pytest.mark.parametrize("user", [None, pytest.param(65534, marks=pytest.mark.skipif(
    os.getuid() != 0, reason="needs root to become another user"))])
def test_one_process_keeps_nobody_out(daemon, user):
    """60 connections that ask on and on and never read, and come back at once when they are dropped."""
    os.chmod(daemon.socket_folder, 0o755)
    os.chmod(daemon.socket, 0o666)
    # Counted before the first of them can have come.
    quiet = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    hog = subprocess.Popen(["/usr/bin/python3", "-c", HOG, daemon.socket], user=user, stdout=subprocess.PIPE)
    try:
        assert hog.stdout.readline() == b"ready\n"
        programs.wait_until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) > quiet + 20, "the server is full")
        answered = attempts = 0
        while answered < 60:
            attempts += 1
            try:
                code, _ = daemon.request("GET", "/v1/status", timeout=60)
            except (OSError, http.client.HTTPException):
                # Connections of one user are alike: one that is slow to ask may make room for the next.
                code = None
            answered += code == 200
            assert code != 503
            assert code == 200 or user is None, "another user's process has taken the place"
            assert attempts < 600, f"{answered} of {attempts} were answered"
        if user is not None:
            # Nor from the events, which half of the clients may watch.
            assert next(daemon.events())["state"] == "held"
    finally:
        hog.kill()
        hog.wait()
        hog.stdout.close()


@pytest.mark.slow
def test_one_that_is_too_slow_is_dropped(daemon):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(daemon.socket)
        client.settimeout(0.2)
        text = request("/v1/status")
        for byte in text + b"x" * 1000:
            try:
                client.sendall(bytes([byte]))
                if not client.recv(1):
                    break
            except TimeoutError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                break
        else:
            pytest.fail("a byte now and then keeps the connection for ever")
        assert daemon.status()["state"] == "held"


def test_a_client_that_never_reads_its_events_is_dropped_and_harms_nobody(daemon, nginx, small_release):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(daemon.socket)
        deaf.sendall(request("/v1/events"))
        daemon.post("install")
        daemon.wait(lambda status: status["state"] == "reboot-pending", "the installation")


def ask_as(daemon, method, path, groups):
    """One request as nobody with these groups, the first the primary one: the HTTP status, or None where the socket is shut."""
    script = ("import http.client, socket, sys\n"
              "c = http.client.HTTPConnection('localhost')\n"
              "c.sock = socket.socket(socket.AF_UNIX)\n"
              "try: c.sock.connect(sys.argv[1])\n"
              "except PermissionError: sys.exit()\n"
              "c.request(sys.argv[2], sys.argv[3]); print(c.getresponse().status)\n")
    done = subprocess.run(["/usr/bin/python3", "-c", script, daemon.socket, method, path], user=65534, group=groups[0],
                          extra_groups=groups[1:], capture_output=True, text=True, check=True)
    return int(done.stdout) if done.stdout else None


ORDERS = ("check", "install", "cancel", "reboot", "mark-good", "mark-bad", "rollback")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_changing_things_needs_authority(daemon):
    """Whoever may open the socket may read; another user without the group may not change anything."""
    os.chmod(daemon.socket_folder, 0o755)
    os.chmod(daemon.socket, 0o666)
    assert ask_as(daemon, "GET", "/v1/status", [65534]) == 200
    for action in ORDERS:
        assert ask_as(daemon, "POST", f"/v1/{action}", [65534]) == 403
    assert daemon.status()["state"] == "held"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_members_of_the_group_may_give_orders(make_daemon, file_slots):
    """By SO_PEERCRED where it is their primary group, else by SO_PEERGROUPS, however many groups they are in."""
    gid = 54321
    daemon = make_daemon("http://127.0.0.1:1/image", file_slots, mode="check", Api={"Group": gid}).start()
    os.chmod(daemon.socket_folder, 0o755)
    info = os.stat(daemon.socket)
    assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o660, 0, gid)
    many = [65534, *range(60_000, 60_500)]
    for groups in ([gid], [65534, gid], [*many, gid]):
        assert ask_as(daemon, "GET", "/v1/status", groups) == 200
        assert ask_as(daemon, "POST", "/v1/check", groups) == 202
    for groups in ([65534], many, [gid + 1, gid - 1]):
        assert ask_as(daemon, "GET", "/v1/status", groups) is None, "they do not even get to the socket"
    os.chmod(daemon.socket, 0o666)
    for groups in ([65534], many, [gid + 1, gid - 1]):
        assert ask_as(daemon, "GET", "/v1/status", groups) == 200
        assert {ask_as(daemon, "POST", f"/v1/{action}", groups) for action in ORDERS} == {403}
