# SPDX-License-Identifier: MIT
"""What the command says, and to whom: standard output that takes no more, terminals, bytes that steer them."""
import contextlib
import os
import pathlib
import pty
import re
import resource
import signal
import subprocess
import termios

import pytest

import images
import programs
import releases
from evil_server import EvilServer
from programs import moonsinter

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]

CLOSED = 'exec "$0" "$@" >&-'
FULL = 'exec "$0" "$@" >/dev/full'


def shell(script, *arguments):
    return subprocess.run(["bash", "-c", script, str(programs.MOONSINTER), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=600, check=False)


def on_a_terminal(*arguments):
    """Both streams go to one terminal; returns the exit status and what it got to see."""
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine gives no terminal: {error}")
    process = subprocess.Popen([str(programs.MOONSINTER), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=slave,
                               stderr=slave)
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 4096):
            seen += part
    except OSError:
        pass  # that is how a terminal's end is told
    os.close(master)
    return process.wait(60), seen.decode()


@pytest.mark.parametrize("script", [CLOSED, FULL])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["clone", "--help"]])
def test_help_that_nobody_gets_is_a_failure(script, arguments):
    result = shell(script, *arguments)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and "standard output" in result.stderr, result


@pytest.mark.parametrize("script", [CLOSED, FULL])
def test_a_clone_of_which_nobody_hears_is_made_and_no_success(nginx, small_release, folder, script):
    image, content = small_release
    result = shell(script, "clone", nginx.publish(image), folder / "out")
    assert (folder / "out").read_bytes() == content
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and "standard output" in result.stderr, result


@pytest.mark.parametrize("name", ["image", "image.json", "image.chunks"])
def test_a_terminal_is_told_what_is_waited_for(small_release, folder, name):
    image, content = small_release
    with EvilServer(image.parent) as server:
        server.behave(name, "503", times=1)
        status, seen = on_a_terminal("clone", server.url("image"), folder / "out")
    assert status == 0 and (folder / "out").read_bytes() == content
    assert "503" in seen and "trying again in" in seen, seen


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&- 2>&-", "2>&-"])
def test_nothing_is_written_into_files_instead_of_closed_streams(nginx, small_release, folder, closed):
    image, content = small_release
    url = nginx.publish(image)
    shell(f'exec "$0" "$@" {closed}', "generate", image)
    shell(f'exec "$0" "$@" {closed}', "clone", url, folder / "out", image)
    shell(f'exec "$0" "$@" {closed}', "clone", url + "x", folder / "out", image)
    assert image.read_bytes() == content and (folder / "out").read_bytes() == content
    assert moonsinter("verify", folder / "out", f"{image}.json").status == 0


def test_an_unknown_verb_is_told_to_both():
    result = moonsinter("no-such-verb")
    assert result.status == 2 and "no-such-verb" in result.stderr and result.events[-1]["event"] == "failed", result


@pytest.mark.parametrize("verb", ["generate", "generate's base", "diff"])
def test_a_file_that_cannot_be_read_is_an_event(small_release, folder, verb):
    image, missing = small_release[0], folder / "missing"
    arguments = {"generate": [missing], "generate's base": [image, "--base", missing], "diff": [image, missing]}[verb]
    result = moonsinter(verb.split("'")[0], *arguments)
    assert [event["value"] for event in result.named("unable_to_access_file")] == [str(missing)], result
    programs.assert_failed(result, str(missing))


def test_people_at_a_terminal_get_sentences_only(nginx, small_release, folder):
    status, seen = on_a_terminal("clone", nginx.publish(small_release[0]) + "x", folder / "out")
    assert status == 1 and "404" in seen and "{" not in seen, seen
    status, seen = on_a_terminal("clone", nginx.url("image"), folder / "out")
    assert status == 0 and "done" in seen and "{" not in seen, seen


def test_the_bar_is_of_what_comes_over_the_wire(make_nginx, folder):
    """3 MB of 4 MB are there already: the rate and the time left are the network's, not those of the image's bytes."""
    content = images.noise(4_000_000, "bar")
    url = make_nginx("limit_rate 100k;").publish(releases.make_release(folder / "release", content))
    (folder / "out").write_bytes(content[:3_000_000])
    status, seen = on_a_terminal("clone", url, folder / "out")
    assert status == 0
    lines = [line for line in seen.split("\r") if line.startswith("downloading")]
    assert lines and all(re.search(r"of 1\.[0-9] MB", line) for line in lines), seen
    rates = [float(found[1]) for line in lines if (found := re.search(r"([\d.]+) kB/s", line))]
    assert rates and not any("MB/s" in line for line in lines), seen


@pytest.mark.parametrize("arguments", [["verify", "image\x1b[31m\x9b", "x\x1b]0;title\x07"],
                                       ["clone", "http://127.0.0.1:9/\u009b31m\u202e", "out"]])
