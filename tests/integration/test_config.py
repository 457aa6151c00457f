# SPDX-License-Identifier: MIT
"""Configuration files, the command line, and the socket's path."""
import os
import socket
import subprocess

import pytest

import images
import programs
from releases import make_release

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


def run_moonsinterd(*arguments, timeout=20, **options):
    """For what ends by itself."""
    return subprocess.run([str(programs.MOONSINTERD), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout * programs.PATIENCE, check=False, **options)


def check(daemon):
    return run_moonsinterd("--config", daemon.config, "--check-config")


@pytest.fixture
def daemon(make_daemon, file_slots):
    return make_daemon("http://127.0.0.1:1/image", file_slots)


def test_good_settings_are_shown_with_the_file_each_came_from(daemon):
    result = check(daemon)
    assert result.returncode == 0, result
    assert "Interval=" in result.stdout and str(daemon.config) in result.stdout
    assert "default" in result.stdout


@pytest.mark.parametrize("section, key, value", [
    ("Update", "NoSuchKey", "1"), ("NoSuchSection", "Url", "x"), ("Update", "Interval", "5parsecs"),
    ("Update", "Mode", "perhaps"), ("Update", "Interval", "-5min"), ("Update", "Interval", "99999999999999999999y"),
    ("Update", "Interval", "0"), ("Boot", "Backend", "floppy"), ("Boot", "Tries", "0"), ("Boot", "Tries", "4294967297"),
    ("Update", "AllowDowngrade", "perhaps"), ("Update", "Url", "file:///etc/passwd"), ("Transfer", "RateLimit", "12Q"),
    ("Transfer", "CaFile", "/no/such/file.pem"), ("Api", "Socket", "relative/path"), ("Slots", "A", "relative"),
    ("Storage", "StateDirectory", "relative"), ("Transfer", "Header", "no colon"), ("Part boot", "A", "relative"),
    ("Part boot", "Missing", "perhaps"), ("Part boot", "C", "/x")])
def test_a_bad_setting_is_named(daemon, section, key, value):
    daemon.settings.setdefault(section, {})[key] = value
    daemon.write_config()
    line = daemon.config.read_text().splitlines().index(f"{key}={value}") + 1
    result = check(daemon)
    assert result.returncode == 1, result
    told = result.stderr
    assert (section if section == "NoSuchSection" else key) in told, result
    # A file that a setting names may be missing for reasons of its own; all else is wrong in its line.
    assert key == "CaFile" or section == "NoSuchSection" or f"{daemon.config}:{line}:" in told, result
    # The daemon itself does not start with it either.
    started = run_moonsinterd("--config", daemon.config)
    assert started.returncode == 1 and started.stderr == told, started


def test_a_line_that_is_no_setting_is_named(daemon):
    lines = len(daemon.config.read_text().splitlines())
    daemon.write_config(extra="no section, no equals sign\n")
    result = check(daemon)
    assert result.returncode == 1 and f"{daemon.config}:{lines + 1}" in result.stderr, result


def test_a_group_that_does_not_exist_is_an_error(daemon):
    daemon.settings["Api"]["Group"] = "no-such-group-anywhere"
    daemon.write_config()
    result = run_moonsinterd("--config", daemon.config)
    assert result.returncode == 1 and "no-such-group-anywhere" in result.stderr, result


def test_every_problem_is_told_at_once(daemon):
    daemon.write_config(extra="[Update]\nOne=1\nTwo=2\n[Three]\nFour=4\n")
    told = check(daemon).stderr
    for word in ("One", "Two", "Three"):
        assert word in told


# What is wrong with the parts of a set: the lines, and what is told of them.
BAD_PARTS = {
    "more than 16": ("".join(f"[Part p{i}]\nA=/p{i}-a\nB=/p{i}-b\n" for i in range(17)), "[Part p16]"),
    "no name": ("[Part]\nA=/x\nB=/y\n", "[Part]"),
    "a bad name": ("[Part Boot]\nA=/x\nB=/y\n", "[Part Boot]"),
    "the main image's name": ("[Part root]\nA=/x\nB=/y\n", "[Part root]"),
    "no B": ("[Part boot]\nA=/x\n", "B= is missing in [Part boot]"),
    "no A": ("[Part boot]\nB=/x\nMissing=carry\n", "A= is missing in [Part boot]"),
    "one place": ("[Part boot]\nA=/x\nB=/x\n", "/x"),
    "one place for two": ("[Part boot]\nA=/x\nB=/y\n[Part app]\nA=/z\nB=/x\n", "[Part app]"),
}


@pytest.mark.parametrize("what", BAD_PARTS)
def test_a_bad_part_is_named(daemon, what):
    lines, told = BAD_PARTS[what]
    daemon.write_config(extra=lines)
    result = check(daemon)
    assert result.returncode == 1 and told in result.stderr, result
    started = run_moonsinterd("--config", daemon.config)
    assert started.returncode == 1 and started.stderr == result.stderr, started


def test_a_part_is_shown_with_the_file_each_key_came_from(daemon, folder):
    daemon.write_config(extra=f"[Part boot]\nA={folder}/boot-a\nB={folder}/boot-b\n")
    folder_of_dropins = daemon.config.with_name("moonsinterd.conf.d")
    folder_of_dropins.mkdir()
    (folder_of_dropins / "1.conf").write_text("[Part boot]\nMissing=carry\n")
    result = check(daemon)
    assert result.returncode == 0 and "[Part boot]\n" in result.stdout, result
    daemon.start()
    settings = daemon.request("GET", "/v1/config")[1]["settings"]
    shown = {setting["key"]: setting for setting in settings if setting["section"] == "Part boot"}
    assert {key: setting["value"] for key, setting in shown.items()} == {
        "A": f"{folder}/boot-a", "B": f"{folder}/boot-b", "Missing": "carry"}
    assert str(daemon.config) in shown["A"]["origin"] and "1.conf:2" in shown["Missing"]["origin"]


def test_a_missing_file_is_an_error(folder):
    result = run_moonsinterd("--config", folder / "missing.conf", "--check-config")
    assert result.returncode == 1 and "missing.conf" in result.stderr, result


def test_a_file_that_cannot_be_one_is_an_error(daemon):
    for content in (b"\0" * 1000, b"\xff\xfe" * 500, b"[Update]\n" + b"x" * 100_000, b"[" * 5000):
        daemon.config.write_bytes(content)
        result = check(daemon)
        assert result.returncode == 1 and result.stderr.strip(), result


def test_drop_ins_win_in_order_of_name(daemon):
    folder = daemon.config.with_name("moonsinterd.conf.d")
    folder.mkdir()
    (folder / "20-later.conf").write_text("[Update]\nInterval=20min\n")
    (folder / "10-earlier.conf").write_text("[Update]\nInterval=10min\nMode=check\n")
    result = check(daemon)
    assert result.returncode == 0, result
    assert "20min" in result.stdout and "20-later.conf" in result.stdout
    assert "10-earlier.conf" in result.stdout
    (folder / "ignored.txt").write_text("[Update]\nInterval=1min\n")
    result = check(daemon)
    assert "ignored.txt" in result.stdout + result.stderr, "a file that is not read is reported"


def test_usage(folder):
    assert run_moonsinterd("--help").returncode == 0
    assert run_moonsinterd("--version").stdout.strip()
    for arguments in (["--no-such-option"], ["one"], ["http://x/y", "/dev/a"],
                      ["http://x/y", "/a", "/b", "5", "6"]):
        result = run_moonsinterd(*arguments)
        assert result.returncode == 2 and result.stderr.strip(), (arguments, result)
    for minutes in ("five", "0", "1.5", "99999999999999999999", ""):
        result = run_moonsinterd("http://x/y", "/a", "/b", minutes)
        assert result.returncode in (1, 2) and ("MINUTES" in result.stderr or "Interval" in result.stderr), (minutes, result)


# --- the socket ---------------------------------------------------------------------------------------------------

def test_a_socket_path_that_a_live_daemon_answers_on_is_refused(daemon, make_daemon, file_slots):
    daemon.start()
    second = make_daemon("http://127.0.0.1:1/image", file_slots, Api={"Socket": daemon.socket})
    result = run_moonsinterd("--config", second.config)
    assert result.returncode == 1 and daemon.socket in result.stderr, result
    assert daemon.status()["daemon"]["pid"] == daemon.pid, "the first one is undisturbed"


def test_two_daemons_with_one_state_folder_do_not_run(daemon, make_daemon, file_slots):
    daemon.start()
    second = make_daemon("http://127.0.0.1:1/image", file_slots, Storage={"StateDirectory": daemon.folder / "state"})
    result = run_moonsinterd("--config", second.config)
    assert result.returncode == 1 and str(daemon.folder / "state") in result.stderr, result


def test_a_stale_socket_is_replaced(daemon):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(daemon.socket)
    daemon.start()
    assert daemon.stop() == 0
    daemon.start()
    daemon.kill()
    assert os.path.exists(daemon.socket)
    daemon.start()


def test_a_path_that_is_no_socket_is_left_alone(daemon):
    with open(daemon.socket, "w", encoding="ascii") as file:
        file.write("precious")
    result = run_moonsinterd("--config", daemon.config)
    assert result.returncode == 1 and daemon.socket in result.stderr, result
    with open(daemon.socket, encoding="ascii") as file:
        assert file.read() == "precious"


def test_a_path_that_is_too_long_is_refused(daemon):
    path = "/tmp/" + "x" * 120
    daemon.settings["Api"]["Socket"] = path
    daemon.write_config()
    result = run_moonsinterd("--config", daemon.config)
    assert result.returncode == 1 and "x" * 50 in result.stderr, result


def test_the_socket_is_for_its_owner_and_group_only(daemon):
    daemon.start()
    assert os.stat(daemon.socket).st_mode & 0o777 == 0o660


def test_a_socket_handed_over_is_used_and_not_removed(daemon):
    """Socket activation as systemd does it: descriptor 3, LISTEN_FDS and LISTEN_PID."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(daemon.socket)
        listener.listen()
        script = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_FDS'] = '1'; "
                  "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[2], sys.argv[2:])")
        with open(daemon.log_path, "ab") as log:
            daemon.process = subprocess.Popen(
                ["/usr/bin/python3", "-c", script, str(listener.fileno()), str(programs.MOONSINTERD), "--config",
                 str(daemon.config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[listener.fileno()])
    daemon.wait_for_api()
    assert daemon.stop() == 0
    assert os.path.exists(daemon.socket), "whoever handed it over owns it"


# --- sd_notify ----------------------------------------------------------------------------------------------------

def test_it_tells_the_service_manager_ready_status_watchdog_and_stopping(daemon, folder, nginx, file_slots):
    import tempfile
    release = make_release(folder / "1", images.noise(2_000_000, 1), version="1", serial=1)
    daemon.settings["Update"]["Url"] = nginx.publish(release)
    daemon.write_config()
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{place}/notify")
        manager.settimeout(20 * programs.PATIENCE)
        daemon.start(env={**os.environ, "NOTIFY_SOCKET": f"{place}/notify", "WATCHDOG_USEC": "400000"})
        told = []
        while not any("WATCHDOG=1" in text for text in told) or not any("READY=1" in text for text in told):
            told.append(manager.recv(4096).decode())
        ready = next(text for text in told if "READY=1" in text)
        assert "STATUS=" in "".join(told), ready
        daemon.reload()
        while not any("RELOADING=1" in text for text in told):
            told.append(manager.recv(4096).decode())
        assert daemon.stop() == 0
        manager.settimeout(1)
        try:
            while True:
                told.append(manager.recv(4096).decode())
        except TimeoutError:
            pass
        assert any("STOPPING=1" in text for text in told)
