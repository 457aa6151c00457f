# SPDX-License-Identifier: MIT
"""A set on nginx: a main image and a boot image that is its part."""
import hashlib

import pytest

import images
from programs import moonsinter
from releases import make_release

ROOT_SIZE, BOOT_SIZE = 2_000_000, 700_000


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Site:
    """A publisher's folder on a server, with images by name."""

    def __init__(self, www, url):
        self.www, self.url = www, url

    def image(self, name, content):
        return make_release(self.www, content, name=name)

    def set(self, name, *parts, options=()):
        """Runs generate for the main image, which is there already; returns its URL."""
        result = moonsinter("generate", self.www / name, *[word for part in parts for word in ("--part", part)], *options)
        assert result.status == 0, result
        assert [event["what"] for event in result.named("warning")] == ["set-and-first-moonsinter"]
        return self.url(name)


@pytest.fixture
def site(nginx):
    return Site(nginx.www, nginx.url)


@pytest.fixture
def boot(site):
    return site.image("boot-1.vfat", images.noise(BOOT_SIZE, "boot 1"))


@pytest.fixture
def root(site):
    return site.image("root.img", images.noise(ROOT_SIZE, "root 1"))


@pytest.fixture
def url(site, boot, root):
    return site.set("root.img", f"boot={boot}")


def outputs(folder, number=1):
    return folder / f"root-{number}", folder / f"boot-{number}"
