# SPDX-License-Identifier: MIT
"""Addresses with secrets in them: where a token goes, where it does not go, and that no secret is shown to anybody."""
import json
import shutil
import subprocess

import pytest

import images
import programs
import server_site
from conditions import installed
from evil_server import EvilServer
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest, write_manifest

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]

SECRETS = USER, PASSWORD, TOKEN, REFERENCE_TOKEN, REDIRECT_PASSWORD, REDIRECT_TOKEN = (
    "us3r-s3cret", "passw0rd-s3cret", "t0ken-s3cret", "ref3rence-s3cret", "r3direct-s3cret", "l0cation-s3cret")
IMPATIENT = ("--stall-timeout", "1s", "--retry-for", "1s", "--json")
ONE = images.noise(1_500_000, "secrets")


def secret_url(server, path="image"):
    return server.url(path).replace("://", f"://{USER}:{PASSWORD}@") + f"?token={TOKEN}"


def assert_no_secret(text, where):
    for secret in SECRETS:
        assert secret not in text, f"{where}: {text}"


def publish(server, key=None, version=None, serial=None, options=(), **references):
    """ONE, the references of its manifest changed as `references` says; signed where there is a key."""
    image = make_release(server.root, ONE, version=version, serial=serial, options=options)
    manifest = read_manifest(image)
    for name, reference in references.items():
        manifest["moonsinter"][name]["url"] = reference
    write_manifest(image, manifest)
    if key:
        key.sign(f"{image}.json")
    return image


# --- no secret is shown -------------------------------------------------------------------------------------------

def break_table(server):
    path = f"{server.root}/image.chunks"
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"other")


def shorten_table(server):
    with open(f"{server.root}/image.chunks", "r+b") as file:
        file.truncate(200)


def break_image(server):
    with open(f"{server.root}/image", "r+b") as file:
        file.write(b"other" * 100_000)


def behave(path, behaviour):
    return lambda server: server.behave(path, behaviour)


def redirect(path):
    def change(server):
        place = server.url(f"404/{path}").replace("://", f"://{USER}:{REDIRECT_PASSWORD}@")
        server.place(path, f"{place}?signature={REDIRECT_TOKEN}")
        server.behave(path, "redirect")
    return change