def test_nothing_steers_the_terminal(arguments):
    status, seen = on_a_terminal(*arguments, *(["--quiet", "--json"] if arguments[0] == "clone" else ["--quiet"]))
    assert status == 1
    assert not any(byte in seen for byte in "\x1b\x07\x9b\u202e"), repr(seen)


# --- nobody reads, and signals ----------------------------------------------------------------------------------------

SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]


@contextlib.contextmanager
def full_pipe():
    """The writing end of a pipe that takes nothing more, and the reading end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(4096)):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def publish_slowly(make_nginx, folder, settings):
    content = images.noise(6_000_000, "slow")
    image = releases.make_release(folder / "release", content, options=["--average", "1K"])
    return make_nginx(settings).publish(image), content


@pytest.fixture
def slow_release(make_nginx, folder):
    """The URL of a release of small chunks from a server that takes its time, and the image's bytes."""
    return publish_slowly(make_nginx, folder, "limit_rate 4k;")


@pytest.fixture
def slow_image(make_nginx, folder):
    """The same, where only what is larger than the table takes its time."""
    return publish_slowly(make_nginx, folder, "limit_rate_after 300k; limit_rate 4k;")


def test_a_clone_of_which_nobody_reads_comes_to_its_end(nginx, folder):
    """8 MB in chunks of 1 KiB, whose events are several times what a pipe holds."""
    content = images.noise(8_000_000, "unread")
    url = nginx.publish(releases.make_release(folder / "release", content, options=["--average", "1K"]))
    process = programs.start_moonsinter("clone", url, folder / "out")
    programs.wait_until(lambda: (folder / "out").exists() and (folder / "out").read_bytes() == content, "the clone", timeout=600)
    stdout, stderr = process.communicate()
    result = programs.Result(["clone"], process.returncode, stdout, stderr, 0)
    assert result.status == 0 and result.events[-1]["event"] == "done", result
    assert len(result.named("dl_chunk")) == result.named("total_chunks")[0]["value"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_clone_of_which_nobody_reads_is_ended_by_a_signal(slow_image, folder, number):
    url, content = slow_image
    (folder / "out").write_bytes(content[:5_900_000])
    process = programs.start_moonsinter("clone", url, folder / "out")
    programs.wait_until(lambda: programs.waits_for_a_reader(process.pid), "nothing waits to be read", timeout=600)
    process.send_signal(number)
    # To a shell both are 128 + number: it had something to tidy up still, or only waited for its reader.
    assert process.wait() in (128 + number, -number)
    process.communicate()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_clone_that_is_ended_by_a_signal_says_so(slow_release, folder, number):
    process = programs.start_moonsinter("clone", slow_release[0], folder / "out")
    programs.wait_until(lambda: (folder / "out").exists(), "it has not begun", timeout=600)
    process.send_signal(number)
    stdout, stderr = process.communicate()
    result = programs.Result(["clone"], process.returncode, stdout, stderr, 0)
    programs.assert_failed(result, "cancelled", status=128 + number)
    assert result.events[-1]["event"] == "failed" and result.events[-1]["kind"] == "cancelled"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("verb", ["generate", "report", "plan"])
def test_signals_end_whoever_waits_and_nothing_is_left(slow_release, folder, verb, number):
    place = folder / "place"
    place.mkdir()
    image = place / "image"
    image.write_bytes(images.noise(30_000_000, "long"))
    (place / "old").write_bytes(images.noise(1_000_000, "other"))
    arguments, begun = {
        "generate": (["generate", image, "--pack", "--base", place / "old"], lambda: list(place.glob("*.pack.new"))),
        "report": (["diff", image, place / "old", "--report", place / "page"], lambda: list(place.glob("page.*/*.pack.new"))),
        "plan": (["plan", slow_release[0], place / "out", image], lambda: True),
    }[verb]
    with full_pipe() as (_, writer):
        process = subprocess.Popen([str(programs.MOONSINTER), *map(str, arguments)], stdin=subprocess.DEVNULL,
                                   stdout=writer, stderr=writer)
        programs.wait_until(lambda: has_handlers(process.pid) and begun(), "it has not begun", timeout=600)
        process.send_signal(number)
        process.wait()
    assert process.returncode == 128 + number
    assert sorted(path.name for path in place.iterdir()) == ["image", "old"]


def has_handlers(pid):
    """Whether the process takes SIGTERM itself."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught, = (int(line.split()[1], 16) for line in status if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@contextlib.contextmanager
def stopped_terminal():
    """The process's end of a terminal that was stopped with Ctrl-S, and the other one."""
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine gives no terminal: {error}")
    termios.tcflow(slave, termios.TCOOFF)
    yield master, slave
    os.close(slave)
    os.close(master)


def start_with(stream, *arguments, stdout=None):
    return subprocess.Popen([str(programs.MOONSINTER), *map(str, arguments)], stdin=subprocess.DEVNULL,
                            stdout=stdout or stream, stderr=stream)


def test_a_stopped_terminal_keeps_neither_a_clone_nor_a_signal_waiting(small_release, folder):
    """The second request shows that the loop goes on; the sentence that it was ended is not waited for either."""
    with EvilServer(small_release[0].parent) as server, stopped_terminal() as (_, slave):
        server.behave("image.json", "503")
        process = start_with(slave, "clone", server.url("image"), folder / "out")
        programs.wait_until(lambda: server.stats()["requests"] > 1, "it does not try again", timeout=600)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_a_stopped_terminal_does_not_keep_watch_from_ending(folder):
    with stopped_terminal() as (_, slave):
        process = start_with(slave, "watch", "--until-verdict", "--socket", folder / "none")
        programs.wait_until(lambda: has_handlers(process.pid), "it has not begun", timeout=600)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_the_last_sentence_waits_for_a_stopped_terminal(nginx, small_release, folder):
    url = nginx.publish(small_release[0]) + "x"
    with stopped_terminal() as (master, slave):
        process = start_with(slave, "clone", url, folder / "out")
        programs.wait_until(lambda: nginx.requests() and not has_handlers(process.pid), "it has not failed", timeout=600)
        termios.tcflow(slave, termios.TCOON)
        assert process.wait() == 1
        assert b"404" in os.read(master, 4096)


@pytest.mark.parametrize("number", SIGNALS)
def test_one_signal_ends_a_clone_whose_sentences_nobody_reads(slow_release, folder, number):
    """clone ... 2>&1 | a reader that hangs"""
    with full_pipe() as (_, writer):
        process = start_with(writer, "clone", slow_release[0], folder / "out")
        programs.wait_until(lambda: (folder / "out").exists(), "it has not begun", timeout=600)
        process.send_signal(number)
        assert process.wait() == 128 + number


@pytest.mark.parametrize("verb", ["clone", "verify"])
def test_one_signal_ends_whoever_waits_to_say_why_it_failed(nginx, small_release, folder, verb):
    """There is nothing left to be tidied up, so the signal does as it does by itself."""
    url = nginx.publish(small_release[0])
    (folder / "other").write_bytes(b"other")
    arguments, failed = {
        "clone": ([url + "x", folder / "out"], lambda pid: nginx.requests()),
        "verify": ([folder / "other", f"{small_release[0]}.json"], lambda pid: has_open(pid, folder / "other")),
    }[verb]
    with full_pipe() as (_, writer):
        process = start_with(writer, verb, *arguments, stdout=subprocess.DEVNULL)
        programs.wait_until(lambda: failed(process.pid) and not has_handlers(process.pid), "it has not failed", timeout=600)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def has_open(pid, path):
    links = pathlib.Path(f"/proc/{pid}/fd")
    return any(os.path.realpath(link) == str(path) for link in links.iterdir())


def test_hangups_that_the_parent_ignores_are_ignored(slow_release, folder):
    """As nohup has it."""
    process = programs.start_moonsinter("clone", slow_release[0], folder / "out",
                                        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    programs.wait_until(lambda: (folder / "out").exists(), "it has not begun", timeout=600)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


def test_a_file_that_may_not_get_larger_is_a_sentence(folder):
    """SIGXFSZ ends a process that does not say otherwise."""
    image = folder / "image"
    image.write_bytes(images.noise(3_000_000, "large"))
    result = moonsinter("generate", image, "--pack",
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)))
    programs.assert_failed(result, "too large")
    assert [path.name for path in folder.iterdir()] == ["image"]


