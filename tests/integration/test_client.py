# SPDX-License-Identifier: MIT
"""The daemon's clients (status, why, history, watch and the orders) against a socket that answers as told: well,
badly, and with text that would like to steer the terminal."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import tempfile
import threading

import pytest

import programs
from programs import on_terminal

sanitized = pytest.mark.sanitized
ORDERS = ["check", "install", "cancel", "reboot", "mark-good", "mark-bad", "rollback"]

STATUS = {
    "daemon": {"version": "1", "pid": 1, "started": "2026-01-01T00:00:00Z"},
    "state": "held", "phase": None, "since": "2026-01-02T00:00:00Z",
    "blocked_by": [{"what": "mode-check", "until": None, "why": "Mode=check installs nothing by itself"}],
    "slots": {"a": {"device": "/dev/a", "role": "active", "state": "good", "version": "1.0", "serial": 1, "sha256": "ab"},
              "b": {"device": "/dev/b", "role": "inactive", "state": "invalid", "version": None, "serial": None,
                    "sha256": None}},
    "boot": {"backend": "file", "next": "a", "trial": False, "tries_left": 0},
    "update": {"url": "http://127.0.0.1/x.img", "version": "2.0", "serial": 2, "sha256": "cd", "size_bytes": 10_000_000,
               "progress": {"percent": 0.0, "bytes_kept": 0, "bytes_copied": 0, "bytes_downloaded": 0,
                            "bytes_to_download": 0, "bytes_written": 0, "bytes_verified": 0, "rate_bytes_per_s": 0,
                            "eta_s": 0, "requests": 0, "retries": 0}},
    "last_check": {"time": "2026-01-02T00:00:00Z", "result": "update", "next": "2026-01-02T00:05:00Z"},
    "last_error": None, "last_update": None,
}


def status(**changes):
    return {**STATUS, **changes}


def installing(percent):
    progress = {**STATUS["update"]["progress"], "percent": percent, "bytes_downloaded": int(percent * 10_000),
                "bytes_to_download": 1_000_000, "rate_bytes_per_s": 500_000, "eta_s": 2}
    return status(state="installing", phase="transferring", blocked_by=[],
                  update={**STATUS["update"], "progress": progress})


def answer(body, code="200 OK"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        code.encode(), len(data), data)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(*objects, end=b"0\r\n\r\n"):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(chunk(json.dumps(one).encode() + b"\n") for one in objects) + end


@contextlib.contextmanager
def serving(data, keep_open=False):
    """A socket whose every client is sent `data`; gives its path and the list of requests."""
    with tempfile.TemporaryDirectory(prefix="moonsinter-") as folder, socket.socket(socket.AF_UNIX) as server:
        path, requests, clients = os.path.join(folder, "s"), [], []
        server.bind(path)
        server.listen()

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                clients.append(client)
                request = b""
                while b"\r\n\r\n" not in request:
                    more = client.recv(4096)
                    if not more:
                        break
                    request += more
                requests.append(request.decode())
                with contextlib.suppress(OSError):
                    client.sendall(data)
                if not keep_open:
                    client.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield path, requests
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for client in clients:
                client.close()


@sanitized
def test_status_is_the_json_where_nobody_looks():
    with serving(answer(STATUS)) as (path, requests):
        result = programs.moonsinter("status", "--socket", path)
        assert result.status == 0 and result.events == [STATUS]
        assert requests[0].startswith("GET /v1/status HTTP/1.1\r\n")
        result = programs.moonsinter("status", env={**os.environ, "MOONSINTER_SOCKET": path})
        assert result.status == 0 and result.events == [STATUS]


@sanitized
def test_status_speaks_on_a_terminal():
    with serving(answer(STATUS)) as (path, _):
        code, drawn = on_terminal("status", "--socket", path)
        assert code == 0
        for words in ("held", "Mode=check installs nothing", "/dev/a", "version 1.0 (serial 1)", "10.0 MB"):
            assert words in drawn
        code, drawn = on_terminal("status", "--json", "--socket", path)
        assert code == 0 and json.loads(drawn) == STATUS
    under_way = installing(42.0)
    under_way["update"]["progress"].update(rate_bytes_per_s=98_100, eta_s=34)
    with serving(answer(under_way)) as (path, _):
        code, drawn = on_terminal("status", "--socket", path)
        assert code == 0 and "42.0 %, 98.1 kB/s, 34s left" in drawn, drawn


@sanitized
def test_what_a_transfer_waits_for_is_shown_on_a_terminal():
    waits = installing(40.0)
    waits["update"]["waiting"] = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:30Z", "kind": "remote",
                                  "why": "the server answered 503 Service Unavailable"}
    for verb in ("status", "why"):
        with serving(answer(waits)) as (path, _):
            code, drawn = on_terminal(verb, "--socket", path)
            assert code == 0 and "the server answered 503" in drawn and "2026-01-02T00:00:30Z" in drawn
    with serving(stream(installing(40.0), waits, waits, installing(41.0), status(state="idle", blocked_by=[]))) as (path, _):
        code, drawn = on_terminal("watch", "--until", "idle", "--socket", path)
        assert code == 0 and drawn.count("the server answered 503") == 1
        assert "\rwaiting " in drawn and "\rtransferring " in drawn


@sanitized
@pytest.mark.parametrize("verb", [["status"], ["status", "--json"], ["why"], ["history"], ["watch", "--until", "idle"],
                                  ["watch", "--json", "--until", "idle"], ["check"]])
def test_hostile_text_does_not_steer_the_terminal(verb):
    evil = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202egnp\x7f\r"
    entry = {"time": evil, "result": evil, "reason": evil, "from": evil, "to": evil, "output": f"a\n{evil}"}
    told = status(phase=evil, since=evil, blocked_by=[{"what": evil, "until": evil, "why": evil}], history=[entry],
                  slots={"a": {"device": evil, "role": evil, "state": evil, "version": evil}},
                  update={**STATUS["update"], "url": evil, "version": evil}, last_update=entry,
                  last_error={"time": evil, "kind": evil, "message": evil})
    # Raw bytes, as json.dumps would escape what json-c prints as it is.
    told = {**told, "state": "idle"} if verb[0] == "watch" else {**told, "state": evil}
    data = json.dumps(told, ensure_ascii=False).encode()
    data = answer(data) if verb[0] != "watch" else (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(data + b"\n") + b"0\r\n\r\n")
    with serving(data) as (path, _):
        code, drawn = on_terminal(*verb, "--socket", path)
        assert code == 0, drawn
        drawn = drawn.replace("\r\n", "\n")
        for bad in ("\x1b]", "\x1b[2", "\x07", "\u009b", "\u202e", "\x7f", "\r"):
            assert bad not in drawn, repr(drawn)
    error = answer({"error": {"code": "x", "message": evil}}, "409 Conflict")
    with serving(error) as (path, _):
        code, drawn = on_terminal(*verb, "--socket", path)
        assert code == 1
        assert "\x1b" not in drawn and "\u009b" not in drawn and "\u202e" not in drawn, repr(drawn)


@sanitized
@pytest.mark.parametrize("order", ORDERS)
def test_orders(order):
    with serving(answer(STATUS, "202 Accepted")) as (path, requests):
        result = programs.moonsinter(order, "--socket", path)
        assert result.status == 0 and result.events == [STATUS]
        assert requests[0].startswith(f"POST /v1/{order} HTTP/1.1\r\n")
    refusal = answer({"error": {"code": "not-now", "message": "this cannot be done now"}}, "409 Conflict")
    with serving(refusal) as (path, _):
        programs.assert_failed(programs.moonsinter(order, "--socket", path), "this cannot be done now")


@sanitized
def test_why_and_history():
    with serving(answer(STATUS)) as (path, _):
        result = programs.moonsinter("why", "--socket", path)
        assert result.status == 0 and "Mode=check installs nothing by itself" in result.stdout
    slots = {**STATUS["slots"], "b": {**STATUS["slots"]["b"], "state": "trial", "version": "2.0"}}
    armed = status(state="reboot-pending", blocked_by=[], slots=slots, boot={**STATUS["boot"], "next": "b"})
    with serving(answer(armed)) as (path, _):
        result = programs.moonsinter("why", "--socket", path)
        assert result.stdout.startswith("The state is reboot-pending since 2026-01-02T00:00:00Z: the next boot takes slot b, "
                                        "version 2.0; moonsinter reboot makes it\n")
    history = {"history": [{"time": "2026-01-01T00:00:00Z", "result": "installed", "reason": None, "from": "1",
                            "to": "2", "bytes_downloaded": 5, "bytes_written": 6, "seconds": 7}]}
    with serving(answer(history)) as (path, _):
        assert programs.moonsinter("history", "--socket", path).events == [history]
        code, drawn = on_terminal("history", "--socket", path)
        assert code == 0 and "installed" in drawn and "1 -> 2" in drawn
    entry = {"time": "2026-01-01T00:00:00Z", "result": "fell-back", "reason": "health check 20-app failed",
             "output": "starting\nno answer", "from": "2", "to": "1"}
    for verb, body in (("history", {"history": [entry]}), ("status", status(last_update=entry)), ("why", status(last_update=entry))):
        with serving(answer(body)) as (path, _):
            code, drawn = on_terminal(verb, "--socket", path)
            assert code == 0 and "health check 20-app failed" in drawn
            assert "    | starting\r\n    | no answer\r\n" in drawn, drawn


@sanitized
def test_watch_passes_the_stream_on():
    told = [status(), installing(10.0), installing(60.5), status(state="reboot-pending", blocked_by=[])]
    with serving(stream(*told), keep_open=True) as (path, requests):
        result = programs.moonsinter("watch", "--until", "reboot-pending", "--socket", path)
        assert result.status == 0 and result.events == told
        assert requests[0].startswith("GET /v1/events ")
        code, drawn = on_terminal("watch", "--until", "reboot-pending", "--socket", path)
        assert code == 0 and "60.5 %" in drawn and "605.0 kB of 1.0 MB" in drawn and "#" in drawn
        assert "\x1b" not in drawn.replace("\x1b[K", "")


@sanitized
def test_watch_has_no_end_of_its_own():
    """One answer is bounded, a stream is not: it goes on for as long as there is something to tell."""
    told = [status()] * 6000 + [status(state="reboot-pending", blocked_by=[])]
    lines = stream(*told)
    assert len(lines) > 5 << 20
    with serving(lines, keep_open=True) as (path, _):
        result = programs.moonsinter("watch", "--until", "reboot-pending", "--quiet", "--socket", path)
        assert result.status == 0 and len(result.stdout.splitlines()) == len(told), result.stderr


@sanitized
@pytest.mark.parametrize("last, code", [
    (status(state="reboot-pending"), 0),
    (status(state="held"), 1),
    (status(state="idle", last_check={**STATUS["last_check"], "result": "up-to-date"}), 0),
    (status(state="idle", last_check={**STATUS["last_check"], "result": "failed"}), 1),
    (status(state="idle", last_update={"time": "2026-01-02T00:00:09Z", "result": "installed"}), 0),
    (status(state="idle", last_update={"time": "2026-01-02T00:00:09Z", "result": "failed", "reason": "no"}), 1),
    (status(state="idle", last_update={"time": "2026-01-02T00:00:09Z", "result": "cancelled"}), 1),
    # What failed before the last look is history.
    (status(state="idle", last_update={"time": "2026-01-01T00:00:00Z", "result": "failed"},
            last_check={**STATUS["last_check"], "result": "up-to-date"}), 0),
])
def test_watch_until_done(last, code):
    begin = status(state="idle", last_check={"time": None, "result": None, "next": None})
    told = [begin, status(state="checking"), installing(50.0), last]
    with serving(stream(*told), keep_open=True) as (path, _):
        result = programs.moonsinter("watch", "--until-done", "--socket", path)
        assert result.status == code and result.events == told, result


def running(health, state="idle"):
    return status(state=state, slots={**STATUS["slots"], "a": {**STATUS["slots"]["a"], "state": health}})


@sanitized
@pytest.mark.parametrize("last, code", [
    (running("good"), 0),
    (running("good", "installing"), 0),
    (running("bad", "reboot-pending"), 1),
    (status(slots={name: {**slot, "role": "inactive"} for name, slot in STATUS["slots"].items()}), 1),
])
def test_watch_until_the_verdict(last, code):
    told = [running("trial", "trial"), running("trial", "trial"), last]
    with serving(stream(*told), keep_open=True) as (path, _):
        result = programs.moonsinter("watch", "--until-verdict", "--quiet", "--socket", path)
        assert result.status == code and result.events == told and result.stderr == "", result


@sanitized
def test_watch_until_the_verdict_waits_for_the_daemon():
    """One that is not there yet, is lost in the middle, and comes back with the verdict."""
    with tempfile.TemporaryDirectory(prefix="moonsinter-") as folder:
        path = os.path.join(folder, "s")
        watch = programs.start_moonsinter("watch", "--until-verdict", "--socket", path)
        assert "systemctl start moonsinterd" in watch.stderr.readline()
        for told in (running("trial", "trial"), running("good")):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path)
                server.listen()
                server.settimeout(20 * programs.PATIENCE)
                client, _ = server.accept()
                client.recv(4096)
                client.sendall(stream(told, end=b""))
                client.close()
            os.unlink(path)
        out, err = watch.communicate(timeout=20 * programs.PATIENCE)
        assert watch.returncode == 0 and len(out.splitlines()) == 2 and err == ""


@sanitized
def test_watch_until_the_verdict_gives_up_without_a_daemon(folder):
    """moonsinter-verdict.service where moonsinterd is not set up: whoever started it does not wait for ever."""
    result = programs.moonsinter("watch", "--until-verdict", "--daemon-within", "1500ms", "--quiet", "--socket",
                                 folder / "s")
    programs.assert_failed(result, "systemctl start moonsinterd")
    assert result.seconds >= 1.5
    # One that was there and went is missed from then on.
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        watch = programs.start_moonsinter("watch", "--until-verdict", "--daemon-within", "1500ms", "--quiet", "--socket", path)
        client, _ = server.accept()
        client.recv(4096)
        client.sendall(stream(running("trial", "trial"), end=b""))
        client.close()
        path.unlink()
    out, err = watch.communicate(timeout=20 * programs.PATIENCE)
    assert watch.returncode == 1 and json.loads(out.splitlines()[-1])["event"] == "failed", (out, err)


@sanitized
@pytest.mark.parametrize("arguments", [["--daemon-within", "2min"], ["--until-verdict", "--daemon-within", "soon"],
                                       ["--until-verdict", "--daemon-within", "0"]])
def test_watch_bounds_nothing_but_the_verdict(arguments):
    programs.assert_failed(programs.moonsinter("watch", *arguments), "--daemon-within", status=2)


@sanitized
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_is_ended_by_a_signal(number):
    with serving(stream(STATUS, end=b""), keep_open=True) as (path, _):
        watch = programs.start_moonsinter("watch", "--socket", path)
        assert json.loads(watch.stdout.readline()) == STATUS
        watch.send_signal(number)
        out, err = watch.communicate(timeout=20 * programs.PATIENCE)
        assert watch.returncode == 128 + number and out == "" and err == ""


@sanitized
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_watch_of_which_nobody_reads_is_ended_by_a_signal(number):
    many = b"".join(stream({**STATUS, "number": i}, end=b"").partition(b"\r\n\r\n")[2] for i in range(2000))
    with serving(stream(STATUS, end=b"") + many, keep_open=True) as (path, _):
        watch = programs.start_moonsinter("watch", "--socket", path)
        programs.wait_until(lambda: programs.waits_for_a_reader(watch.pid), "it does not wait for whoever reads")
        watch.send_signal(number)
        assert watch.wait(60) in (128 + number, -number)
        watch.communicate()


@sanitized
def test_watch_says_that_the_daemon_stopped():
    for end in (b"0\r\n\r\n", b"", b"5\r\n{"):
        with serving(stream(STATUS, end=end)) as (path, _):
            programs.assert_failed(programs.moonsinter("watch", "--socket", path), "stopped")


HEAD = b"HTTP/1.1 200 OK\r\n"


@sanitized
@pytest.mark.parametrize("data", [
    b"", b"\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200", b"HTTP/1.1 2x0 OK\r\n\r\n{}", HEAD, HEAD + b"nonsense\r\n\r\n",
    HEAD + b"Content-Length: 5\r\n\r\n{}", HEAD + b"Content-Length: -1\r\n\r\n{}",
    HEAD + b"Content-Length: 18446744073709551616\r\n\r\n{}", HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n{}",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}", HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
    answer(b"[]"), answer(b"{"), answer(b"{}\0"), answer(b"\xff"), answer(b"{}", "500 Oops"),
    answer({"error": "x"}, "409 Conflict"), answer({"error": {"message": 5}}, "503 No"),
    HEAD + b"X: " + b"x" * 100_000, HEAD + b"X: x\r\n" * 100_000, HEAD + b"Content-Length: 9000000\r\n\r\n" + b" " * 9_000_000,
], ids=lambda data: repr(data[:40]))
@pytest.mark.parametrize("verb", ["status", "watch"])
def test_answers_that_are_none(data, verb):
    if verb == "watch" and data[9:12] == b"200":
        # The same bytes as lines of the stream.
        data = data.replace(b"{}", b"{\n")
    with serving(data) as (path, _):
        programs.assert_failed(programs.moonsinter(verb, "--socket", path, timeout=20))


def sleeps(pid):
    """Whether it has given its processor away often, as none does that only starts."""
    switches, = re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(switches) > 50


@sanitized
@pytest.mark.parametrize("verb, code", [("status", "200 OK"), ("check", "202 Accepted")])
def test_whoever_finds_the_queue_full_waits_for_a_place(folder, verb, code):
    with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as others:
        server.bind(str(folder / "s"))
        server.listen(1)
        waiting = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                other = others.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                other.connect(str(folder / "s"))
                waiting += 1
        process = programs.start_moonsinter(verb, "--socket", folder / "s")
        programs.wait_until(lambda: sleeps(process.pid), "it does not wait")
        for _ in range(waiting):
            server.accept()[0].close()
        client = others.enter_context(server.accept()[0])
        assert client.recv(4096).split()[1] == f"/v1/{verb}".encode()
        client.sendall(answer(STATUS, code))
        out, err = process.communicate(timeout=20 * programs.PATIENCE)
        assert process.returncode == 0 and json.loads(out) == STATUS and err == "", (out, err)


@sanitized
def test_no_daemon(tmp_path):
    missing = tmp_path / "s"
    for verb in ["status", "watch", "why", "history", *ORDERS]:
        programs.assert_failed(programs.moonsinter(verb, "--socket", missing), str(missing), "systemctl start moonsinterd")
    programs.assert_failed(programs.moonsinter("status", "--socket", "x" * 200), "107")
    (tmp_path / "file").write_text("")
    programs.assert_failed(programs.moonsinter("status", "--socket", tmp_path / "file"), "moonsinterd")


@sanitized
def test_usage():
    for verb in ["status", "watch", "why", "history", *ORDERS]:
        programs.assert_failed(programs.moonsinter(verb, "--nonsense"), "--nonsense", status=2)
        programs.assert_failed(programs.moonsinter(verb, "extra"), "extra", status=2)
        programs.assert_failed(programs.moonsinter(verb, "--socket"), "--socket", status=2)
        result = programs.moonsinter(verb, "--help")
        assert result.status == 0 and result.stdout.startswith(f"Usage: moonsinter {verb} ") and not result.stderr
    programs.assert_failed(programs.moonsinter("watch", "--until", "doomsday"), "doomsday", status=2)
    programs.assert_failed(programs.moonsinter("status", "--until", "idle"), "--until", status=2)
