# SPDX-License-Identifier: MIT
"""What a server can do wrong and get over, met by `moonsinter clone`: the image arrives whole."""
import pytest

import images
from evil_server import EvilServer
from programs import assert_failed, moonsinter
from releases import make_release
from server_site import CONTENT, PATIENT, assert_whole, clone, evil, image_bytes  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


# --- what is to be got over ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("behaviour", ["chunked", "trailer", "hints", "fat-header", "no-length", "close", "no-etag", "weak-etag",
                                       "500-sometimes", "encoding"])
@pytest.mark.parametrize("path", ["image", "image.json", "image.chunks"])
def test_odd_but_right_answers_are_taken(evil, folder, path, behaviour):
    evil.behave(path, behaviour)
    result = clone(evil, folder, *PATIENT)
    assert_whole(result, folder)


@pytest.mark.parametrize("behaviour", ["redirect", "redirect-3", "close", "no-length"])
def test_odd_but_right_answers_for_everything_are_taken(evil, folder, behaviour):
    assert_whole(moonsinter("clone", evil.url(f"{behaviour}/image"), folder / "out", *PATIENT), folder)


@pytest.mark.patient
@pytest.mark.parametrize("behaviour", ["503", "429", "500", "502", "408", "short", "reset", "reset-now", "stall"])
def test_what_time_mends_is_tried_again(evil, folder, behaviour):
    evil.behave("image", behaviour, times=2)
    result = clone(evil, folder, "--retry-for", "30s")
    assert_whole(result, folder)
    assert image_bytes(evil) <= 2.1 * len(CONTENT)


def test_retry_after_is_honoured(evil, folder):
    evil.behave("image", "503", times=1)
    result = clone(evil, folder, *PATIENT)
    assert_whole(result, folder)
    assert result.seconds >= 0.9, "Retry-After: 1 was asked for"


def test_whole_chunks_that_came_before_the_end_are_kept(evil, folder):
    evil.behave("image", "short", times=4)
    result = clone(evil, folder, *PATIENT)
    assert_whole(result, folder)
    # Of each answer that was cut off, at most the chunk in which it was cut (128 KiB) is fetched again.
    assert image_bytes(evil) <= len(CONTENT) + 4 * (128 << 10)


@pytest.mark.patient
@pytest.mark.parametrize("behaviour", ["404", "403", "410", "500", "503", "reset-now", "garbage", "short", "stall"])
def test_a_table_that_cannot_be_had_costs_only_the_table(evil, folder, behaviour):
    evil.behave("image.chunks", behaviour)
    assert_whole(clone(evil, folder), folder)


@pytest.mark.parametrize("path", ["image.json", "image", "image.chunks"])
def test_a_web_page_is_called_one(evil, folder, path):
    """A login page of the network, say. It is not the publisher's fault."""
    evil.behave(path, "page")
    result = clone(evil, folder)
    if path == "image.chunks":
        assert_whole(result, folder)
        assert "web page" in str(result.named("table_skipped")[0]), result
    else:
        assert_failed(result, "web page", path)


# --- what ends it -------------------------------------------------------------------------------------------------

def test_an_etag_of_its_own_at_each_request_never_ends_in_a_mixture(evil, folder):
    evil.behave("image", "wrong-etag")
    result = clone(evil, folder)
    if result.status == 0:
        assert (folder / "out").read_bytes() == CONTENT
    else:
        assert_failed(result)


def test_requests_at_a_time_are_bounded(folder):
    root = folder / "www"
    make_release(root, images.noise(20_000_000, "bounded"))
    with EvilServer(root) as server:
        assert moonsinter("clone", server.url("image"), folder / "out").status == 0
        assert server.stats()["peak"] <= 8
        assert server.stats()["connections"] <= 16
