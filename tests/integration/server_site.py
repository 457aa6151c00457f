# SPDX-License-Identifier: MIT
"""A small release on a server that misbehaves on request (evil_server.py), and a clone of it."""
import pytest

import images
from evil_server import EvilServer
from programs import moonsinter
from releases import make_release

# A test cannot wait two minutes for a peer that says nothing.
IMPATIENT = ("--stall-timeout", "1s", "--retry-for", "4s")
# A clone that must succeed needs time: a busy machine must not look like a fault of the server's.
PATIENT = ("--stall-timeout", "20s", "--retry-for", "60s")
CONTENT = images.noise(1_500_000, "evil")


@pytest.fixture
def evil(folder):
    root = folder / "www"
    make_release(root, CONTENT, version="1", serial=1)
    with EvilServer(root) as server:
        yield server


def clone(evil, folder, *options):
    return moonsinter("clone", evil.url("image"), folder / "out", *IMPATIENT, *options, timeout=60)


def image_bytes(evil):
    return evil.stats()["paths"].get("/image", {"bytes": 0})["bytes"]


def assert_whole(result, folder):
    assert result.status == 0, result
    assert (folder / "out").read_bytes() == CONTENT
