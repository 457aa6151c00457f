# SPDX-License-Identifier: MIT
"""Manifests that are no manifests: refused in one sentence, with the output as it was."""
import copy
import hashlib
import json

import pytest

from manifest_site import CONTENT, NUMBERS, site  # noqa: F401 (fixtures)
from programs import assert_failed

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]

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
