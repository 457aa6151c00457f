# SPDX-License-Identifier: MIT
"""Attacks by answers without end or shame: the old slot goes on booting and the error names the reason."""
import pytest

from attack_scene import NEW, scene  # noqa: F401 (fixtures)
from evil_server import EvilServer
from fleet import Authority


def test_endless_manifest(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave("image.json", "endless")
    scene.assert_refused(["refused"], "image.json", "sent more", "allowed")


def test_endless_signature(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave("image.json.minisig", "endless")
    scene.assert_refused(["refused"], "not signed", "sent more", "allowed")


def test_endless_chunk(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave("image", "endless")
    scene.assert_refused(["mismatch"], "/image", "sent more", "asked for")


@pytest.mark.parametrize("file", ["image.json", "image.json.minisig", "image.chunks", "image"])
@pytest.mark.parametrize("body", ["endless", "huge"])
def test_a_redirect_with_an_endless_body(scene, file, body):
    """Of which curl tells nobody."""
    scene.start()
    scene.release(NEW, "3", 3)
    scene.server.behave(file, f"redirect-{body}")
    kinds = {"image.json.minisig": ["refused"]}.get(file, ["remote"])
    scene.assert_refused(kinds, file, "redirect at", "has a body of more than 16384 bytes")
    assert scene.server.stats()["paths"][f"/{file}"]["bytes"] < 64 << 20


@pytest.mark.parametrize("file", ["image.json", "image.json.minisig", "image.chunks", "image"])
@pytest.mark.parametrize("behaviour", ["padding", "trailing", "padding-drip"])
def test_bytes_that_are_of_no_body(scene, file, behaviour):
    """Extensions of chunks and trailers, which curl reads and hands to nobody."""
    scene.start(Transfer={"StallTimeout": "1s"} if behaviour == "padding-drip" else {})
    scene.release(NEW, "3", 3)
    scene.server.behave(file, behaviour)
    before = scene.server.stats()["bytes"]
    words, kind = {"padding": ("beside the body", "remote"), "trailing": ("sent more", "refused"),
                   "padding-drip": ("", "network")}[behaviour]
    if behaviour == "trailing" and file == "image":
        kind = "mismatch"
    if file == "image.json.minisig" and behaviour != "padding-drip":
        kind = "refused"
    scene.assert_refused([kind], file, words, timeout=300)
    # Read are some MB before anybody looks; the server's and the kernel's own buffers hold some more.
    assert scene.server.stats()["bytes"] - before < 128 << 20


@pytest.mark.parametrize("file, behaviour", [("image.json", "redirect-drip"), ("image.json.minisig", "redirect-drip"),
                                             ("image.chunks", "redirect-drip"), ("image", "redirect-drip"), ("image.json", "drip")])
def test_an_answer_that_drips(scene, file, behaviour):
    """Fast enough not to stall: a small file has a deadline as a whole, and a redirect little to say. A range of the image
    takes its time, for a slow line is not a dead one."""
    scene.start(Transfer={"StallTimeout": "1s"})
    scene.release(NEW, "3", 3)
    scene.server.behave(file, behaviour)
    kinds = ["remote"] if file == "image" else ["network"]
    scene.assert_refused(kinds, file, "has a body" if file == "image" else "timeout", timeout=300)


def test_a_redirect_to_plain_http(scene, folder):
    authority = Authority(folder / "authority")
    scene.start()
    scene.release(NEW, "3", 3)
    assert scene.daemon.stop() == 0
    with EvilServer(scene.root, tls=authority.issue("server")) as server:
        scene.daemon.settings["Update"]["Url"] = server.url(
            f"redirect/image?to=http://127.0.0.1:{scene.server.port}/image.json")
        scene.daemon.settings["Transfer"] = {"CaFile": authority.pem}
        scene.daemon.write_config()
        scene.daemon.start()
        status = scene.daemon.wait(lambda status: status["last_error"], "it is refused")
        assert status["last_error"]["kind"] == "refused", status["last_error"]
        assert "https to plain http" in status["last_error"]["message"]
        scene.assert_old_slot_boots(scene.daemon.status())
