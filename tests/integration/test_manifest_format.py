# SPDX-License-Identifier: MIT
"""docs/manifest.md, implemented a second time from that page alone, against what `moonsinter generate` writes."""
import ctypes
import hashlib
import json
import pathlib
import random
import struct

import pytest

from programs import moonsinter
from releases import make_empty_release

XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH32.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32]
XXHASH.XXH32.restype = ctypes.c_uint32
XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
XXHASH.XXH3_64bits.restype = ctypes.c_uint64
LOW_64 = (1 << 64) - 1
ZSTD = ctypes.CDLL("libzstd.so.1")
for name, arguments, result in [
        ("createDCtx", [], ctypes.c_void_p), ("freeDCtx", [ctypes.c_void_p], ctypes.c_size_t),
        ("DCtx_refPrefix", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t], ctypes.c_size_t),
        ("decompressDCtx", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t],
         ctypes.c_size_t),
        ("getFrameContentSize", [ctypes.c_char_p, ctypes.c_size_t], ctypes.c_uint64)]:
    function = getattr(ZSTD, f"ZSTD_{name}")
    function.argtypes, function.restype = arguments, result


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
@pytest.mark.parametrize("size", [1, 255, 256, 257, 4096, 131072, 700001])
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


def test_the_empty_image_is_in_the_format(tmp_path):
    """generate makes none, but a reader has to know it."""
    empty = make_empty_release(tmp_path)
    written = pathlib.Path(f"{empty}.chunks").read_bytes()
    assert written == table(b"", 32768)
    ours = {"format": 1, "sha256": hashlib.sha256(b"").hexdigest(),
            "chunks": {"url": "image.chunks", "size": len(written), "sha256": hashlib.sha256(written).hexdigest()}}
    assert json.loads(pathlib.Path(f"{empty}.json").read_text()) == json.loads(manifest(b"", 131072, ours))
    assert moonsinter("verify", empty, f"{empty}.json").status == 0


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


