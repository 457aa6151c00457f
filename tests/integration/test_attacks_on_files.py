# SPDX-License-Identifier: MIT
"""Attacks with what a signed manifest refers to: the old slot goes on booting and the error names the reason."""
import hashlib
import json
import struct

import pytest
import xxhash

from attack_scene import EVIL, NEW, OLD, scene  # noqa: F401 (fixtures)

HEADER, ROW = 44, 44


# --- what the signed manifest refers to ---

def test_other_bytes_in_a_range(scene):
    scene.start()
    scene.release(NEW, "3", 3)
    evil = bytearray(NEW)
    evil[150_000:150_100] = EVIL[:100]
    scene.file("").write_bytes(evil)
    scene.assert_refused(["mismatch"], "chunk", "/image", "not those the manifest names")
    assert EVIL[:100] not in scene.slots[1].read_bytes(), "it was written"


def test_other_bytes_with_the_same_xxh3(scene):
    """XXH3 finds chunks and proves nothing: the table, signed, has the XXH3 of the evil bytes in one row."""
    scene.start()
    scene.release(NEW, "3", 3)
    table = bytearray(scene.file(".chunks").read_bytes())
    evil, offset = bytearray(NEW), 0
    for row in range(HEADER, len(table), ROW):
        size = struct.unpack_from("<I", table, row)[0]
        if offset >= 110_000:
            evil[offset:offset + size] = EVIL[:size]
            struct.pack_into("<Q", table, row + 4, xxhash.xxh3_64_intdigest(bytes(evil[offset:offset + size])))
            break
        offset += size
    scene.file(".chunks").write_bytes(table)
    scene.file("").write_bytes(evil)
    manifest = scene.manifest()
    manifest["moonsinter"]["chunks"]["sha256"] = hashlib.sha256(table).hexdigest()
    scene.sign_manifest(manifest)
    scene.assert_refused(["mismatch"], "chunk", "not those the manifest names")
    assert EVIL[:100] not in scene.slots[1].read_bytes(), "it was written"


@pytest.mark.parametrize("size", ["same", "longer"])
def test_another_table(scene, size):
    scene.start()
    scene.release(NEW, "3", 3)
    table = bytearray(scene.file(".chunks").read_bytes())
    table[-1] ^= 1
    scene.file(".chunks").write_bytes(table + (bytes(ROW) if size == "longer" else b""))
    scene.assert_refused(["mismatch" if size == "same" else "refused"], "table of chunks", "signature is demanded")


def test_a_table_of_the_smallest_chunks(scene):
    """It would cost the device 44 bytes of memory and more for each 256 of the image: not even fetched."""
    scene.start()
    scene.release(bytes(32 << 20), "3", 3)
    manifest = scene.manifest()
    manifest["moonsinter"]["chunks"]["size"] = HEADER + ROW * (32 << 20) // 256
    scene.file(".chunks").unlink()
    scene.sign_manifest(manifest)
    scene.assert_refused(["format"], "131072 chunks", "memory")


def test_no_table(scene):
    """The ancestor's fixed chunks, which XXH32 knows by, do not serve in its place."""
    scene.start()
    scene.release(NEW, "3", 3)
    scene.file(".chunks").unlink()
    scene.assert_refused(["remote"], "table of chunks", "signature is demanded", "404")
    assert not scene.slots[1].read_bytes().strip(b"\0")


@pytest.mark.parametrize("file", [".chunks", ".json.minisig", ""])
def test_the_password_of_the_address(scene, file):
    """What is wrong with a file is told with its address, to whoever may read the log, the status or the state."""
    url = scene.server.url("image").replace("://", "://us3r-s3cret:passw0rd-s3cret@")
    scene.start(url=f"{url}?token=t0ken-s3cret")
    scene.release(NEW, None, 3)
    path = scene.file(file)
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    daemon = scene.daemon
    daemon.post("check")
    status = daemon.wait(lambda status: status["last_error"], "it is refused")
    assert status["slots"]["a"]["role"] == "active" and status["boot"]["next"] == "a"
    shown = [json.dumps(daemon.request("GET", f"/v1/{name}")) for name in ("status", "history", "plan", "config")]
    shown += [daemon.request("GET", "/metrics")[1], daemon.log]
    shown += [kept.read_text(errors="replace") for kept in (daemon.folder / "state").rglob("*") if kept.is_file()]
    assert all("s3cret" not in text for text in shown), shown


