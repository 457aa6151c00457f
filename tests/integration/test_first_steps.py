# SPDX-License-Identifier: MIT
"""What somebody types who has just cloned the tree: docs/quickstart with an argument, and an install, twice."""
import stat
import subprocess

import programs

SETTINGS = "etc/moonsinter/moonsinterd.conf"
EXAMPLE = programs.ROOT / "conf" / "moonsinterd.conf"


def quickstart(*arguments):
    return subprocess.run([programs.ROOT / "docs" / "quickstart", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)


def test_quickstart_says_what_it_does_and_does_nothing():
    for option in ("--help", "-h"):
        result = quickstart(option)
        assert result.returncode == 0 and not result.stderr, result
        assert "docs/quickstart" in result.stdout and "MOONSINTER_QUICKSTART_DIR=" in result.stdout, result
        assert "set -e" not in result.stdout and "1. Packages" not in result.stdout, result


def test_quickstart_refuses_what_it_does_not_know():
    for arguments in (["--fast"], ["somewhere"], ["--help", "--fast"], [""]):
        result = quickstart(*arguments)
        assert result.returncode == 2 and not result.stdout and "--help" in result.stderr, (arguments, result)


def install(destination):
    result = subprocess.run(["meson", "install", "-C", programs.BUILD, "--no-rebuild", "--destdir", destination],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result


def test_an_install_brings_settings_where_there_are_none(tmp_path):
    install(tmp_path)
    settings = tmp_path / SETTINGS
    assert settings.read_bytes() == EXAMPLE.read_bytes()
    assert stat.S_IMODE(settings.stat().st_mode) == 0o644


def test_another_install_leaves_edited_settings(tmp_path):
    settings = tmp_path / SETTINGS
    settings.parent.mkdir(parents=True)
    settings.write_text("[Update]\nUrl=http://mine/rootfs.img\n")
    install(tmp_path)
    assert settings.read_text() == "[Update]\nUrl=http://mine/rootfs.img\n"
    example, = tmp_path.glob("**/doc/moonsinter/examples/moonsinterd.conf")
    assert example.read_bytes() == EXAMPLE.read_bytes()


def test_a_link_to_settings_elsewhere_stays(tmp_path):
    settings = tmp_path / SETTINGS
    settings.parent.mkdir(parents=True)
    settings.symlink_to("/data/moonsinterd.conf")
    install(tmp_path)
    assert str(settings.readlink()) == "/data/moonsinterd.conf"
