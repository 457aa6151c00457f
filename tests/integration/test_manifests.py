# SPDX-License-Identifier: MIT
"""Manifests that are no manifests: refused in one sentence, with the output as it was."""
import copy
import hashlib
import json
import random
import struct

import pytest

import images
import programs
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest

pytestmark = pytest.mark.sanitized

CONTENT = images.noise(600_000, "manifests")
NUMBERS = [2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64,
           10**30, 0, -1, -2**31, -2**63, 1.5, 1e300, "12", "", None, True, [], {}]


class Site:
    """A published release whose manifest is replaced at will, and an output that must survive it."""

    def __init__(self, nginx, folder):
        self.nginx, self.out = nginx, folder / "out"
        self.image = make_release(folder / "release", CONTENT, version="1", serial=1)
        self.url = nginx.publish(self.image, link=False)
        self.path = nginx.www / "image.json"
        self.good = read_manifest(self.image)
        self.old = images.noise(1000, "old content")

    def put(self, manifest):
        self.path.write_bytes(manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode())

    def clone(self):
        self.out.write_bytes(self.old)
        return moonsinter("clone", self.url, self.out, "--retry-for", "1s", timeout=30)

    def assert_refused(self, *words):
        result = self.clone()
        sentence = assert_failed(result, "image.json", *words)
        assert self.out.read_bytes() == self.old, "the output was touched"
        assert self.nginx.requests("/image") == [], "the image was asked for"
        return sentence

    def assert_refused_or_right(self):
        """Where a change may happen to leave a manifest that describes the image."""
        result = self.clone()
        if result.status == 0:
            assert self.out.read_bytes() == CONTENT
        else:
            assert_failed(result)


@pytest.fixture
def site(nginx, folder):
    return Site(nginx, folder)


