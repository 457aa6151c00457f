# SPDX-License-Identifier: MIT
"""Media with faults of one's choice, which media_faults.c makes."""
import os
import pathlib
import shutil
import subprocess

import pytest

import programs


def build(folder):
    """Builds the library that is preloaded into a program. Returns its path."""
    if programs.SANITIZED:
        pytest.skip("a sanitizer wants to be loaded first")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    library = pathlib.Path(folder) / "media_faults.so"
    if not library.exists():
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library,
                        programs.ROOT / "tests/integration/media_faults.c"], check=True)
    return library


def environment(folder, faults):
    """The environment for a program that sees `faults`, pairs of path and fault."""
    return {**os.environ, "LD_PRELOAD": str(build(folder)),
            "MEDIA_FAULTS": ":".join(f"{path}={fault}" for path, fault in faults)}
