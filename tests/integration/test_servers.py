# SPDX-License-Identifier: MIT
"""Everything a server can do wrong, met by `moonsinter clone`: the image arrives whole or one sentence says why not."""
import http.server
import threading
import time

import pytest

import images
import programs
from evil_server import EvilServer
from fleet import Authority
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest

pytestmark = pytest.mark.sanitized

# A test cannot wait two minutes for a peer that says nothing.
IMPATIENT = ("--stall-timeout", "1s", "--retry-for", "4s")

CONTENT = images.noise(1_500_000, "evil")


@pytest.fixture
def evil(folder):
    root = folder / "www"
    make_release(root, CONTENT, version="1", serial=1)
    with EvilServer(root) as server:
        yield server


def clone(evil, folder, *options):
    return moonsinter("clone", evil.url("image"), folder / "out", *IMPATIENT, *options, timeout=60)


def image_bytes(evil):
    return evil.stats()["paths"].get("/image", {"bytes": 0})["bytes"]


def assert_whole(result, folder):
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == CONTENT


# --- what is to be got over ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("behaviour", ["chunked", "trailer", "hints", "fat-header", "no-length", "close", "no-etag", "weak-etag",
                                       "500-sometimes", "encoding"])
@pytest.mark.parametrize("path", ["image", "image.json", "image.chunks"])
def test_odd_but_right_answers_are_taken(evil, folder, path, behaviour):
    evil.behave(path, behaviour)
    result = clone(evil, folder)
    assert_whole(result, folder)


@pytest.mark.parametrize("behaviour", ["redirect", "redirect-3", "close", "no-length"])
def test_odd_but_right_answers_for_everything_are_taken(evil, folder, behaviour):
    assert_whole(moonsinter("clone", evil.url(f"{behaviour}/image"), folder / "out", *IMPATIENT), folder)


@pytest.mark.patient
@pytest.mark.parametrize("behaviour", ["503", "429", "500", "502", "408", "short", "reset", "reset-now", "stall"])
def test_what_time_mends_is_tried_again(evil, folder, behaviour):
    evil.behave("image", behaviour, times=2)
    result = clone(evil, folder, "--retry-for", "30s")
    assert_whole(result, folder)
    assert image_bytes(evil) <= 2.1 * len(CONTENT)


def test_retry_after_is_honoured(evil, folder):
    evil.behave("image", "503", times=1)
    result = clone(evil, folder, "--retry-for", "30s")
    assert_whole(result, folder)
    assert result.seconds >= 0.9, "Retry-After: 1 was asked for"


def test_whole_chunks_that_came_before_the_end_are_kept(evil, folder):
    evil.behave("image", "short", times=4)
    result = clone(evil, folder, "--retry-for", "20s")
    assert_whole(result, folder)
    # Of each answer that was cut off, at most the chunk in which it was cut (128 KiB) is fetched again.
    assert image_bytes(evil) <= len(CONTENT) + 4 * (128 << 10)


@pytest.mark.patient
@pytest.mark.parametrize("behaviour", ["404", "403", "410", "500", "503", "reset-now", "garbage", "short", "stall"])
def test_a_table_that_cannot_be_had_costs_only_the_table(evil, folder, behaviour):
    evil.behave("image.chunks", behaviour)
    assert_whole(clone(evil, folder), folder)


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

        def publish_pack_only(self):
            make_release(root, content, version="1", serial=1, options=("--pack",))
            (root / "image").unlink()
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


@pytest.mark.parametrize("behaviour", [None, "500-sometimes", "prefix", "wrong-etag"])
def test_requests_are_counted_as_they_are_made(patient, behaviour):
    if behaviour:
        patient.server.behave("image", behaviour)
    result = patient.clone()
    patient.assert_whole(result)
    assert result.named("done")[0]["requests"] == patient.server.stats()["requests"]


# --- what ends it -------------------------------------------------------------------------------------------------

