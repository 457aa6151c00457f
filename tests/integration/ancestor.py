# SPDX-License-Identifier: MIT
"""Publishes and clones as the ancestor does, written anew from its description, to test that it and moonsinter understand
each other. Slow, as it is all in Python: for images of a few hundred kilobytes."""
import json
import urllib.request

PRIMES = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)
MASK = 0xFFFFFFFF


def rotate(value, bits):
    return ((value << bits) | (value >> (32 - bits))) & MASK


def xxh32(data):
    """XXH32 with seed 0, from its specification."""
    p1, p2, p3, p4, p5 = PRIMES
    at, size = 0, len(data)
    if size >= 16:
        lanes = [(p1 + p2) & MASK, p2, 0, -p1 & MASK]
        while at + 16 <= size:
            for lane in range(4):
                word = int.from_bytes(data[at:at + 4], "little")
                lanes[lane] = rotate((lanes[lane] + word * p2) & MASK, 13) * p1 & MASK
                at += 4
        total = sum(rotate(value, bits) for value, bits in zip(lanes, (1, 7, 12, 18))) & MASK
    else:
        total = p5
    total = (total + size) & MASK
    while at + 4 <= size:
        total = rotate((total + int.from_bytes(data[at:at + 4], "little") * p3) & MASK, 17) * p4 & MASK
        at += 4
    while at < size:
        total = rotate((total + data[at] * p5) & MASK, 11) * p1 & MASK
        at += 1
    total = (total ^ (total >> 15)) * p2 & MASK
    total = (total ^ (total >> 13)) * p3 & MASK
    return total ^ (total >> 16)


def manifest(data, chunk_size=131072):
    """The ancestor's manifest of an image: its five members."""
    chunks = [data[at:at + chunk_size] for at in range(0, len(data), chunk_size)]
    return {"chunk_hashes": ",".join(f"{xxh32(chunk):x}" for chunk in chunks), "chunk_size": chunk_size,
            "last_chunk_size": len(chunks[-1]) if chunks else 0, "file_hash": xxh32(data), "file_size": len(data)}


def clone(url, seed):
    """Clones a published image with a seed. Returns the bytes, and how many of them were downloaded."""
    with urllib.request.urlopen(url + ".json", timeout=300) as answer:
        offered = json.load(answer)
    output, downloaded = b"", 0
    hashes = [int(text, 16) for text in offered["chunk_hashes"].split(",")]
    for number, expected in enumerate(hashes):
        size = offered["last_chunk_size"] if number == len(hashes) - 1 else offered["chunk_size"]
        begin = number * offered["chunk_size"]
        chunk = seed[begin:begin + size]
        if xxh32(chunk) != expected:
            request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-{begin + size - 1}"})
            with urllib.request.urlopen(request, timeout=300) as answer:
                chunk = answer.read()
            downloaded += len(chunk)
            assert xxh32(chunk) == expected
        output += chunk
    assert xxh32(output) == offered["file_hash"]
    return output, downloaded