def test_an_output_that_may_not_get_larger_is_no_end(nginx, small_release, folder):
    """What is said goes into a file here, and is full at once; what was asked for is done."""
    image, content = small_release
    (folder / "said").write_bytes(b"\n" * (len(content) + 1))
    with open(folder / "said", "ab") as said:
        done = subprocess.run(
            [str(programs.MOONSINTER), "clone", nginx.publish(image), folder / "out"], check=False, stdout=said,
            stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 1, len(content) + 1)))
    assert done.returncode == 1 and "the work is done" in done.stderr, done
    assert (folder / "out").read_bytes() == content


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("way", ["same name", "link", "descriptor"])
def test_events_do_not_get_into_the_image(nginx, small_release, folder, stream, way):
    path = {"same name": folder / "out", "link": folder / "link", "descriptor": f"/dev/{stream}"}[way]
    if way == "link":
        path.symlink_to("out")
    url = nginx.publish(small_release[0])
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with open(folder / "out", "wb") as out:
        done = subprocess.run([str(programs.MOONSINTER), "clone", url, path], check=False, **{**streams, stream: out})
    assert done.returncode == 1
    told = done.stderr if stream == "stdout" else done.stdout
    assert f"standard {'output' if stream == 'stdout' else 'error'}".encode() in told
    assert nginx.requests() == []