PERMANENT = {
    "404": "404", "403": "403", "401": "401", "410": "410", "501": "501", "505": "505", "511": "511", "200-range": "range", "wrong-range": "bytes",
    "wrong-total": "bytes", "no-content-range": "range", "multipart": ("range", "multipart"),
    "long": "", "lying-length": "", "gzip": ("encod", "compress", "gzip"),
    "redirect-loop": "redirect", "redirect-file": ("redirect", "scheme", "protocol", "file"),
    "redirect-nowhere": "", "endless": "", "endless-header": "", "endless-line": "", "304": "",
    "garbage": "HTTP", "padded": "beside the body", "padding": "beside the body", "trailing": "sent more",
}


@pytest.mark.parametrize("behaviour", PERMANENT)
def test_an_image_that_cannot_be_had_is_one_sentence(evil, folder, behaviour):
    evil.behave("image", behaviour)
    result = clone(evil, folder)
    sentence = assert_failed(result, PERMANENT[behaviour])
    assert "127.0.0.1" in sentence and "image" in sentence
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


MANIFEST = {"404": "404", "403": "403", "410": "410", "gzip": ("encod", "compress", "gzip"), "short": "", "long": "",
            "redirect-loop": "redirect", "redirect-file": "", "redirect-nowhere": "", "endless": "",
            "endless-header": "", "endless-line": "", "garbage": "", "reset-now": "", "304": "", "silent": "",
            "stall": "", "slow": "", "500": "500", "503": "503"}


@pytest.mark.parametrize("behaviour", MANIFEST)
def test_a_manifest_that_cannot_be_had_is_one_sentence(evil, folder, behaviour):
    evil.behave("image.json", behaviour)
    result = clone(evil, folder)
    sentence = assert_failed(result, MANIFEST[behaviour])
    assert "image.json" in sentence
    assert result.named("dl_manifest_failed"), result
    assert not (folder / "out").exists()
    assert result.seconds < 30 * programs.PATIENCE
    assert image_bytes(evil) == 0


def test_nobody_listening_is_one_sentence(folder):
    with EvilServer(folder) as server:
        url = server.url("image")
    assert_failed(moonsinter("clone", url, folder / "out", *IMPATIENT), "127.0.0.1")


def test_a_name_that_does_not_resolve_is_one_sentence(folder):
    assert_failed(moonsinter("clone", "http://no-such-host.invalid/image", folder / "out", *IMPATIENT, timeout=60),
                  "no-such-host.invalid")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/image", "image", "http://", "",
                                 "http://127.0.0.1:99999/image", "gopher://127.0.0.1/image", "/etc/hostname"])
def test_other_schemes_and_broken_addresses_are_refused(folder, url):
    result = moonsinter("clone", url, folder / "out", *IMPATIENT)
    assert result.status in (1, 2) and result.stderr.strip(), result
    assert not (folder / "out").exists()


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


@pytest.mark.parametrize("behaviour", ["changing", "changing-size"])
def test_an_image_that_changes_under_way_is_noticed(folder, behaviour):
    root = folder / "www"
    make_release(root, images.noise(12_000_000, "changes"))
    with EvilServer(root) as server:
        server.behave("image", behaviour)
        assert_failed(moonsinter("clone", server.url("image"), folder / "out", *IMPATIENT), "127.0.0.1")
        assert server.stats()["paths"]["/image"]["requests"] > 2


def test_an_etag_of_its_own_at_each_request_never_ends_in_a_mixture(evil, folder):
    evil.behave("image", "wrong-etag")
    result = clone(evil, folder)
    if result.status == 0:
        assert (folder / "out").read_bytes() == CONTENT
    else:
        assert_failed(result)


def test_one_byte_a_second_does_not_hold_it_for_ever(evil, folder):
    evil.behave("image", "slow")
    begin = time.monotonic()
    assert_failed(clone(evil, folder), "127.0.0.1")
    assert time.monotonic() - begin < 30 * programs.PATIENCE


