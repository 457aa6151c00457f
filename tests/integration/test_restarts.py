# SPDX-License-Identifier: MIT
"""An image that is replaced between its manifest and its bytes: begun anew, and counted in full."""
import http.server
import re
import threading

import pytest

import images
from programs import moonsinter
from releases import make_release

pytestmark = pytest.mark.sanitized


class Replaced(http.server.BaseHTTPRequestHandler):
    """Has the old manifest for the first who asks, and the new release otherwise; counts what it sends."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        name = self.path.lstrip("/")
        release = self.server.old if name == "image.json" and not self.server.sent else self.server.new
        body = release.with_name(name).read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.send_response(206 if wanted else 200)
        if wanted:
            first, last = int(wanted[1]), int(wanted[2])
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            body = body[first:last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.sent.append(len(body))

    def log_message(self, *_):
        pass


@pytest.fixture
def server(folder):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replaced) as running:
        running.old = make_release(folder / "old", images.noise(200_000, "old"))
        running.new = make_release(folder / "new", images.noise(210_000, "new"))
        running.sent = []
        threading.Thread(target=running.serve_forever).start()
        yield running
        running.shutdown()


def test_what_was_in_vain_is_counted(server, folder):
    url = f"http://127.0.0.1:{server.server_address[1]}/image"
    result = moonsinter("clone", url, folder / "out", "--connections", "1")
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == server.new.read_bytes()
    assert len(result.named("dl_manifest_start")) == 2
    done = result.events[-1]
    assert done["total_bytes_downloaded"] == sum(server.sent), server.sent
    assert done["requests"] == len(server.sent)
