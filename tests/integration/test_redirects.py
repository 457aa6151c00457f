# SPDX-License-Identifier: MIT
"""Redirects whose body does not end, bytes that are of no body, parts that drip, and what a redirect must not carry to another
host."""
import http.server
import threading

import pytest

import images
from evil_server import EvilServer
from fleet import Authority
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest
from server_site import CONTENT, IMPATIENT, PATIENT, assert_whole, clone, evil  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


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
        assert_failed(clone(evil, folder, "--ca-file", authority.pem), kind="remote")
        evil.behave("image", "chunked")
        assert_whole(clone(evil, folder, "--ca-file", authority.pem, *PATIENT), folder)


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
