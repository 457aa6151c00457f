# SPDX-License-Identifier: MIT
"""Manifests and tables with damage anywhere: refused, or the image is right all the same."""
import copy
import hashlib
import json
import random
import struct

import pytest

import programs
from manifest_site import NUMBERS, site  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]


def test_truncated_anywhere(site):
    whole = site.path.read_bytes().rstrip()
    for end in sorted(random.Random(1).sample(range(1, len(whole)), 12 if programs.SANITIZED else 40)):
        site.put(whole[:end])
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


def test_random_damage(site):
    whole = site.path.read_bytes()
    source = random.Random(7)
    for _ in range(20 if programs.SANITIZED else 100):
        damaged = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            damaged[source.randrange(len(damaged))] = source.choice(b'0123456789"{}[],:-eE.\\ \0xf')
        site.put(bytes(damaged))
        site.assert_refused_or_right()


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