FAULTS = {
    "nothing": lambda server: None,
    "another table": break_table,
    "a shorter table": shorten_table,
    "another image": break_image,
    **{f"{path} {behaviour}": behave(path, behaviour)
       for path in ("image.json", "image.json.minisig", "image.chunks", "image")
       for behaviour in ("404", "garbage", "short", "redirect-nowhere", "503", "gzip")},
    **{f"redirect of {path}": redirect(path) for path in ("image.json", "image.chunks", "image")},
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_secret_is_in_what_the_command_says(server, folder, key, fault, signed):
    publish(server, key if signed else None, chunks=f"image.chunks?token={REFERENCE_TOKEN}")
    FAULTS[fault](server)
    options = ("--key", key.public) if signed else ()
    for verb in ("plan", "clone"):
        result = moonsinter(verb, secret_url(server), folder / "out", *IMPATIENT, *options, timeout=120)
        assert_no_secret(result.stdout + result.stderr, verb)
    assert any(TOKEN in path and authorization for path, authorization in server.asked), "it had them"


def assert_daemon_keeps_secrets(daemon):
    for path in ("status", "config", "plan", "history"):
        assert_no_secret(json.dumps(daemon.request("GET", f"/v1/{path}")), path)
    assert_no_secret(daemon.request("GET", "/metrics")[1], "metrics")
    assert_no_secret(json.dumps(next(daemon.events())), "events")
    for verb in ("status", "why", "history"):
        assert_no_secret(repr(moonsinter(verb, "--socket", daemon.socket)), verb)
    assert_no_secret(daemon.log, "log")
    for option in ("--check-config", "--doctor"):
        result = subprocess.run([str(programs.MOONSINTERD), "--config", str(daemon.config), option],
                                capture_output=True, text=True, check=False)
        assert_no_secret(result.stdout + result.stderr, option)
    # The state outlives the settings, and a slot may be given away. The manifest is the publisher's own bytes.
    for file in (daemon.folder / "state").rglob("*"):
        if file.is_file() and not file.name.startswith("manifest.json"):
            assert_no_secret(file.read_text(errors="replace"), file)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("fault", ["nothing", "another table", "redirect of image", "image 404"])
def test_no_secret_is_in_what_the_daemon_says(server, folder, key, file_slots, make_daemon, fault, signed):
    """With a release that has no version: its address would be the next best name for it."""
    keys_folder = folder / "keys.d"
    keys_folder.mkdir()
    if signed:
        shutil.copy(key.public, keys_folder)
    publish(server, key if signed else None, serial=1, chunks=f"image.chunks?token={REFERENCE_TOKEN}")
    FAULTS[fault](server)
    daemon = make_daemon(secret_url(server), file_slots, Trust={"Keys": keys_folder})
    daemon.config.chmod(0o600)
    daemon.start()
    works = fault == "nothing" or (fault == "another table" and not signed)
    if works:
        daemon.wait(lambda status: status["state"] == "reboot-pending", "it is installed")
    else:
        daemon.wait(lambda status: status["last_error"], "it fails")
    assert_daemon_keeps_secrets(daemon)
    assert any(TOKEN in path and authorization for path, authorization in server.asked), "it had them"


@pytest.mark.parametrize("arguments", [
    ["clone", "http://127.0.0.1:1/x", "OUT", "--prxy=URL"], ["clone", "http://127.0.0.1:1/x", "OUT", "--quiet=URL"],
    ["clone", "http://127.0.0.1:1/x", "OUT", "--rate-limit", "URL"], ["clone", "http://127.0.0.1:1/x", "OUT", "--key", "URL"],
    ["clone", "http://127.0.0.1:1/x", "OUT", f"--headr=Authorization: {PASSWORD}"], ["clone", "OUT", "URL"], ["URL"],
    ["clone", "--proxy", "URL"], ["verify", "OUT", "URL"], ["verify", "URL", "OUT"],
    ["clone", "http://127.0.0.1:1/x", "OUT", "--pinned-public-key", "URL"], ["status", "--socket", "URL"]])
def test_an_address_where_it_does_not_belong(folder, arguments):
    """A script's log may be anybody's."""
    url = f"http://{USER}:{PASSWORD}@127.0.0.1:1/image?token={TOKEN}"
    result = moonsinter(*(argument.replace("URL", url).replace("OUT", str(folder / "out")) for argument in arguments))
    assert result.status in (1, 2)
    assert_no_secret(result.stdout + result.stderr, arguments)


# --- an address without a path ------------------------------------------------------------------------------------

@pytest.mark.parametrize("rest", ["", "/", "?p=/x", "#x", "?p=/x#y", "/?p=/x"])
def test_an_address_without_a_path_is_refused(server, folder, file_slots, make_daemon, rest):
    """".json" after it would be another host's name, or another port, which would get the password."""
    url = server.url("").rstrip("/").replace("://", f"://{USER}:{PASSWORD}@") + rest
    for verb in ("clone", "plan"):
        result = moonsinter(verb, url, folder / "out", *IMPATIENT)
        assert_failed(result, "no image on it", status=2)
        assert_no_secret(result.stdout + result.stderr, verb)
    daemon = make_daemon(url, file_slots)
    checked = subprocess.run([str(programs.MOONSINTERD), "--config", str(daemon.config), "--check-config"],
                             capture_output=True, text=True, check=False)
    assert checked.returncode == 1 and "no image on it" in checked.stderr, checked
    assert_no_secret(checked.stdout + checked.stderr, "--check-config")
    assert not (folder / "out").exists() and server.asked == []


@pytest.mark.parametrize("mark", "/?#")
def test_a_password_that_ends_before_it_ends_is_refused_and_not_repeated(server, folder, mark):
    url = server.url("image").replace("://", f"://{USER}:{PASSWORD}{mark}more@")
    for arguments in ([url], [server.url("image"), "--proxy", url]):
        result = moonsinter("clone", arguments[0], folder / "out", *arguments[1:], *IMPATIENT)
        assert_failed(result, status=2 if len(arguments) == 1 else 1)
        assert_no_secret(result.stdout + result.stderr, arguments)
    assert server.asked == []


# --- where a token goes -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("pack_only", [False, True])
def test_a_token_in_the_address_is_for_every_file_beside_it(server, folder, key, pack_only):
    """Signed and with nothing but a pack, it does not work without the table and the pack."""
    image = publish(server, key, version="1", options=("--pack",))
    if pack_only:
        image.unlink()
    server.demand(f"token={TOKEN}")
    result = moonsinter("clone", server.url("image"), folder / "out", "--key", key.public, *IMPATIENT)
    assert_failed(result, "403")
    result = moonsinter("clone", secret_url(server), folder / "out", "--key", key.public, *IMPATIENT)
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == ONE
    assert {path for path, authorization in server.asked if authorization} >= {
        f"/{name}?token={TOKEN}" for name in ("image.json", "image.json.minisig", "image.chunks", "image.pack")}


def test_a_device_installs_from_a_server_of_tokens(server, folder, key, file_slots, make_daemon):
    keys_folder = folder / "keys.d"
    keys_folder.mkdir()
    shutil.copy(key.public, keys_folder)
    publish(server, key, version="1", serial=1)
    server.demand(f"token={TOKEN}")
    daemon = make_daemon(secret_url(server), file_slots, Trust={"Keys": keys_folder}).start()
    daemon.wait(installed("1"), "installed")
    assert_no_secret(daemon.log, "log")


def test_a_query_of_its_own_is_kept_as_it_is(server, folder):
    publish(server, chunks="image.chunks?own")
    assert moonsinter("clone", secret_url(server), folder / "out", *server_site.PATIENT).status == 0
    assert {path for path, _ in server.asked} == {f"/image.json?token={TOKEN}", "/image.chunks?own", f"/image?token={TOKEN}"}


def test_a_query_that_a_redirect_brings_is_for_its_own_place(server, folder):
    publish(server)
    (folder / "www" / "other").mkdir()
    shutil.copy(f"{server.root}/image.json", folder / "www" / "other")
    server.place("image.json", f"/other/image.json?signature={REDIRECT_TOKEN}")
    server.behave("image.json", "redirect")
    assert moonsinter("clone", secret_url(server), folder / "out", *server_site.PATIENT).status == 0
    assert (folder / "out").read_bytes() == ONE
    assert {path for path, _ in server.asked} == {
        f"/image.json?token={TOKEN}", f"/other/image.json?signature={REDIRECT_TOKEN}", f"/image.chunks?token={TOKEN}",
        f"/image?token={TOKEN}"}


@pytest.mark.parametrize("form", ["absolute", "without a scheme"])
def test_another_server_gets_no_token(server, folder, form):
    (folder / "other").mkdir()
    with EvilServer(folder / "other") as other:
        place = other.url("image.chunks")
        publish(server, chunks=place if form == "absolute" else place.removeprefix("http:"))
        shutil.copy(f"{server.root}/image.chunks", folder / "other")
        assert moonsinter("clone", secret_url(server), folder / "out", *server_site.PATIENT).status == 0
        assert other.asked == [("/image.chunks", None)]
