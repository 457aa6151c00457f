#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A loopback web server that misbehaves on request, for tests. Standard library only.

    server = EvilServer(root)            # or EvilServer(root, tls=(cert_file, key_file))
    server.start(); ... server.url("image.json") ...; server.stop()      # or: with EvilServer(root) as server:
    server.behave("image", "short", times=2)     # for this path only
    server.stats()                       # what /__stats answers, as a dict

    evil_server.py --root DIR [--port 0] [--tls-cert F --tls-key F] [--behave PATH=NAME[:TIMES]]...
                                         # prints the port, serves until stdin ends or SIGTERM

Without any behaviour it is a correct static server: GET and HEAD, one range, If-Range, If-None-Match,
If-Modified-Since, ETag (from content), Last-Modified, keep-alive.

A behaviour is chosen by the first folder of the URL (/short/image is root/image with the behaviour "short"), or by
behave(). With ?times=N only the first N requests of that path are affected; later ones are served correctly.

  200-range       ignores Range and If-Range: 200 and the whole file
  wrong-range     206 whose Content-Range (and body) is one byte further on
  wrong-total     206 whose Content-Range names a total size one larger
  wrong-etag      206 with an ETag of its own at each request, If-Range ignored
  no-content-range  206 without Content-Range
  multipart       206 as multipart/byteranges
  short           half the body that Content-Length announces, then the end
  long            no Content-Length, and 1000 bytes too many
  lying-length    a Content-Length 1000 bytes too large, with as many bytes
  gzip            Content-Encoding: gzip
  chunked         correct, in chunks
  trailer         correct, in chunks, with a trailer that looks like another answer's header
  hints           correct, after a 103 with another file's header
  no-length       correct, without Content-Length, ended by closing
  close           correct, without keep-alive
  no-etag         correct, without ETag and Last-Modified, conditions ignored
  weak-etag       correct, with a weak ETag (If-Range never matches)
  changing        after ?after=N requests (2) of the path, other content of the same size and another ETag
  changing-size   like changing, but the other content is one byte longer
  redirect        302 to the same file, served correctly, or to ?to=URL
  redirect-loop   302 to itself, for ever
  redirect-file   302 to file:///etc/hostname
  redirect-nowhere  302 without Location
  redirect-N      N redirects, then the file
  redirect-endless  302 to the same file, served correctly, with a body without end (1 GiB), in chunks
  redirect-huge   like redirect-endless, but with a Content-Length of 10^12
  redirect-drip   like redirect-huge, but 128 bytes each fifth of a second
  padded          correct, in chunks of 4096 bytes with an extension of 60 KB each
  padding         like padded, but the first extension has no end (1 GiB)
  padding-drip    like padding, but 128 bytes each fifth of a second
  byte-chunks     correct, in chunks of one byte each
  trailing        correct, in chunks, with trailers without end (1 GiB)
  fat-header      correct, with a header of 60 KB
  parts-drip      to a request for less than 64 KiB, 206 with only the first 4 KiB of it, 112 bytes each fifth of a second
  prefix          206 with the first 64 KiB of what was asked for
  widened         206 with the blocks of 256 KiB around what was asked for, as some caches do
  if-range-200    200 and the whole file to any If-Range
  mirrors         302 to the same file, served correctly; but requests 1, 4, 7, ... by turns to one that is missing, and
                  to one that is served as by 200-range
  404-sometimes   404 at each second request
  old-sometimes   at each second request another content of the same size with another ETag, whatever If-Range says
  page            200 with a web page
  encoding        correct, with "Content-Encoding: aws-chunked" (?coding=TEXT), which does not change the body
  drip            128 bytes each fifth of a second, of a body of at least 12 MiB (or of the range)
  reset           half the body, then a TCP reset
  reset-now       a TCP reset instead of an answer
  slow            one byte a second
  silent          accepts, reads the request, never answers
  stall           header and half the body, then nothing
  endless         a body without end (1 GiB)
  endless-header  header lines without end (64 MiB)
  endless-line    one header line without end (64 MiB)
  echo            200 with the request's own header lines as the body
  garbage         bytes that are not HTTP
  304             304 whatever was asked
  503, 429        with "Retry-After: 1" (?retry=TEXT), for the first 2 requests (?times=N)
  404, 403, ...   that status, always, with a small body
  500-sometimes   500 at each second request

