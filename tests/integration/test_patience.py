# SPDX-License-Identifier: MIT
"""What a server has not got now, and never had: what is waited for, for how long, and what is said at the end."""
import shutil

import pytest

import images
import web
from programs import assert_failed, moonsinter
from releases import make_release
from signed_site import CONTENT, publish, requests, seconds_of

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


# --- the manifest and its signature -------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [(), ("--retry-for", "60s")])
@pytest.mark.parametrize("name", ["image.json", "image.json.minisig"])
@pytest.mark.parametrize("verb", ["clone", "plan"])
def test_the_manifest_and_its_signature_are_tried_again(server, folder, key, verb, name, options):
    publish(server, key)
    server.behave(name, "503", times=1)
    result = moonsinter(verb, server.url("image"), folder / "out", "--key", key.public, "--json", *options)
    assert result.status == 0, result
    assert [event["retry_ms"] >= 1000 for event in result.named("dl_manifest_retry")] == [True]
    assert requests(server, name) == 2
    if verb == "clone":
        assert result.named("done")[0]["retries"] == 1


def test_the_manifest_is_given_up(server, folder, key):
    publish(server, key)
    server.behave("image.json", "503")
    result = moonsinter("clone", server.url("image"), folder / "out", "--retry-for", "1s", "--json")
    assert_failed(result, "503", "image.json")


def test_a_connection_that_breaks_behind_the_manifest_is_tried_again(server, folder, key):
    """The name was right, so it is no mistyped one. Twice, for a connection in use is made anew by libcurl itself."""
    publish(server, key)
    server.behave("image.json.minisig", "reset-now", times=2)
    result = moonsinter("clone", server.url("image"), folder / "out", "--key", key.public, "--json")
    assert result.status == 0, result
    assert result.named("dl_manifest_retry")


def test_a_connection_that_breaks_behind_an_answer_is_tried_again(server, folder, monkeypatch):
    make_release(server.root, CONTENT)
    server.behave("image.json", "503", times=1)
    begin = server.begin

    def begin_and_break(path, asked_range):
        number = begin(path, asked_range)
        if path == "/image.json" and number == 1:
            server.behave("image.json", "reset-now", times=2)
        return number

    monkeypatch.setattr(server, "begin", begin_and_break)
    result = moonsinter("clone", server.url("image"), folder / "out", "--json")
    assert result.status == 0, result
    assert len(result.named("dl_manifest_retry")) >= 2


def test_a_connection_that_breaks_when_the_manifest_is_read_again(server, folder, monkeypatch):
    """The files did not fit each other, which are put right just then, and the connections break: as many as libcurl
    has in use."""
    image = make_release(server.root, CONTENT)
    image.write_bytes(CONTENT + b"more")
    begin = server.begin

    def begin_and_break(path, asked_range):
        number = begin(path, asked_range)
        if path == "/image" and image.stat().st_size > len(CONTENT):
            server.behave("image.json", "reset-now", times=8)
        elif path == "/image.json" and number == 2:
            image.write_bytes(CONTENT)
        return number

    monkeypatch.setattr(server, "begin", begin_and_break)
    result = moonsinter("clone", server.url("image"), folder / "out", "--json")
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == CONTENT
    assert result.named("dl_manifest_retry")


@pytest.mark.parametrize("demanded", [(), ("--require-signature",)])
@pytest.mark.parametrize("state", ["absent", "of another"])
def test_a_signature_that_comes_late_is_waited_for(server, folder, key, monkeypatch, state, demanded):
    publish(server, key)
    signature = folder / "www" / "image.json.minisig"
    right = signature.read_bytes()
    (folder / "other").write_bytes(b"another")
    signature.unlink()
    if state == "of another":
        key.sign(folder / "other").rename(signature)
    begin = server.begin

    def begin_and_publish(path, asked_range):
        number = begin(path, asked_range)
        if path == "/image.json" and number == 3:
            signature.write_bytes(right)
        return number

    monkeypatch.setattr(server, "begin", begin_and_publish)
    result = moonsinter("clone", server.url("image"), folder / "out", "--key", key.public, *demanded, "--retry-for", "300s",
                        "--json")
    assert result.status == 0, result
    assert len(result.named("dl_manifest_retry")) == 2
    assert [event["retry_ms"] <= 4000 for event in result.named("dl_manifest_retry")] == [True, True]


