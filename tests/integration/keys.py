# SPDX-License-Identifier: MIT
"""Makes keys and signatures by Debian's minisign, as publishers do."""
import pathlib
import shutil
import subprocess

import pytest

MINISIGN = shutil.which("minisign")


class Key:
    """A key pair without a password, made by minisign: .public, .secret (paths)."""

    def __init__(self, folder, name="key"):
        if not MINISIGN:
            pytest.skip("minisign is not installed")
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.public, self.secret = folder / f"{name}.pub", folder / f"{name}.key"
        minisign("-G", "-W", "-p", self.public, "-s", self.secret)

    @property
    def id(self):
        return self.public.read_text().splitlines()[0].split()[-1]

    def sign(self, path, *options):
        """Makes PATH.minisig and returns its path."""
        minisign("-S", "-s", self.secret, "-m", path, *options)
        return pathlib.Path(f"{path}.minisig")


def minisign(*arguments, check=True):
    done = subprocess.run([MINISIGN, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    assert not check or done.returncode == 0, done
    return done
