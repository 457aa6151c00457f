"""docs/manifest.md, implemented a second time from that page alone, against what `moonsinter generate` writes."""
import ctypes
import hashlib
import json
import random
import struct

import pytest

from programs import moonsinter

XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH32.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32]
XXHASH.XXH32.restype = ctypes.c_uint32
XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
XXHASH.XXH3_64bits.restype = ctypes.c_uint64
LOW_64 = (1 << 64) - 1


def gear_table():
    state, table = 0, []
    for _ in range(256):
        state = (state + 0x9E3779B97F4A7C15) & LOW_64
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & LOW_64
        z = (z ^ z >> 27) * 0x94D049BB133111EB & LOW_64
        table.append(z ^ z >> 31)
    return table


def mask(bits):
    return sum(1 << 63 - 48 * i // bits for i in range(bits))


def chunks(data, average):
    """The chunks of data, cut as section 2.1 says."""
    gear, bits, start = gear_table(), average.bit_length() - 1, 0
    hard, easy = mask(bits + 2), mask(bits - 2)
    while start < len(data):
        end = min(len(data) - start, 4 * average)
        length, h = end, 0
        for p in range(average // 4 - 63, end):
            h = (2 * h + gear[data[start + p - 1]]) & LOW_64
            if p >= average // 4 and not h & (hard if p < average else easy):
                length = p
                break
        yield data[start:start + length]
        start += length


def table(data, average):
    rows = [struct.pack("<IQ", len(chunk), XXHASH.XXH3_64bits(chunk, len(chunk))) + hashlib.sha256(chunk).digest()
            for chunk in chunks(data, average)]
    return struct.pack("<8sIII24x", b"MSCHUNKS", 1, average, len(rows)) + b"".join(rows)


def manifest(data, chunk_size, ours):
    pieces = [data[at:at + chunk_size] for at in range(0, len(data), chunk_size)]
    hashes = ",".join(f"{XXHASH.XXH32(piece, len(piece), 0):x}" for piece in pieces)
    last = len(pieces[-1]) if pieces else 0
    whole = XXHASH.XXH32(data, len(data), 0)
    return (f'{{"chunk_hashes":"{hashes}","chunk_size":{chunk_size},"last_chunk_size":{last},"file_hash":{whole},'
            f'"file_size":{len(data)},"moonsinter":{json.dumps(ours, separators=(",", ":"), ensure_ascii=False)}}}\n')


def image(size):
    """Noise, a run of zeros longer than the largest chunk, and a repetition."""
    source = random.Random(size)
    data = source.randbytes(size // 2 + 1) + bytes(size // 4)
    return (data + data)[:size]


@pytest.mark.sanitized
@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 4096, 131072, 700001])
@pytest.mark.parametrize("average,chunk_size", [(1024, 4096), (4096, 100), (32768, 131072)])
def test_both_files_byte_for_byte(tmp_path, size, average, chunk_size):
    data = image(size)
    (tmp_path / "an image").write_bytes(data)
    options = ["--average", f"{average // 1024}K", "--version", 'v1 "\u00fc"/', "--serial", "9007199254740993",
               "--created", "@1795354749", "--expires", "2030-02-28T23:59:59Z", "--compatible", "board",
               "--rollout-percent", "50", "--rollout-duration", "90min", "--rollout-start", "2026-12-01T06:00:00Z"]
    result = moonsinter("generate", tmp_path / "an image", chunk_size, *options)
    assert result.status == 0, result

    expected = table(data, average)
    assert (tmp_path / "an image.chunks").read_bytes() == expected
    ours = {"format": 1, "sha256": hashlib.sha256(data).hexdigest(),
            "chunks": {"url": "an%20image.chunks", "size": len(expected), "sha256": hashlib.sha256(expected).hexdigest()},
            "release": {"version": 'v1 "\u00fc"/', "serial": 9007199254740993, "created": "2026-11-22T13:39:09Z",
                        "expires": "2030-02-28T23:59:59Z", "compatible": "board",
                        "rollout": {"start": "2026-12-01T06:00:00Z", "duration": 5400, "percent": 50}}}
    assert (tmp_path / "an image.json").read_text(encoding="utf-8") == manifest(data, chunk_size, ours)
    assert result.events[-1]["file_size"] == size


def test_defaults(tmp_path):
    data = image(300000)
    (tmp_path / "image").write_bytes(data)
    assert moonsinter("generate", tmp_path / "image").status == 0
    expected = table(data, 32768)
    assert (tmp_path / "image.chunks").read_bytes() == expected
    ours = {"format": 1, "sha256": hashlib.sha256(data).hexdigest(),
            "chunks": {"url": "image.chunks", "size": len(expected), "sha256": hashlib.sha256(expected).hexdigest()}}
    assert (tmp_path / "image.json").read_text(encoding="utf-8") == manifest(data, 131072, ours)


@pytest.mark.parametrize("arguments", [
    ["0"], ["-5"], ["12Q"], ["1.5K"], ["1025M"], ["2G"], [""], ["99999999999999999999"], ["4K", "5K"], ["--pack=x"],
    ["--base"], ["--base", "x"] * 17,
    ["--span-max", "9M"], ["--span-max", "63K"], ["--output-max", "4097K"], ["--output-max", "x"], ["--sign"], ["--average", "3000"], ["--average", "512"], ["--average", "512K"], ["--average"],
    ["--serial", "1.5"], ["--serial", "9223372036854775808"], ["--version", ""], ["--version", "a\nb"],
    ["--version", "x" * 257], ["--compatible", "\x1b[31m"], ["--created", "yesterday"], ["--created", "@"],
    ["--created", "2026-02-30T00:00:00Z"], ["--expires", "@0"], ["--created", "@100", "--expires", "@100"]])
def test_wrong_usage_writes_nothing(tmp_path, arguments):
    (tmp_path / "image").write_bytes(b"abc")
    result = moonsinter("generate", tmp_path / "image", *arguments)
    assert result.status == 2, result
    assert len(result.stderr.splitlines()) == 1, result
    assert result.names == ["failed"], result
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image"]


def test_diff_counts_bytes_to_fetch(tmp_path):
    old = image(600000)
    new = b"inserted" + old[:300000] + old[300100:]
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    result = moonsinter("diff", tmp_path / "new", tmp_path / "old", "4K", "--average", "4K")
    assert result.status == 0, result
    held = set(chunks(old, 4096))
    cut = list(chunks(new, 4096))
    missing = set(cut) - held
    last = result.events[-1]
    assert (last["content_defined_chunks"], last["content_defined_chunks_to_fetch"]) == (len(cut), len(missing))
    assert last["content_defined_bytes_to_fetch"] == sum(map(len, missing))
    assert last["table_size"] == 44 + 44 * len(cut)
    same = sum(new[at:at + 4096] == old[at:at + 4096] for at in range(0, min(len(new), len(old)), 4096))
    assert (last["total"], last["same"], last["diff"]) == (147, same, 147 - same)
