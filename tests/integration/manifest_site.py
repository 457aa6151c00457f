# SPDX-License-Identifier: MIT
"""A published release whose manifest is replaced at will, and an output that must survive it."""
import json

import pytest

import images
from programs import assert_failed, moonsinter
from releases import make_release, read_manifest

CONTENT = images.noise(600_000, "manifests")
NUMBERS = [2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64,
           10**30, 0, -1, -2**31, -2**63, 1.5, 1e300, "12", "", None, True, [], {}]


class Site:
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
        """For a change after which the manifest may still describe the image."""
        result = self.clone()
        if result.status == 0:
            assert self.out.read_bytes() == CONTENT
        else:
            assert_failed(result)


@pytest.fixture
def site(nginx, folder):
    return Site(nginx, folder)
