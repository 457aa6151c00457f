# SPDX-License-Identifier: MIT
"""Servers that an image cannot be had from, met by `moonsinter clone`: one sentence says why not."""
import time

import pytest

import images
import programs
from evil_server import EvilServer
from programs import assert_failed, moonsinter
from releases import make_release
from server_site import CONTENT, IMPATIENT, assert_whole, clone, evil, image_bytes  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]

# What an error is of, by behaviour; its sentences are those of tests/unit/test_http_answer.c and test_http.c.
STATUSES = ["404", "403", "401", "410", "501", "505", "511", "304"]
PERMANENT = {
    **dict.fromkeys(STATUSES, "remote"), "200-range": "remote", "wrong-range": "remote", "wrong-total": "remote",
    "no-content-range": "remote", "multipart": "remote", "lying-length": "remote", "gzip": "remote", "redirect-loop": "remote",
    "redirect-file": "remote", "redirect-nowhere": "remote", "garbage": "remote", "padded": "remote", "padding": "remote",
    "trailing": "mismatch", "long": "mismatch", "endless": "mismatch", "endless-header": "refused", "endless-line": "refused",
}


@pytest.mark.parametrize("behaviour", PERMANENT)
def test_an_image_that_cannot_be_had_is_one_sentence(evil, folder, behaviour):
    evil.behave("image", behaviour)
    result = clone(evil, folder)
    sentence = assert_failed(result, kind=PERMANENT[behaviour])
    assert "127.0.0.1" in sentence and "/image" in sentence and (behaviour not in STATUSES or behaviour in sentence)
    # No run may cost the network much more than the image.
    assert image_bytes(evil) < 40 << 20
    assert evil.stats()["paths"]["/image"]["requests"] < 60
    evil.behave("image", None)
    assert_whole(clone(evil, folder), folder)


@pytest.mark.patient
@pytest.mark.parametrize("behaviour", ["500", "503", "429", "short", "reset-now", "silent", "stall", "slow"])
def test_what_time_does_not_mend_ends_in_the_end(evil, folder, behaviour):
    evil.behave("image", behaviour)
    result = clone(evil, folder)
    assert_failed(result, "127.0.0.1")
    assert result.seconds < 30 * programs.PATIENCE
    evil.behave("image", None)
    assert_whole(clone(evil, folder), folder)


@pytest.mark.parametrize("path, behaviour", [
    ("image.json", "404"), ("image.json", "garbage"), ("image.json", "short"), ("image", "404"), ("image", "wrong-total"),
    ("image", "200-range"), ("image", "reset-now"), ("image", "stall"), ("image", "redirect-loop"),
    ("image.chunks", "404"), (None, None)])
def test_a_password_in_the_address_is_not_repeated(evil, folder, path, behaviour):
    if path:
        evil.behave(path, behaviour)
    else:
        (folder / "www" / "image").write_bytes(images.noise(len(CONTENT), "other"))
    url = evil.url("image").replace("://", "://user:s3cret@")
    result = moonsinter("clone", url, folder / "out", *IMPATIENT)
    assert result.status == (0 if path == "image.chunks" else 1)
    assert "s3cret" not in result.stderr + result.stdout


def test_one_byte_a_second_does_not_hold_it_for_ever(evil, folder):
    evil.behave("image", "slow")
    begin = time.monotonic()
    assert_failed(clone(evil, folder), "127.0.0.1")
    assert time.monotonic() - begin < 30 * programs.PATIENCE


@pytest.mark.parametrize("behaviour", ["changing", "changing-size"])
def test_an_image_that_changes_under_way_is_noticed(folder, behaviour):
    root = folder / "www"
    make_release(root, images.noise(12_000_000, "changes"))
    with EvilServer(root) as server:
        server.behave("image", behaviour)
        assert_failed(moonsinter("clone", server.url("image"), folder / "out", *IMPATIENT), "127.0.0.1")
        assert server.stats()["paths"]["/image"]["requests"] > 2
