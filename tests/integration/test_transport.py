# SPDX-License-Identifier: MIT
"""Getting to a fleet's publisher: own authority, client certificate, pinned key, proxy, headers; and that no secret of it
is to be seen anywhere."""
import json
import os
import pathlib
import re
import subprocess

import pytest

import fleet as fleets
import images
import programs
import web
from conditions import installed
from programs import assert_failed, moonsinter, start_moonsinter
from releases import make_release

pytestmark = pytest.mark.sanitized


@pytest.fixture
def fleet(folder, make_nginx):
    made = fleets.Fleet(folder, make_nginx)
    yield made
    made.stop()


@pytest.fixture
def release(folder):
    """About as small as takes several requests."""
    return make_release(folder / "release", images.noise(1_500_000, "fleet"), version="1", serial=1)


def assert_no_secret(text, where):
    for secret in fleets.SECRETS:
        assert secret not in text, f"{where}: {text}"


def command_line(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


# --- the command --------------------------------------------------------------------------------------------------

def test_the_command_gets_in_with_all_of_it(fleet, release, folder):
    url = fleet.url(release)
    for verb in ("plan", "clone"):
        result = moonsinter(verb, url, folder / "out", *fleet.options())
        assert result.status == 0, result
        assert_no_secret(result.stdout + result.stderr, verb)
    assert (folder / "out").read_bytes() == release.read_bytes()
    assert f"CONNECT 127.0.0.1:{fleet.port}" in fleet.proxy.log.read_text(), "it went past the proxy"


@pytest.mark.parametrize("name, value", [("no_proxy", "127.0.0.1"), ("NO_PROXY", "*")])
def test_the_environment_does_not_lead_past_the_proxy(fleet, release, folder, name, value):
    """Where somebody names a proxy, that is meant; the environment's exceptions are those to its own proxies."""
    result = moonsinter("clone", fleet.url(release), folder / "out", *fleet.options(), env={**os.environ, name: value})
    assert result.status == 0, result
    assert f"CONNECT 127.0.0.1:{fleet.port}" in fleet.proxy.log.read_text(), "it went past the proxy"


REFUSALS = {
    "no authority": ({"ca_file": None}, ["not trusted", "authorities"]),
    "no certificate": ({"client_certificate": None, "client_key": None}, [("400", "certificate", "alert")]),
    "wrong key": ({"client_key": "server.key"}, ["no client certificate", "server.key", "check the certificate and key"]),
    "wrong pin": ({"pinned_public_key": "device"}, ["public key is not a pinned one", "pin its new key"]),
    "no password": ({"proxy": "http://127.0.0.1"}, ["proxy refuses", "user and password"]),
    "wrong password": ({"proxy": "wrong"}, ["proxy refuses", "user and password"]),
    "no header": ({"header": None}, ["403"]),
    "missing authority": ({"ca_file": "/absent/ca.pem"}, ["no trusted authorities", "/absent/ca.pem"]),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_command_says_what_is_missing(fleet, release, folder, case):
    changes, words = REFUSALS[case]
    changes = dict(changes)
    if case == "wrong key":
        changes["client_key"] = fleet.authority.folder / "server.key"
    if case == "wrong pin":
        changes["pinned_public_key"] = fleet.authority.pin("device")
    if case == "no password":
        changes["proxy"] = f"http://127.0.0.1:{fleet.proxy.port}"
    if case == "wrong password":
        changes["proxy"] = fleet.proxy.url("wr0ng-pr0xy-s3cret")
    result = moonsinter("clone", fleet.url(release), folder / "out", *fleet.options(**changes), "--retry-for", "2s")
    assert_failed(result, *words)
    assert_no_secret(result.stdout + result.stderr, case)
    assert "wr0ng" not in result.stdout + result.stderr


def test_a_file_of_headers_is_for_its_owner_only(fleet, release, folder):
    for spoil, words in ((lambda: fleet.headers.chmod(0o640), ["may be read by others", f"chmod 600 {fleet.headers}"]),
                         (lambda: fleet.headers.write_text(f"X-Key: {fleets.HEADER_SECRET}\rX-Other: 1\n"), [":1: X-Key"]),
                         (lambda: fleet.headers.write_text(f"Range: {fleets.HEADER_SECRET}\n"), ["Range", "must set itself"]),
                         (fleet.headers.unlink, [str(fleet.headers), "No such file"])):
        fleet.headers.chmod(0o600)
        spoil()
        result = moonsinter("clone", fleet.url(release), folder / "out", *fleet.options())
        assert_failed(result, "--header", *words, status=2)
        assert_no_secret(result.stdout + result.stderr, words)
    assert not (folder / "out").exists()


def test_secrets_do_not_stay_in_the_list_of_processes(fleet, release, folder):
    url = fleet.url(release, "slow/")
    process = start_moonsinter("clone", url, folder / "out", *fleet.options(header=f"X-Key: {fleets.HEADER_SECRET}"))
    try:
        while b"dl_manifest_end" not in (line := process.stdout.readline().encode()):
            assert line, process.stderr.read()
        assert process.poll() is None
        assert_no_secret(command_line(process.pid), "arguments")
        assert f"https://127.0.0.1:{fleet.port}/slow/" in command_line(process.pid)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("version, works", [("TLSv1.1", False), ("TLSv1.2", True), ("TLSv1.3", True)])
def test_tls_is_new_enough(folder, make_nginx, release, version, works):
    """However old a version the machine's OpenSSL is configured to speak."""
    lenient = folder / "openssl.cnf"
    lenient.write_text("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
                       "[c]\nMinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0\n")
    authority = fleets.Authority(folder / "authority")
    certificate, key = authority.issue("server")
    port = web.free_port()
    nginx = make_nginx(f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};"
                       f"ssl_protocols {version}; ssl_ciphers ALL:@SECLEVEL=0;")
    nginx.publish(release)
    # The server itself speaks it: what refuses is us.
    asked = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version.lower().replace('v', '').replace('.', '_')}",
         "-cipher", "ALL:@SECLEVEL=0"], input="", capture_output=True, text=True, timeout=600, check=False)
    assert re.search(rf"Protocol *: *{version}|New, {version}", asked.stdout), asked.stdout + asked.stderr
    result = moonsinter("clone", f"https://127.0.0.1:{port}/image", folder / "out", "--ca-file", authority.pem,
                        "--retry-for", "1s", env={**os.environ, "OPENSSL_CONF": str(lenient)})
    if works:
        assert result.status == 0, result
    else:
        assert_failed(result, "TLS 1.2")


