# SPDX-License-Identifier: MIT
"""Manifests that cannot be had, and addresses that lead nowhere: one sentence says why, and no output is made."""
import pytest

import programs
from evil_server import EvilServer
from programs import assert_failed, moonsinter
from server_site import IMPATIENT, clone, evil, image_bytes  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.sanitized, pytest.mark.one_thread]

STATUSES = ["404", "403", "410", "304", "500", "503"]
MANIFEST = {
    **dict.fromkeys(STATUSES, "remote"), "gzip": "remote", "redirect-loop": "remote", "redirect-file": "remote",
    "redirect-nowhere": "remote", "garbage": "remote", "long": "format", "endless": "refused", "endless-header": "refused",
    "endless-line": "refused", "short": "network", "reset-now": "network", "silent": "network", "stall": "network", "slow": "network",
}


@pytest.mark.parametrize("behaviour", MANIFEST)
def test_a_manifest_that_cannot_be_had_is_one_sentence(evil, folder, behaviour):
    evil.behave("image.json", behaviour)
    result = clone(evil, folder)
    sentence = assert_failed(result, kind=MANIFEST[behaviour])
    assert "image.json" in sentence and (behaviour not in STATUSES or behaviour in sentence)
    assert result.named("dl_manifest_failed"), result
    assert not (folder / "out").exists()
    assert result.seconds < 30 * programs.PATIENCE
    assert image_bytes(evil) == 0


def test_nobody_listening_is_one_sentence(folder):
    with EvilServer(folder) as server:
        url = server.url("image")
    assert_failed(moonsinter("clone", url, folder / "out", *IMPATIENT), "127.0.0.1")


def test_a_name_that_does_not_resolve_is_one_sentence(folder):
    assert_failed(moonsinter("clone", "http://no-such-host.invalid/image", folder / "out", *IMPATIENT, timeout=60),
                  "no-such-host.invalid")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/image", "image", "http://", "",
                                 "http://127.0.0.1:99999/image", "gopher://127.0.0.1/image", "/etc/hostname"])
def test_other_schemes_and_broken_addresses_are_refused(folder, url):
    result = moonsinter("clone", url, folder / "out", *IMPATIENT)
    assert result.status in (1, 2) and result.stderr.strip(), result
    assert not (folder / "out").exists()


def test_a_manifest_that_drips_ends(evil, folder):
    evil.behave("image.json", "drip")
    assert_failed(clone(evil, folder), "timeout", "image.json")
