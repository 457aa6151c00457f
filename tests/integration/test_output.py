"""What the command says, and to whom: standard output that takes no more, terminals, bytes that steer them."""
import os
import pty
import subprocess

import pytest

import programs
from evil_server import EvilServer
from programs import moonsinter

pytestmark = pytest.mark.sanitized

CLOSED = 'exec "$0" "$@" >&-'
FULL = 'exec "$0" "$@" >/dev/full'


def shell(script, *arguments):
    return subprocess.run(["bash", "-c", script, str(programs.MOONSINTER), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)


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


def test_people_at_a_terminal_get_sentences_only(nginx, small_release, folder):
    status, seen = on_a_terminal("clone", nginx.publish(small_release[0]) + "x", folder / "out")
    assert status == 1 and "404" in seen and "{" not in seen, seen
    status, seen = on_a_terminal("clone", nginx.url("image"), folder / "out")
    assert status == 0 and "done" in seen and "{" not in seen, seen


@pytest.mark.parametrize("arguments", [["verify", "image\x1b[31m\x9b", "x\x1b]0;title\x07"],
                                       ["clone", "http://127.0.0.1:9/\u009b31m\u202e", "out"]])
def test_nothing_steers_the_terminal(arguments):
    status, seen = on_a_terminal(*arguments, *(["--quiet", "--json"] if arguments[0] == "clone" else ["--quiet"]))
    assert status == 1
    assert not any(byte in seen for byte in "\x1b\x07\x9b\u202e"), repr(seen)