@pytest.mark.parametrize("file", ["image.json", "image.chunks", "image"])
@pytest.mark.parametrize("body", ["endless", "huge", "drip"])
def test_the_body_of_a_redirect_has_an_end(evil, folder, file, body):
    """It is nothing that anybody asked for, and curl reads it for as long as it comes."""
    evil.behave(file, f"redirect-{body}")
    # Nothing new within --retry-for, or more than a redirect may have, whichever comes first.
    result = clone(evil, folder)
    if file == "image.chunks":
        assert_whole(result, folder)
        assert result.named("table_skipped"), result
    else:
        assert_failed(result, file, "timeout" if (file, body) == ("image.json", "drip") else ("redirect", "nothing new"))
    assert evil.stats()["paths"][f"/{file}"]["bytes"] < 64 << 20


def test_a_manifest_that_drips_ends(evil, folder):
    evil.behave("image.json", "drip")
    assert_failed(clone(evil, folder), "timeout", "image.json")


@pytest.mark.parametrize("behaviour, bytes_beside", [("padded", 60_000), ("fat-header", 56_000)])
def test_bytes_that_are_of_no_body_are_counted(evil, folder, behaviour, bytes_beside):
    evil.behave("image.json", behaviour)
    result = clone(evil, folder)
    assert_whole(result, folder)
    assert result.named("done")[0]["total_bytes_downloaded"] >= len(CONTENT) + bytes_beside


def test_bytes_that_are_of_no_body_within_tls(folder):
    """There a connection may hold more than the kernel knows of, and hands it on record by record."""
    root, authority = folder / "www", Authority(folder / "authority")
    make_release(root, CONTENT, version="1", serial=1)
    with EvilServer(root, tls=authority.issue("server")) as evil:
        evil.behave("image", "padding")
        assert_failed(clone(evil, folder, "--ca-file", authority.pem), "beside the body")
        evil.behave("image", "chunked")
        assert_whole(clone(evil, folder, "--ca-file", authority.pem), folder)


def test_parts_that_drip_have_one_deadline(evil, folder):
    """Each of them is in time, 4 KiB in 7.3 s; all of them would take as long as there are parts. Of a section of the pack,
    for a whole file has one answer."""
    image = make_release(evil.root, images.noise(16_000_000, "parts"), version="1", serial=1, options=("--average", "1K", "--pack"))
    size = read_manifest(image)["moonsinter"]["pack"]["frames"]["size"]
    # It may take 8 s, and 1 KiB/s; at 560 bytes/s one of its parts ends between that and its own end.
    assert size / 560 - (8 + size / 1024) > 8
    evil.behave("image.pack", "parts-drip")
    result = moonsinter("clone", evil.url("image"), folder / "out", "--stall-timeout", "2s", "--retry-for", "60s", timeout=120)
    assert_failed(result, "timeout", "image.pack")
    assert evil.stats()["paths"]["/image.pack"]["bytes"] < size, "it came, in the end"


def test_requests_at_a_time_are_bounded(folder):
    root = folder / "www"
    make_release(root, images.noise(20_000_000, "bounded"))
    with EvilServer(root) as server:
        assert moonsinter("clone", server.url("image"), folder / "out").status == 0
        assert server.stats()["peak"] <= 8
        assert server.stats()["connections"] <= 16


def test_credentials_do_not_follow_a_redirect_to_another_host(folder):
    """A redirect to another origin must not carry the address's user and password there."""
    seen = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_error(404)

        def log_message(self, *arguments):
            pass
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()

    class First(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{other.server_port}/image.json")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass
    first = http.server.ThreadingHTTPServer(("127.0.0.1", 0), First)
    threading.Thread(target=first.serve_forever, daemon=True).start()
    try:
        result = moonsinter("clone", f"http://user:s3cret@127.0.0.1:{first.server_port}/image", folder / "out",
                            *IMPATIENT)
        assert result.status == 1
        assert seen == [] or set(seen) == {None}
    finally:
        for server in (first, other):
            server.shutdown()
            server.server_close()
