# SPDX-License-Identifier: MIT
"""Servers that are many: redirectors with a bad mirror, a CDN in the middle of a publication, answers of another length than
was asked for. `moonsinter clone` goes on until the image is whole, or until nobody can say that it will be."""
import urllib.request

import pytest

import images
from evil_server import EvilServer
from programs import assert_failed, moonsinter
from releases import make_release

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


@pytest.fixture(name="patient")
def fixture_patient(folder):
    """A release of many requests, and a function that clones it with patience."""
    content = images.noise(9_000_000, "patient")
    root = folder / "www"
    make_release(root, content, version="1", serial=1)

    class Patient:
        def __init__(self, server):
            self.server = server

        def clone(self, *options, retry_for="10min"):
            return moonsinter("clone", self.server.url("image"), folder / "out", "--stall-timeout", "5s", "--retry-for", retry_for,
                              *options, timeout=900)

        def stats(self, path="/image"):
            return self.server.stats()["paths"].get(path, {"bytes": 0, "requests": 0, "status": {}})

        def assert_whole(self, result):
            assert result.status == 0, result
            assert (folder / "out").read_bytes() == content

        def publish_pack_only(self, *options):
            make_release(root, content, version="1", serial=1, options=("--pack", *options))
            (root / "image").unlink()

        def publish_signed(self, key, pack_only):
            """Returns what a clone of it takes."""
            if pack_only:
                self.publish_pack_only("--sign", key.secret)
            else:
                make_release(root, content, version="1", serial=1, options=("--sign", key.secret))
            return "--key", key.public

        def ask(self, file):
            with urllib.request.urlopen(self.server.url(file)) as answer:
                answer.read()
    with EvilServer(root) as server:
        yield Patient(server)


@pytest.mark.parametrize("path", ["image", "image.pack"])
@pytest.mark.parametrize("behaviour", ["prefix", "widened", "if-range-200"])
def test_servers_that_answer_less_or_more_than_was_asked(patient, path, behaviour):
    """What fits is taken, and the rest asked for."""
    if path == "image.pack":
        patient.publish_pack_only()
    patient.server.behave(path, behaviour)
    result = patient.clone()
    patient.assert_whole(result)
    assert len(result.named("dl_manifest_start")) == 1, "it was begun once"
    assert "200" not in patient.stats(f"/{path}")["status"] or behaviour == "if-range-200"


@pytest.mark.parametrize("path", ["image", "image.chunks", "image.json"])
def test_a_redirector_with_a_bad_mirror(patient, path):
    """It is asked again, and leads on to another."""
    patient.server.behave(path, "mirrors")
    result = patient.clone()
    patient.assert_whole(result)
    assert len(result.named("dl_manifest_start")) == 1, "it was begun once"
    assert not result.named("table_skipped"), result
    assert patient.stats(f"/404/{path}")["requests"] > 0
    assert path != "image" or patient.stats("/200-range/image")["requests"] > 0


@pytest.mark.parametrize("behaviour", ["404-sometimes", "old-sometimes"])
def test_a_cdn_in_the_middle_of_a_publication(patient, behaviour):
    """Some of its machines have the file, and some not yet: one after the other is asked."""
    patient.server.behave("image", behaviour)
    patient.assert_whole(patient.clone())


@pytest.mark.parametrize("file", ["image.chunks", "image.pack"])
@pytest.mark.parametrize("behaviour", ["404", "old-sometimes"])
def test_a_cdn_that_has_the_rest_of_a_publication_late(patient, key, file, behaviour):
    """The manifest is new, and what it names is not there yet, or is that of the release before. Signed, so that nothing
    serves in place of the table."""
    options = patient.publish_signed(key, pack_only=file == "image.pack")
    if behaviour == "old-sometimes":
        # Which is each second time, beginning with the next.
        patient.ask(file)
        patient.server.behave(file, behaviour)
    else:
        patient.server.behave(file, behaviour, times=3)
    result = patient.clone(*options)
    patient.assert_whole(result)
    assert len(result.named("dl_manifest_start")) > 1, "it began anew"


def test_a_publication_that_does_not_end_is_waited_for(patient, folder):
    """Not four times within half a second, but as long as --retry-for says; then a sentence says what may be."""
    (folder / "www" / "image").write_bytes(images.noise(9_000_000, "another"))
    result = patient.clone(retry_for="4s")
    assert_failed(result, "image", "publication may be under way")
    assert result.seconds >= 1
    assert len(result.named("dl_manifest_start")) > 1
    told = [event for event in result.events if event["event"] in ("dl_manifest_start", "dl_manifest_retry")]
    assert all(before["event"] == "dl_manifest_retry" and before["value"] and before["retry_ms"] > 0
               for before, event in zip(told, told[1:]) if event["event"] == "dl_manifest_start"), told


@pytest.mark.parametrize("behaviour", [None, "500-sometimes", "prefix", "wrong-etag"])
def test_requests_are_counted_as_they_are_made(patient, behaviour):
    if behaviour:
        patient.server.behave("image", behaviour)
    result = patient.clone()
    patient.assert_whole(result)
    assert result.named("done")[0]["requests"] == patient.server.stats()["requests"]
