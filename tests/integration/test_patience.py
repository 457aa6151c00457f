"""What a server has not got now: what is waited for, for how long, what is said meanwhile and at the end."""
import shutil

import pytest

import images
import web
from evil_server import EvilServer
from keys import Key
from programs import assert_failed, moonsinter
from releases import make_release

pytestmark = pytest.mark.sanitized

CONTENT = images.noise(1_500_000, "patience")


@pytest.fixture
def key(folder):
    return Key(folder / "publisher")


@pytest.fixture
def server(folder):
    (folder / "www").mkdir()
    with EvilServer(folder / "www") as made:
        yield made


def publish(server, key, *options):
    return make_release(server.root, CONTENT, version="1", serial=1, options=("--sign", key.secret, *options))


def requests(server, name):
    return server.stats()["paths"].get(f"/{name}", {"requests": 0})["requests"]


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


def test_a_server_that_is_not_there_is_waited_for_where_that_was_asked(folder):
    url = f"http://127.0.0.1:{web.free_port()}/image"
    assert_failed(result := moonsinter("clone", url, folder / "out", "--json"), "127.0.0.1")
    assert not result.named("dl_manifest_retry")
    assert_failed(result := moonsinter("clone", url, folder / "out", "--retry-for", "3s", "--json"), "127.0.0.1")
    assert result.named("dl_manifest_retry")


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