# --- the daemon ---------------------------------------------------------------------------------------------------

def test_the_daemon_gets_in_and_keeps_its_secrets(fleet, release, folder, make_daemon, file_slots):
    daemon = make_daemon(fleet.url(release), file_slots, Transfer=fleet.settings())
    daemon.config.chmod(0o600)
    daemon.start()
    daemon.wait(installed("1"), "installed through all of it")
    assert f"CONNECT 127.0.0.1:{fleet.port}" in fleet.proxy.log.read_text(), "it went past the proxy"

    # And where something goes wrong, errors are no leak either.
    second = make_release(folder / "second", images.noise(1_500_000, "second"), version="2", serial=2)
    fleet.url(second)
    fleet.proxy.stop()
    daemon.post("check")
    status = daemon.wait(lambda status: status["last_error"], "an error")
    assert "connect" in status["last_error"]["message"].lower(), status["last_error"]

    for path in ("status", "config", "plan", "history"):
        assert_no_secret(json.dumps(daemon.request("GET", f"/v1/{path}")), path)
    assert_no_secret(daemon.request("GET", "/metrics")[1], "metrics")
    assert_no_secret(json.dumps(next(daemon.events())), "events")
    for verb in ("status", "why", "history"):
        assert_no_secret(repr(moonsinter(verb, "--socket", daemon.socket)), verb)
    assert_no_secret(daemon.log, "log")
    assert_no_secret(command_line(daemon.pid), "arguments")
    # The state outlives the settings, and a slot may be given away.
    for file in (daemon.folder / "state").rglob("*"):
        if file.is_file():
            assert_no_secret(file.read_text(errors="replace"), file)
    checked = subprocess.run([str(programs.MOONSINTERD), "--config", str(daemon.config), "--check-config"],
                             capture_output=True, text=True, timeout=20 * programs.PATIENCE, check=False)
    assert checked.returncode == 0, checked
    assert_no_secret(checked.stdout + checked.stderr, "--check-config")
    assert f"Header=@{fleet.headers}\n" in checked.stdout


def test_settings_that_all_may_read_are_told(fleet, release, make_daemon, file_slots):
    daemon = make_daemon(fleet.url(release), file_slots, Transfer=fleet.settings())
    daemon.config.chmod(0o644)
    daemon.start()
    daemon.wait(installed("1"), "it works nevertheless")
    for key in ("Url", "Proxy"):
        assert re.search(rf"{daemon.config}:\d+: the secret in {key}= can be read by every user", daemon.log), daemon.log
    assert_no_secret(daemon.log, "log")


def test_new_settings_with_a_file_of_headers_that_others_read_are_not_taken(fleet, release, make_daemon, file_slots):
    daemon = make_daemon(fleet.url(release), file_slots, Transfer=fleet.settings())
    daemon.config.chmod(0o600)
    daemon.start()
    daemon.wait(installed("1"), "installed")
    fleet.headers.chmod(0o644)
    daemon.reload()
    daemon.wait(lambda _: "the settings were not taken" in daemon.log, "the refusal")
    assert f"{fleet.headers} may be read by others" in daemon.log
    asked = len(fleet.nginx.requests())
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] != "checking" and len(fleet.nginx.requests()) > asked, "a check")
    assert status["last_check"]["result"] != "failed", "the old settings still work"