def test_an_image_that_its_chunks_do_not_make(scene):
    """Every chunk is proved; the whole is not what was signed, which only reading it back shows."""
    scene.start()
    scene.release(NEW, "3", 3)
    manifest = scene.manifest()
    manifest["moonsinter"]["sha256"] = hashlib.sha256(OLD + b"x").hexdigest()
    scene.sign_manifest(manifest)
    scene.assert_refused(["mismatch"], "read back", "SHA-256")


def test_another_pack(scene):
    """What is in the pack is found by an index that is signed, and is proved as any other chunk."""
    scene.start()
    scene.release(OLD + EVIL, "0", 0, "--pack")
    other = scene.file(".pack").read_bytes()
    scene.release(NEW, "3", 3, "--pack")
    scene.file("").unlink()
    # Of the same size: one of another is told by that.
    size = scene.file(".pack").stat().st_size
    scene.file(".pack").write_bytes(other[-size:].rjust(size, b"\0"))
    scene.assert_refused(["mismatch"], "pack")
    assert EVIL[:100] not in scene.slots[1].read_bytes(), "it was written"


def test_other_bytes_in_the_pack(scene):
    scene.start()
    scene.release(NEW, "3", 3, "--pack")
    scene.file("").unlink()
    frames = scene.manifest()["moonsinter"]["pack"]["frames"]
    pack = bytearray(scene.file(".pack").read_bytes())
    # All but the index: zstd's frames each begin with a magic number, which stays.
    for offset in range(8, frames["offset"] - 8, 4096):
        pack[offset] ^= 0x55
    scene.file(".pack").write_bytes(pack)
    scene.assert_refused(["mismatch"], "pack")


# --- what lies on the device ---

def make_empty(scene, serial):
    """What generate made of an image of 0 bytes before it refused that; signed by the publisher himself."""
    table = b"MSCHUNKS" + struct.pack("<III", 1, 65536, 0) + bytes(24)
    scene.release(NEW, str(serial), serial)
    manifest = scene.manifest()
    manifest.update(chunk_hashes="", last_chunk_size=0, file_hash=xxhash.xxh32_intdigest(b""), file_size=0)
    manifest["moonsinter"]["sha256"] = hashlib.sha256(b"").hexdigest()
    manifest["moonsinter"]["chunks"].update(size=len(table), sha256=hashlib.sha256(table).hexdigest())
    scene.file("").write_bytes(b"")
    scene.file(".chunks").write_bytes(table)
    scene.sign_manifest(manifest)


def test_an_empty_image(scene):
    """What the slot holds would boot under its name."""
    scene.start()
    make_empty(scene, 3)
    scene.assert_refused(["refused"], what="empty-image")
    assert [block["what"] for block in scene.daemon.status()["blocked_by"]] in ([], ["empty-image"])
    scene.release(NEW, "2.1", 2)
    scene.daemon.post("install")
    scene.daemon.wait(lambda status: status["state"] == "reboot-pending", "the floor did not rise")


def test_an_empty_image_is_not_what_runs(scene):
    """A device of which nothing is recorded: every slot begins with an image of 0 bytes."""
    make_empty(scene, 3)
    scene.server.start()
    scene.daemon = scene.make_daemon(scene.server.url("image"), scene.slots, Trust={"Keys": scene.trusted},
                                     Update={"Compatible": "board-7"}).start()
    status = scene.daemon.wait(lambda status: status["state"] == "held", "it is refused")
    assert [block["what"] for block in status["blocked_by"]] == ["empty-image"]
    assert status["slots"]["a"]["sha256"] is None and status["slots"]["a"]["serial"] is None
