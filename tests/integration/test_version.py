# SPDX-License-Identifier: MIT
"""Two builds can be told apart, and a tarball knows what it was made from."""
import os
import re
import subprocess

import pytest

import programs

FIND = programs.ROOT / "common/base/find-version"


def git(folder, *words):
    done = subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=n@example.com", *words], cwd=folder, check=True,
                          capture_output=True, text=True)
    return done.stdout.strip()


def find(source, **environment):
    """What a build there would be called, and the time of its source."""
    clean = {name: value for name, value in os.environ.items()
             if name != "SOURCE_DATE_EPOCH" and not name.startswith("MESON_")}
    done = subprocess.run([FIND, source, "9.8.7"], check=True, capture_output=True, text=True, env={**clean, **environment})
    name, time = re.fullmatch(r'"([^"]+)", (\d+)\n', done.stdout).groups()
    return name, int(time)


@pytest.mark.parametrize("program", [programs.MOONSINTER, programs.MOONSINTERD])
def test_a_program_says_which_build_it_is(program):
    done = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    assert re.fullmatch(rf"{program.name} \d+\.\d+\.\d+(-\d+)?(-g[0-9a-f]+)?(-dirty)?\n", done.stdout)


def test_each_commit_has_a_name_of_its_own(folder):
    git(folder, "init", "-q")
    (folder / "meson.build").write_text("one")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    commit = git(folder, "rev-parse", "--short=9", "HEAD")
    assert find(folder) == (f"9.8.7-g{commit}", int(git(folder, "log", "-1", "--format=%ct")))
    git(folder, "tag", "v1.2.3")
    assert find(folder)[0] == "1.2.3"
    (folder / "meson.build").write_text("two")
    assert find(folder)[0] == "1.2.3-dirty"
    git(folder, "commit", "-qam", "two")
    commit = git(folder, "rev-parse", "--short=9", "HEAD")
    assert find(folder)[0] == f"1.2.3-1-g{commit}"
    assert find(folder, SOURCE_DATE_EPOCH="1234567")[1] == 1234567


def test_a_tarball_keeps_name_and_time(folder):
    tree, tarball = folder / "tree", folder / "tarball"
    tree.mkdir()
    tarball.mkdir()
    git(tree, "init", "-q")
    (tree / "meson.build").write_text("one")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "one")
    # As meson dist calls it.
    subprocess.run([FIND, tree, "9.8.7"], check=True,
                   env={**os.environ, "MESON_PROJECT_DIST_ROOT": str(tarball), "MESON_PROJECT_SOURCE_ROOT": str(tree)})
    (tarball / "meson.build").write_text("one")
    assert find(tarball) == find(tree)


def test_a_copy_without_history_has_the_time_of_its_files(folder):
    (folder / "meson.build").write_text("one")
    os.utime(folder / "meson.build", (1700000000, 1700000000))
    assert find(folder) == ("9.8.7", 1700000000)