As a proxy for https it lets nobody through, with a body without end.

After demand(TOKEN), requests whose query does not contain TOKEN get 403. After place(PATH, URL), "redirect" of PATH leads
to URL. `asked` lists all requests: path with query, and the header Authorization.

/__stats answers JSON: "requests", "bytes" (body bytes handed to the kernel), "peak" (most requests at the same
time), "connections" (accepted), and "paths": path -> {"requests", "bytes", "ranges", "status": {code: count}}; /__reset
clears it. A path is that of the URL, behaviour included, query excluded; these two are not counted.
"""

import argparse
import email.utils
import gzip
import hashlib
import http.server
import json
import os
import re
import socket
import ssl
import struct
import sys
import threading
import urllib.parse

PIECE = 64 * 1024
ENDLESS_BODY = 1 << 30
ENDLESS_HEADER = 64 << 20


class Answer:
    """An answer before it is sent, which a behaviour changes: status, header and body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body
        self.range = None  # first and last byte, and size of the file

    def set_range(self, first, last, total):
        """Says that the body is these bytes of the file, whatever it is."""
        self.range = first, last, total
        return self.set(Content_Length=len(self.body), Content_Range="bytes %d-%d/%d" % self.range)

    def set(self, **headers):
        for name, value in headers.items():
            name = name.replace("_", "-")
            self.headers.pop(name, None)
            if value is not None:
                self.headers[name] = value
        return self


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def handle(self):
        try:
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.do_handshake()
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def do_CONNECT(self):
        """As a proxy it wants a password, and talks on and on about it."""
        self.wfile.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 1000000000000\r\n\r\n")
        self.send_endless(b"p" * PIECE, ENDLESS_BODY, False)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.url_path = urllib.parse.unquote(url.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        if self.url_path in ("/__stats", "/__reset"):
            self.send_stats()
            return
        self.server.evil.saw(self.path, self.headers.get("Authorization"))
        behaviour, name, times = self.choose()
        self.file = os.path.join(self.server.evil.root, os.path.normpath("/" + name).lstrip("/"))
        self.number = self.server.evil.begin(self.url_path, self.headers.get("Range"))
        try:
            if times is not None and self.number > times:
                behaviour = None
            if self.server.evil.token and self.server.evil.token not in url.query:
                self.send_status(403)
            elif behaviour is None:
                self.send(self.answer())
            elif behaviour.isdigit() and behaviour not in ("304", "503", "429"):
                self.send_status(int(behaviour))
            elif behaviour.startswith("redirect-") and behaviour[9:].isdigit():
                self.redirect_count(int(behaviour[9:]), name)
            else:
                getattr(self, "evil_" + behaviour.replace("-", "_"))()
        finally:
            self.server.evil.end()

    def send_stats(self):
        """Answers /__stats and /__reset, which are not counted."""
        body = json.dumps(self.server.evil.stats()).encode()
        if self.url_path == "/__reset":
            self.server.evil.reset_stats()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def choose(self):
        """Returns the behaviour for this request, the file's name below the root, and how many requests are affected."""
        times = int(self.query["times"]) if "times" in self.query else None
        name = self.url_path.lstrip("/")
        rule = self.server.evil.rule(name)
        if rule:
            return rule[0], name, rule[1] if times is None else times
        first, _, rest = name.partition("/")
        if rest and is_behaviour(first):
            if first in ("503", "429") and times is None:
                times = 2
            return first, rest, times
        return None, name, None

    # ---- the correct answer ----

    def read(self):
        try:
            with open(self.file, "rb") as file:
                return file.read()
        except (OSError, ValueError):
            return None

    def answer(self, data=None, etag=None, ranges=True, conditions=True):
        data = self.read() if data is None else data
        if data is None:
            return self.status_answer(404)
        etag = etag or '"%s"' % hashlib.sha256(data).hexdigest()[:32]
        modified = email.utils.formatdate(os.stat(self.file).st_mtime, usegmt=True)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": etag,
                   "Last-Modified": modified}
        known = self.headers.get("If-None-Match")
        since = self.headers.get("If-Modified-Since")
        if conditions and (weak(etag) in map(weak, (known or "").split(", ")) or (not known and since == modified)):
            return Answer(304, headers, b"")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if_range = self.headers.get("If-Range")
        if not wanted or not ranges or (conditions and if_range and (if_range != etag or etag.startswith("W/"))):
            return Answer(200, headers, data).set(Content_Length=len(data))
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if first >= len(data) or last < first:
            return self.status_answer(416).set(Content_Range="bytes */%d" % len(data))
        return Answer(206, headers, data[first:last + 1]).set_range(first, last, len(data))

    def status_answer(self, status):
        body = b"status %d\n" % status
        return Answer(status, {"Content-Type": "text/plain", "Content-Length": len(body)}, body)

    def shortened(self, size):
        """The correct answer; of a range only the first `size` bytes."""
        answer = self.answer()
        if answer.range:
            first, _, total = answer.range
            answer.body = answer.body[:size]
            answer.set_range(first, first + len(answer.body) - 1, total)
        return answer

    # ---- sending ----

    def send_head(self, answer):
        self.server.evil.count_status(self.url_path, answer.status)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, str(value))
        if "Content-Length" not in answer.headers and "Transfer-Encoding" not in answer.headers \
                and answer.status not in (304, 204):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def send_body(self, body):
        if self.command == "HEAD":
            return
        for start in range(0, len(body), PIECE):
            piece = body[start:start + PIECE]
            self.wfile.write(piece)
            self.server.evil.count_bytes(self.url_path, len(piece))

    def send(self, answer):
        self.send_head(answer)
        self.send_body(answer.body)

    def send_half(self):
        answer = self.answer()
        self.send_head(answer)
        self.send_body(answer.body[:len(answer.body) // 2])

    def begin_chunks(self, answer):
        self.send_head(answer.set(Content_Length=None, Transfer_Encoding="chunked"))

    def send_status(self, status, **headers):
        self.send(self.status_answer(status).set(**headers))

    def reset(self):
        """Ends the connection with RST instead of FIN, at once."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def wait_for_end(self):
        """Sends nothing more, until the client leaves or the server stops."""
        self.close_connection = True
        while not self.server.evil.stopping.is_set():
            self.connection.settimeout(0.2)
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue

    # ---- the behaviours ----

    def evil_200_range(self):
        self.send(self.answer(ranges=False))

    def evil_wrong_range(self):
        answer = self.answer()
        if answer.range:
            first, last, total = answer.range
            answer.body = answer.body[1:] + b"?"
            answer.set_range(first + 1, last + 1, max(total, last + 2))
        self.send(answer)

    def evil_wrong_total(self):
        answer = self.answer()
        if answer.range:
            first, last, total = answer.range
            answer.set_range(first, last, total + 1)
        self.send(answer)

    def evil_wrong_etag(self):
        self.send(self.answer(conditions=False).set(ETag='"request-%d"' % self.number))

    def evil_no_content_range(self):
        self.send(self.answer().set(Content_Range=None))

    def evil_multipart(self):
        answer = self.answer()
        if answer.status == 206:
            answer.body = b"--cut\r\nContent-Range: %s\r\n\r\n%s\r\n--cut--\r\n" % (
                answer.headers["Content-Range"].encode(), answer.body)
            answer.set(Content_Range=None, Content_Type="multipart/byteranges; boundary=cut",
                       Content_Length=len(answer.body))
        self.send(answer)

    def evil_short(self):
        self.send_half()
        self.close_connection = True

    def evil_long(self):
        answer = self.answer().set(Content_Length=None)
        self.send_head(answer)
        self.send_body(answer.body + b"+" * 1000)

    def evil_lying_length(self):
        answer = self.answer()
        self.send(Answer(answer.status, answer.headers, answer.body + b"+" * 1000)
                  .set(Content_Length=len(answer.body) + 1000))

    def evil_gzip(self):
        answer = self.answer()
        answer.body = gzip.compress(answer.body)
        self.send(answer.set(Content_Encoding="gzip", Content_Length=len(answer.body)))

    def send_chunked(self, answer, trailer):
        self.begin_chunks(answer)
        for start in range(0, len(answer.body), 1000):
            piece = answer.body[start:start + 1000]
            self.wfile.write(b"%x\r\n" % len(piece))
            self.send_body(piece)
            self.wfile.write(b"\r\n")
        self.wfile.write(b"0\r\n" + trailer + b"\r\n")

    def evil_chunked(self):
        self.send_chunked(self.answer(), b"")

    def evil_trailer(self):
        self.send_chunked(self.answer(), b'ETag: "trailer"\r\nHTTP/1.1 404: Not Found\r\nContent-Encoding: gzip\r\n')

    def evil_hints(self):
        self.wfile.write(b'HTTP/1.1 103 Early Hints\r\nETag: "hint"\r\nContent-Encoding: gzip\r\nRetry-After: 9\r\n\r\n')
        self.send(self.answer())

    def evil_no_length(self):
        self.send(self.answer().set(Content_Length=None))

    def evil_close(self):
        self.close_connection = True
        self.send(self.answer().set(Connection="close"))

    def evil_no_etag(self):
        self.send(self.answer(conditions=False).set(ETag=None, Last_Modified=None))

    def evil_weak_etag(self):
        data = self.read() or b""
        self.send(self.answer(etag='W/"%s"' % hashlib.sha256(data).hexdigest()[:32]))

    def changed(self, longer):
        data = self.read()
        if data is not None and self.number > int(self.query.get("after", "2")):
            data = bytes(byte ^ 0xff for byte in data) + longer
        self.send(self.answer(data))

    def evil_changing(self):
        self.changed(b"")

    def evil_changing_size(self):
        self.changed(b"!")

    def redirect_to(self, place):
        self.send_status(302, Location=place)

    def redirect_count(self, count, name):
        self.redirect_to("/redirect-%d/%s" % (count - 1, name) if count > 1 else "/" + name)

    def evil_redirect(self):
        place = self.query.get("to") or self.server.evil.places.get(self.url_path)
        self.redirect_to(place or "/" + self.url_path.split("/", 2)[2])

    def evil_redirect_loop(self):
        self.redirect_to(self.url_path)

    def evil_redirect_file(self):
        self.redirect_to("file:///etc/hostname")

    def evil_redirect_nowhere(self):
        self.send_status(302)

    def redirect_with_body(self, **headers):
        self.send_head(self.status_answer(302).set(Location=self.url_path + "?times=0", **{"Content_Length": None, **headers}))

    def evil_redirect_endless(self):
        self.redirect_with_body(Transfer_Encoding="chunked")
        self.send_endless(b"%x\r\n%s\r\n" % (PIECE, b"r" * PIECE), ENDLESS_BODY, True)

    def evil_redirect_huge(self):
        self.redirect_with_body(Content_Length=10 ** 12)
        self.send_endless(b"r" * PIECE, ENDLESS_BODY, True)

    def evil_redirect_drip(self):
        self.redirect_with_body(Content_Length=10 ** 12)
        self.send_drops(10 ** 12)

    def evil_drip(self):
        answer = self.answer()
        size = max(len(answer.body), 12 << 20) if answer.status == 200 else len(answer.body)
        self.send_head(answer.set(Content_Length=size))
        self.send_drops(size)

    def send_drops(self, size):
        self.close_connection = True
        while size > 0 and not self.server.evil.stopping.wait(0.2):
            self.send_body(b" " * min(size, 128))
            size -= 128

    def evil_reset(self):
        self.send_half()
        self.reset()

    def evil_reset_now(self):
        self.reset()

    def evil_slow(self):
        answer = self.answer()
        self.send_head(answer)
        for position in range(len(answer.body)):
            if self.server.evil.stopping.wait(1):
                break
            self.send_body(answer.body[position:position + 1])
        self.close_connection = True

    def evil_silent(self):
        self.wait_for_end()

    def evil_stall(self):
        self.send_half()
        self.wait_for_end()

    def send_endless(self, piece, size, count):
        self.close_connection = True
        for _ in range(size // len(piece)):
            if self.server.evil.stopping.is_set():
                break
            self.wfile.write(piece)
            if count:
                self.server.evil.count_bytes(self.url_path, len(piece))

    def evil_endless(self):
        self.send_head(self.answer().set(Content_Length=None))
        self.send_endless(b"e" * PIECE, ENDLESS_BODY, True)

    def evil_endless_header(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.send_endless(b"X-Endless: " + b"h" * 100 + b"\r\n", ENDLESS_HEADER, False)

    def evil_endless_line(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        self.send_endless(b"h" * 4096, ENDLESS_HEADER, False)

    def evil_garbage(self):
        self.close_connection = True
        self.wfile.write(b"SSH-2.0-not-a-web-server\r\n" * 20)

    def evil_echo(self):
        body = str(self.headers).encode()
        self.send(Answer(200, {"Content-Length": len(body)}, body))

    def evil_304(self):
        self.send(Answer(304, {"ETag": '"always"'}, b""))

    def evil_503(self):
        self.send_status(503, Retry_After=self.query.get("retry", "1"))

    def evil_429(self):
        self.send_status(429, Retry_After=self.query.get("retry", "1"))

    def evil_padded(self):
        answer = self.answer()
        self.begin_chunks(answer)
        for start in range(0, len(answer.body), 4096):
            piece = answer.body[start:start + 4096]
            self.send_body(b"%x;%s\r\n%s\r\n" % (len(piece), b"a" * 60_000, piece))
        self.wfile.write(b"0\r\n\r\n")

    def begin_padding(self):
        self.begin_chunks(self.answer())
        self.wfile.write(b"1000;")

    def evil_padding(self):
        self.begin_padding()
        self.send_endless(b"a" * PIECE, ENDLESS_BODY, True)

    def evil_padding_drip(self):
        self.begin_padding()
        self.send_drops(ENDLESS_BODY)

    def evil_byte_chunks(self):
        answer = self.answer()
        body = bytearray(b"1\r\n?\r\n" * len(answer.body) + b"0\r\n\r\n")
        body[3:-5:6] = answer.body
        self.begin_chunks(answer)
        self.send_body(bytes(body))

    def evil_trailing(self):
        answer = self.answer()
        self.begin_chunks(answer)
        self.wfile.write(b"%x\r\n%s\r\n0\r\n" % (len(answer.body), answer.body))
        self.send_endless(b"X-Trailer: " + b"t" * 1000 + b"\r\n", ENDLESS_BODY, True)

    def evil_fat_header(self):
        self.send(self.answer().set(**{f"X_Fat_{number}": "f" * 1000 for number in range(60)}))

    def evil_parts_drip(self):
        answer = self.answer()
        if len(answer.body) >= PIECE:
            self.send(answer)
            return
        answer = self.shortened(4096)
        self.send_head(answer)
        for start in range(0, len(answer.body), 112):
            if self.server.evil.stopping.wait(0.2):
                break
            self.send_body(answer.body[start:start + 112])

    def evil_prefix(self):
        self.send(self.shortened(PIECE))

    def evil_widened(self):
        answer = self.answer()
        if answer.range:
            first, last, total = answer.range
            block = 4 * PIECE
            first, last = first // block * block, min((last // block + 1) * block, total) - 1
            answer.body = self.read()[first:last + 1]
            answer.set_range(first, last, total)
        self.send(answer)

    def evil_if_range_200(self):
        self.send(self.answer(ranges="If-Range" not in self.headers))

    def evil_mirrors(self):
        bad = {1: "/404", 4: "/200-range"}.get(self.number % 6)
        self.redirect_to(bad + self.url_path if bad else self.url_path + "?times=0")

    def evil_404_sometimes(self):
        self.send_status(404) if self.number % 2 == 0 else self.send(self.answer())

    def evil_old_sometimes(self):
        data = self.read()
        self.send(self.answer(bytes(byte ^ 0xff for byte in data) if data and self.number % 2 == 0 else data))

    def evil_page(self):
        body = b"<!DOCTYPE html>\n<html><title>Log in</title></html>\n"
        self.send(Answer(200, {"Content-Type": "text/html", "Content-Length": len(body)}, body))

    def evil_encoding(self):
        self.send(self.answer().set(Content_Encoding=self.query.get("coding", "aws-chunked")))

    def evil_500_sometimes(self):
        self.send_status(500) if self.number % 2 == 0 else self.send(self.answer())


def weak(etag):
    return etag[2:] if etag.startswith("W/") else etag


def is_behaviour(name):
    if re.fullmatch(r"[45]\d\d|redirect-\d+", name):
        return True
    return hasattr(Handler, "evil_" + name.replace("-", "_"))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def get_request(self):
        connection, address = super().get_request()
        if self.evil.tls:
            connection = self.evil.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.evil.connected()
        return connection, address

    def handle_error(self, request, client_address):
        pass


class EvilServer:
    """Listens on 127.0.0.1 only; see the top of the file."""

    def __init__(self, root, port=0, tls=None):
        self.root = os.path.abspath(root)
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.stopping = threading.Event()
        self.lock = threading.Condition()
        self.rules, self.places, self.asked, self.token = {}, {}, [], None
        self.running = 0
        self.reset_stats()
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.evil = self
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def url(self, path=""):
        return "%s://127.0.0.1:%d/%s" % ("https" if self.tls else "http", self.port, path.lstrip("/"))

    def behave(self, path, behaviour, times=None):
        """Makes the path misbehave from now on, for the next `times` requests if given; None makes it correct again."""
        assert behaviour is None or is_behaviour(behaviour), behaviour
        path = path.lstrip("/")
        with self.lock:
            if behaviour is None:
                self.rules.pop(path, None)
                return
            counted = self.paths.get("/" + path, {"requests": 0})["requests"]
            self.rules[path] = (behaviour, None if times is None else counted + times)

    def demand(self, token):
        self.token = token

    def place(self, path, url):
        self.places["/" + path.lstrip("/")] = url

    def saw(self, path, authorization):
        with self.lock:
            self.asked.append((path, authorization))

    def rule(self, path):
        with self.lock:
            return self.rules.get(path)

    def stats(self):
        with self.lock:
            return json.loads(json.dumps({"requests": sum(path["requests"] for path in self.paths.values()),
                                          "bytes": sum(path["bytes"] for path in self.paths.values()),
                                          "peak": self.peak, "connections": self.connections, "paths": self.paths}))

    def reset_stats(self):
        """Clears the statistics when all requests have ended: one whose client has gone may still be counted."""
        with self.lock:
            self.lock.wait_for(lambda: self.running == 0, timeout=300)
            self.paths = {}
            self.peak = self.connections = 0

    # ---- counted by the handlers ----

    def path_stats(self, path):
        return self.paths.setdefault(path, {"requests": 0, "bytes": 0, "ranges": 0, "status": {}})

    def begin(self, path, asked_range):
        with self.lock:
            stats = self.path_stats(path)
            stats["requests"] += 1
            stats["ranges"] += 1 if asked_range else 0
            self.running += 1
            self.peak = max(self.peak, self.running)
            return stats["requests"]

    def end(self):
        with self.lock:
            self.running -= 1
            self.lock.notify_all()

    def connected(self):
        with self.lock:
            self.connections += 1

    def count_bytes(self, path, size):
        with self.lock:
            self.path_stats(path)["bytes"] += size

    def count_status(self, path, status):
        with self.lock:
            counts = self.path_stats(path)["status"]
            counts[str(status)] = counts.get(str(status), 0) + 1


def main():
    parser = argparse.ArgumentParser(description="A loopback web server that misbehaves on request.")
    parser.add_argument("--root", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--behave", action="append", default=[], metavar="PATH=NAME[:TIMES]")
    arguments = parser.parse_args()
    tls = (arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None
    server = EvilServer(arguments.root, arguments.port, tls)
    for rule in arguments.behave:
        path, _, behaviour = rule.partition("=")
        name, _, times = behaviour.partition(":")
        server.behave(path, name, int(times) if times else None)
    server.start()
    # One write: with PYTHONUNBUFFERED print() makes two, and whoever reads the port may be gone before the second.
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    server.stop()


if __name__ == "__main__":
    main()