class Reader:
    """Numbers and fixed integers from the front of data."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        assert self.at + size <= len(self.data)
        self.at += size
        return self.data[self.at - size:self.at]

    def fixed(self, size):
        return int.from_bytes(self.take(size), "little")

    def number(self):
        value = shift = 0
        while True:
            byte = self.fixed(1)
            value |= (byte & 0x7f) << shift
            shift += 7
            if not byte & 0x80:
                assert byte or shift == 7
                assert value <= LOW_64
                return value


def xxh3(data):
    return XXHASH.XXH3_64bits(data, len(data))


def unpack(frame, size, prefix=b""):
    """A frame as section 3.1 says: it states its size, has neither checksum nor dictionary, and nothing follows it."""
    assert frame[:4] == b"\x28\xb5\x2f\xfd" and not frame[4] & 0b111
    assert ZSTD.ZSTD_getFrameContentSize(frame, len(frame)) == size
    context, output = ZSTD.ZSTD_createDCtx(), ctypes.create_string_buffer(size)
    ZSTD.ZSTD_DCtx_refPrefix(context, prefix or None, len(prefix))
    assert ZSTD.ZSTD_decompressDCtx(context, output, size, frame, len(frame)) == size
    ZSTD.ZSTD_freeDCtx(context)
    return output.raw


def section(pack, where):
    frame = pack[where["offset"]:where["offset"] + where["size"]]
    assert hashlib.sha256(frame).hexdigest() == where["sha256"]
    return unpack(frame, where["unpacked"])


def chunks_of_frames(pack, where, sizes, keys):
    """All chunks, from their frames (3.2). Returns them, and where the last frame ends."""
    numbers, at, found, first = Reader(section(pack, where)), 8, [], {}
    for size, key in zip(sizes, keys):
        length = numbers.number()
        if length == 0:
            found.append(first[size, key])
            continue
        assert length <= size
        frame = pack[at:at + length]
        at += length
        found.append(frame if length == size else unpack(frame, size))
        assert (size, key) not in first
        first[size, key] = found[-1]
    assert numbers.at == len(numbers.data)
    return found, at


def rows_of_difference(reader, base):
    """The table of chunks, from a base (3.4)."""
    assert reader.take(8) == b"MSBASE01"
    average, count = reader.fixed(4), reader.fixed(4)
    cuts, at = {}, 0
    for chunk in chunks(base, average):
        cuts[at] = chunk
        at += len(chunk)
    rows = []
    for block in range(0, count, 256):
        block_key, block_rows = reader.fixed(8), []
        while len(block_rows) < min(256, count - block):
            operation = reader.number()
            if operation & 1:
                at = reader.number()
                for _ in range(operation >> 1):
                    chunk = cuts[at]
                    at += len(chunk)
                    assert at < len(base), "the last chunk is never meant"
                    block_rows.append(struct.pack("<IQ", len(chunk), xxh3(chunk)) + hashlib.sha256(chunk).digest())
            else:
                block_rows += [reader.take(44) for _ in range(operation >> 1)]
        assert len(block_rows) == min(256, count - block)
        assert xxh3(b"".join(block_rows)) == block_key
        rows += block_rows
    return struct.pack("<8sIII24x", b"MSCHUNKS", 1, average, count) + b"".join(rows)


def runs_of_patches(reader, pack, ours, base, sizes):
    """What the patches make: the first chunk, how many, and their bytes. Returns them, and where the last frame ends."""
    runs, next_chunk, at = [], 0, ours["patches"]
    for _ in range(reader.number()):
        first = next_chunk + reader.number()
        count, length = reader.number(), reader.number()
        spans = [(reader.number(), reader.number()) for _ in range(reader.number())]
        assert count >= 1 and 1 <= len(spans) <= 8 and all(size for _, size in spans)
        assert all(offset + size <= ours["size"] for offset, size in spans)
        prefix = b"".join(base[offset:offset + size] for offset, size in spans)
        assert reader.fixed(8) == xxh3(prefix)
        next_chunk = first + count
        size = sum(sizes[first:next_chunk])
        assert length < size <= ours["output_max"] and len(prefix) <= ours["span_max"]
        runs.append((first, count, unpack(pack[at:at + length], size, prefix)))
        at += length
    assert reader.at == len(reader.data)
    return runs, at


def release(name, seed=1):
    """An image of some 600 kB, and what later releases make of it."""
    source = random.Random(seed)
    base = bytearray(image(600000))
    base[100000:160000] = (b"some text that is there again, %d; " * 2000 % tuple(range(2000)))[:60000]
    if name == "base":
        return bytes(base)
    for at in (5000, 120000, 400000):
        base[at:at + 300] = source.randbytes(280)
    base[500000:500000] = base[120001:150000] + source.randbytes(1000)
    return bytes(base) if name == "new" else bytes(base[:300000])


@pytest.mark.sanitized
@pytest.mark.parametrize("pack,bases", [(True, []), (True, ["base"]), (False, ["base"]),
                                        (True, ["short", "base", "new"]), (False, ["short", "base", "new"])])
def test_the_pack_says_what_the_page_says(tmp_path, pack, bases):
    data = release("new")
    (tmp_path / "image").write_bytes(data)
    options = ["--average", "4K"] + ["--pack"] * pack
    for name in bases:
        (tmp_path / name).write_bytes(release(name))
        options += ["--base", tmp_path / name]
    result = moonsinter("generate", tmp_path / "image", *options)
    assert result.status == 0, result
    written = (tmp_path / "image.pack").read_bytes()
    rows = (tmp_path / "image.chunks").read_bytes()
    cut = list(chunks(data, 4096))
    sizes, keys = [len(chunk) for chunk in cut], [xxh3(chunk) for chunk in cut]
    ours = json.loads((tmp_path / "image.json").read_text())["moonsinter"]
    assert list(ours) == ["format", "sha256", "chunks", "pack"]
    ours = ours["pack"]
    assert list(ours) == ["url", "size"] + ["frames"] * pack + ["bases"] * bool(bases)
    assert (ours["url"], ours["size"]) == ("image.pack", len(written))
    assert written[:8] == b"MSPACK01"

    end = 8
    if pack:
        found, end = chunks_of_frames(written, ours["frames"], sizes, keys)
        assert found == cut
        assert ours["frames"]["offset"] == end
        end += ours["frames"]["size"]
    for name, base in zip(bases, ours.get("bases", []), strict=True):
        assert list(base) == ["size", "probes", "patches", "index", "span_max", "output_max"]
        old = release(name)
        assert (base["size"], base["patches"], base["span_max"], base["output_max"]) == (len(old), end, 2 << 20, 1 << 20)
        probes = [probe.split(":") for probe in base["probes"].split(",")]
        assert 1 <= len(probes) <= 16
        for offset, key in probes:
            assert key == f"{xxh3(old[int(offset):int(offset) + 4096]):016x}"
        reader = Reader(section(written, base["index"]))
        assert rows_of_difference(reader, old) == rows
        runs, end = runs_of_patches(reader, written, base, old, sizes)
        covered = set()
        for first, count, output in runs:
            assert output == b"".join(cut[first:first + count])
            covered |= set(range(first, first + count))
        held = set(list(chunks(old, 4096))[:-1])
        assert all(index in covered or chunk in held or chunk in cut[:index] for index, chunk in enumerate(cut))
        assert base["index"]["offset"] == end
        end += base["index"]["size"]
    assert end == len(written)
    lines = [event for event in result.events if event["event"] == "base"]
    assert [line["index_size"] for line in lines] == [base["index"]["size"] for base in ours.get("bases", [])]