def test_a_server_that_is_not_there_is_waited_for_where_that_was_asked(folder):
    url = f"http://127.0.0.1:{web.free_port()}/image"
    assert_failed(result := moonsinter("clone", url, folder / "out", "--json"), "127.0.0.1")
    assert not result.named("dl_manifest_retry")
    assert_failed(result := moonsinter("clone", url, folder / "out", "--retry-for", "3s", "--json"), "127.0.0.1")
    assert result.named("dl_manifest_retry")


def test_a_redirector_is_asked_again_after_any_other_answer(server, folder, monkeypatch):
    """Four times in a row it may lead astray, and not four times in all."""
    make_release(server.root, CONTENT)
    server.place("image.chunks", "/nowhere")
    server.behave("image.chunks", "redirect")
    begin = server.begin

    def begin_and_change(path, asked_range):
        number = begin(path, asked_range)
        if path == "/image.chunks" and 3 <= number <= 5:
            server.behave("image.chunks", {3: "short", 4: "redirect", 5: None}[number])
        return number

    monkeypatch.setattr(server, "begin", begin_and_change)
    result = moonsinter("clone", server.url("image"), folder / "out", "--json")
    assert result.status == 0, result
    assert requests(server, "image.chunks") == 6


# --- what was never uploaded --------------------------------------------------------------------------------------

@pytest.mark.parametrize("status", ["404", "403", "410"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("missing", ["image.pack", "image.chunks"])
def test_a_file_that_was_never_there_is_named(server, folder, key, missing, signed, status):
    """Of a release that is nothing but a pack, so that the image is rightly not there. Nothing is read twice for it."""
    publish(server, key, "--pack").unlink()
    server.behave(missing, status)
    (folder / "out").write_bytes(CONTENT[:700_000])
    options = ("--key", key.public) if signed else ()
    result = moonsinter("clone", server.url("image"), folder / "out", *options, "--json")
    assert_failed(result, missing, status)
    assert "replaced" not in result.stderr
    assert len(result.named("output_file_hash_start")) <= 1, "it was scanned again"
    assert requests(server, "image.json") <= 2 and requests(server, missing) <= 2


@pytest.mark.parametrize("status", ["404", "410"])
def test_an_image_that_was_never_there_is_named(server, folder, key, status):
    """By one lane as by four; nothing is wrong with the network."""
    publish(server, key)
    server.behave("image", status)
    result = moonsinter("clone", server.url("image"), folder / "out", "--connections", "1", "--json", timeout=60)
    assert_failed(result, "/image;", status)
    assert result.named("failed")[0]["kind"] == "remote", result


def test_an_image_of_another_size_is_looked_at_three_times(server, folder, key):
    """So many times the same manifest, unless patience was asked for."""
    publish(server, key).write_bytes(images.noise(len(CONTENT) + 1, "another"))
    result = moonsinter("clone", server.url("image"), folder / "out", "--json", timeout=120)
    assert_failed(result, "/image", "--retry-for")
    assert requests(server, "image.json") == 3


def test_a_pack_that_went_with_its_release_is_no_end(server, folder, key):
    """The manifest is another one by the time that its pack is missing."""
    image = publish(server, key, "--pack")
    image.unlink()
    newer = make_release(folder / "newer", CONTENT, options=("--pack",))
    newer.unlink()
    old = (folder / "www" / "image.json").read_bytes()
    for file in (folder / "www").iterdir():
        file.unlink()
    for file in (folder / "newer").iterdir():
        shutil.copy(file, folder / "www" / file.name.replace("image.pack", "other.pack"))
    manifest = folder / "www" / "image.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"image.pack"', b'"other.pack"'))
    (folder / "www" / "old.json").write_bytes(old)
    server.place("image.json", "/old.json")
    server.behave("image.json", "redirect", times=1)
    result = moonsinter("clone", server.url("image"), folder / "out", "--json")
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == CONTENT


@pytest.mark.parametrize("missing, status", [("image.chunks", "403"), ("image.pack", "404")])
def test_a_device_names_the_file_that_was_never_there(server, key, file_slots, make_daemon, missing, status):
    """And does not take it for a newer release, at which it would look again within seconds."""
    publish(server, key, "--pack").unlink()
    server.behave(missing, status)
    daemon = make_daemon(server.url("image"), file_slots).start()
    told = daemon.wait(lambda status: status["last_error"] and status["last_check"]["next"], "it fails")
    assert told["last_error"]["kind"] == "remote"
    assert missing in told["last_error"]["message"] and status in told["last_error"]["message"]
    assert seconds_of(told["last_check"]["next"]) - seconds_of(told["last_error"]["time"]) >= 9, told
    assert requests(server, missing) == 1 and requests(server, "image.json") == 1
