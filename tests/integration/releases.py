# SPDX-License-Identifier: MIT
"""Makes releases: an image with its manifest and table of chunks, ready to be published."""
import hashlib
import itertools
import json
import os
import pathlib
import struct

import xxhash

import images
import programs

_SECONDS = itertools.count(1_700_000_000)


def make_release(folder, content, name="image", version=None, serial=None, options=()):
    """Writes `content` (bytes, or the path of a file to point to) as FOLDER/NAME and runs generate on it. Returns its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / name
    if isinstance(content, bytes):
        image.write_bytes(content)
    else:
        # Not a hard link, which changes the file's ctime: a generate that reads the file in another test would fail.
        os.symlink(content, image)
    arguments = list(options)
    if version is not None:
        arguments += ["--version", version]
    if serial is not None:
        arguments += ["--serial", str(serial)]
    result = programs.moonsinter("generate", image, *arguments, timeout=600)
    assert result.status == 0, result
    # nginx makes the ETag of the file's second and size, so two releases of the same second could have the same.
    second = next(_SECONDS)
    for suffix in (".json", ".chunks"):
        path = pathlib.Path(f"{image}{suffix}")
        if path.exists():
            os.utime(path, (second, second))
    return image


def make_empty_release(folder, name="image", **release):
    """Makes a release of 0 bytes, as docs/manifest.md describes it but generate refuses to. `release` are the members of
    the manifest's "release"."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / name
    image.write_bytes(b"")
    table = struct.pack("<8sIII24x", b"MSCHUNKS", 1, 32768, 0)
    pathlib.Path(f"{image}.chunks").write_bytes(table)
    ours = {"format": 1, "sha256": hashlib.sha256(b"").hexdigest(),
            "chunks": {"url": f"{name}.chunks", "size": len(table), "sha256": hashlib.sha256(table).hexdigest()}}
    if release:
        ours["release"] = release
    write_manifest(image, {"chunk_hashes": "", "chunk_size": 131072, "last_chunk_size": 0, "file_hash": 0x02cc5d05,
                           "file_size": 0, "moonsinter": ours})
    return image


def read_manifest(image):
    return json.loads(pathlib.Path(f"{image}.json").read_text())


def write_manifest(image, members):
    path = pathlib.Path(f"{image}.json")
    path.write_text(json.dumps(members))
    second = next(_SECONDS)
    os.utime(path, (second, second))


def disguise(image, evil, at):
    """Gives the row of the chunk at `at` the XXH3 of other bytes, which `evil` gets there; returns that chunk's size."""
    table, offset = bytearray(pathlib.Path(f"{image}.chunks").read_bytes()), 0
    for row in range(44, len(table), 44):
        size = struct.unpack_from("<I", table, row)[0]
        if offset + size > at:
            break
        offset += size
    evil[offset:offset + size] = images.noise(size, "evil")
    struct.pack_into("<Q", table, row + 4, xxhash.xxh3_64_intdigest(bytes(evil[offset:offset + size])))
    pathlib.Path(f"{image}.chunks").write_bytes(table)
    manifest = read_manifest(image)
    manifest["moonsinter"]["chunks"]["sha256"] = hashlib.sha256(table).hexdigest()
    write_manifest(image, manifest)
    return size