GARBAGE = {
    "empty": b"", "blank": b" \n", "text": b"<html>404</html>", "nul": b"\0" * 100, "array": b"[]", "number": b"5",
    "string": b'"x"', "null": b"null", "empty object": b"{}", "two": b"{}{}", "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 50_000, "not utf-8": b'{"chunk_hashes":"\xff\xfe"}', "bom": b"\xef\xbb\xbf{}",
    "open string": b'{"chunk_hashes":"', "nul in name": b'{"chunk\\u0000_size":1}',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(site, name):
    site.put(GARBAGE[name])
    site.assert_refused()


def test_truncated_anywhere(site):
    whole = site.path.read_bytes().rstrip()
    for end in sorted(random.Random(1).sample(range(1, len(whole)), 12 if programs.SANITIZED else 40)):
        site.put(whole[:end])
        site.assert_refused()


def test_trailing_garbage(site):
    site.put(site.path.read_bytes() + b"}")
    site.assert_refused()


@pytest.mark.parametrize("member", ["chunk_hashes", "chunk_size", "last_chunk_size", "file_hash", "file_size"])
def test_a_missing_member_is_named(site, member):
    manifest = copy.deepcopy(site.good)
    del manifest[member]
    site.put(manifest)
    site.assert_refused(member)


@pytest.mark.parametrize("member", ["chunk_size", "last_chunk_size", "file_size"])
def test_numbers_that_disagree(site, member):
    for value in NUMBERS + [site.good[member] - 1, site.good[member] + 1, site.good[member] * 2]:
        if value == site.good[member] and not isinstance(value, bool):
            continue
        site.put({**site.good, member: value})
        site.assert_refused()


def test_every_number_at_and_past_every_bound(site):
    """Those of our own part, too, whatever they are called."""
    places = []

    def collect(node, path):
        for key, value in node.items():
            if isinstance(value, dict):
                collect(value, path + [key])
            else:
                places.append(path + [key])
    collect(site.good, [])
    assert len(places) > 8
    numbers = NUMBERS[::5] if programs.SANITIZED else NUMBERS
    for path in places:
        for value in numbers:
            manifest = copy.deepcopy(site.good)
            node = manifest
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            site.put(manifest)
            site.assert_refused_or_right()


@pytest.mark.parametrize("change", ["fewer", "more", "not hex", "too long", "blank", "empty one", "upper", "minus"])
def test_chunk_hashes_that_disagree(site, change):
    hashes = site.good["chunk_hashes"].split(",")
    changed = {"fewer": hashes[:-1], "more": hashes + ["1"], "not hex": ["xyz"] + hashes[1:],
               "too long": ["123456789"] + hashes[1:], "blank": [" " + hashes[0]] + hashes[1:],
               "empty one": [""] + hashes[1:], "upper": ["0X1"] + hashes[1:], "minus": ["-1"] + hashes[1:]}[change]
    site.put({**site.good, "chunk_hashes": ",".join(changed)})
    site.assert_refused(("chunk_hashes", "chunk hash"))


@pytest.mark.parametrize("value", [5, None, [], {}, True, ["1", "2"]])
def test_chunk_hashes_of_another_kind(site, value):
    site.put({**site.good, "chunk_hashes": value})
    site.assert_refused(("chunk_hashes", "chunk hash"))


def test_an_unknown_member_is_ignored(site):
    manifest = copy.deepcopy(site.good)
    manifest["unknown"] = {"nested": [1, 2, {"three": None}]}
    manifest["moonsinter"]["unknown"] = "future"
    site.put(manifest)
    result = site.clone()
    assert result.status == 0, result
    assert site.out.read_bytes() == CONTENT


def test_an_unknown_format_names_the_version_needed(site):
    manifest = copy.deepcopy(site.good)
    name = next(key for key in manifest["moonsinter"] if "format" in key)
    manifest["moonsinter"][name] = 99
    site.put(manifest)
    site.assert_refused("99")


def test_a_wrong_sha256_is_never_success(site):
    text = json.dumps(site.good)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert digest in text, "the manifest names the image's SHA-256"
    site.put(text.replace(digest, hashlib.sha256(b"other").hexdigest()).encode())
    assert_failed(site.clone())


def test_random_damage(site):
    whole = site.path.read_bytes()
    source = random.Random(7)
    for _ in range(20 if programs.SANITIZED else 100):
        damaged = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            damaged[source.randrange(len(damaged))] = source.choice(b'0123456789"{}[],:-eE.\\ \0xf')
        site.put(bytes(damaged))
        site.assert_refused_or_right()


def test_a_manifest_of_100_mb_is_not_read(site):
    with open(site.path, "wb") as manifest:
        manifest.write(b'{"chunk_hashes":"')
        for _ in range(100):
            manifest.write(b"deadbeef," * 111_111)
    site.assert_refused(("large", "long", "bytes", "MB", "MiB"))
    site.nginx.wait_for_silence()
    assert sum(request.body_bytes for request in site.nginx.requests("/image.json")) < 20_000_000


def test_a_manifest_with_an_image_of_exabytes_does_not_allocate(site):
    site.put({**site.good, "file_size": 2**62, "chunk_size": 2**30, "last_chunk_size": 2**30})
    site.assert_refused()


def hostile_tables(good):
    source = random.Random(3)
    yield b""
    yield good[:-1]
    yield good + b"\0"
    yield good[:64]
    yield bytes(len(good))
    yield b"\xff" * len(good)
    for offset in range(0, min(len(good), 64), 4):
        for value in (0, 1, 0x7fffffff, 0x80000000, 0xffffffff):
            yield good[:offset] + struct.pack("<I", value) + good[offset + 4:]
    for _ in range(40):
        damaged = bytearray(good)
        for _ in range(source.randrange(1, 5)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        yield bytes(damaged)


def test_a_table_that_fits_the_manifest_and_lies(site):
    """The publisher's own nonsense: size and SHA-256 are right, the rows are not."""
    table = site.nginx.www / "image.chunks"
    good = table.read_bytes()
    text = json.dumps(site.good)
    old_digest = hashlib.sha256(good).hexdigest()
    assert old_digest in text
    tables = list(hostile_tables(good))
    for data in tables[::12 if programs.SANITIZED else 3]:
        if data == good:
            continue
        table.write_bytes(data)
        changed = text.replace(old_digest, hashlib.sha256(data).hexdigest())
        manifest = json.loads(changed)
        chunks = next(value for value in manifest["moonsinter"].values()
                      if isinstance(value, dict) and hashlib.sha256(data).hexdigest() in value.values())
        size_name = next(key for key, value in chunks.items() if value == len(good))
        chunks[size_name] = len(data)
        site.put(manifest)
        site.assert_refused_or_right()
