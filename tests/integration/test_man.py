# SPDX-License-Identifier: MIT
"""The manual pages tell what the programs do: moonsinter(1) and moonsinterd(8) against --help, and
moonsinterd.conf(5) against what --check-config prints (the unit test of the configuration holds it against the
table itself)."""

import re
import subprocess
from pathlib import Path

import pytest

import programs

DOCS = Path(__file__).resolve().parents[2] / "docs"
LONG_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
COMMAND = re.compile(r"^  ([a-z][a-z-]+)\b", re.MULTILINE)


def page(name, folder=DOCS):
    """The page as text, without scdoc's marks."""
    text = (folder / f"{name}.scd").read_text()
    return re.sub(r"\\(.)", r"\1", text.replace("*", ""))


def help_text(program, *verb):
    done = subprocess.run([program, *verb, "--help"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout, "--help goes to standard output"
    return done.stdout


@pytest.mark.parametrize("program, name", [(programs.MOONSINTER, "moonsinter.1"),
                                           (programs.MOONSINTERD, "moonsinterd.8")])
def test_options(program, name):
    compare_options(program, page(name))


def compare_options(program, told):
    text = help_text(program)
    if program.name == "moonsinter":
        text += "".join(help_text(program, verb) for verb in COMMAND.findall(text))
    told, offered = set(LONG_OPTION.findall(told)), set(LONG_OPTION.findall(text))
    assert offered - told == set(), "not in the page"
    # Options of other programs in examples are shown by the page only.
    assert told - offered - {"--unix-socket"} == set(), "not in --help"


def test_commands():
    text, offered = page("moonsinter.1"), COMMAND.findall(help_text(programs.MOONSINTER))
    assert len(offered) >= 5
    for command in offered:
        assert re.search(rf"^.*\b{command}\b", text, re.MULTILINE), f"{command} is not in the page"


def test_settings(tmp_path):
    path = tmp_path / "moonsinterd.conf"
    path.write_text("[Update]\nUrl=http://127.0.0.1/x.img\n[Slots]\nA=/a\nB=/b\n[Part boot]\nA=/c\nB=/d\n")
    done = subprocess.run([programs.MOONSINTERD, "--config", str(path), "--check-config"], capture_output=True,
                          text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"^(?:\[([\w ]+)\]|(\w+)=.*)$", done.stdout.replace("[Part boot]", "[Part NAME]"), re.MULTILINE)
    told = re.findall(r"^(?:## \[([\w ]+)\]|\*(\w+)=\*)$", (DOCS / "moonsinterd.conf.5.scd").read_text(), re.MULTILINE)
    assert shown == told


def test_pages_can_be_made():
    for source in sorted(DOCS.glob("*.scd")):
        done = subprocess.run(["scdoc"], stdin=source.open(), capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{source.name}: {done.stderr}"


def test_examples_of_settings(tmp_path):
    """conf/: with its defaults in, the commented file is taken as it is; so is the Raspberry Pi's."""
    conf = programs.ROOT / "conf"
    commented = re.sub(r"^#(?=[A-Z]\w*=|\[)", "", (conf / "moonsinterd.conf").read_text(), flags=re.MULTILINE)
    # Those of the boot loaders, for the configuration is one without.
    loaders = "CmdlineFile|GrubenvFile|AutobootFile|BootPartition|FwEnvConfig|Uboot|Entry|Esp|Efi|Program|BootName"
    commented = re.sub(rf"^(?=({loaders})\w*=)", "#", commented, flags=re.MULTILINE)
    (tmp_path / "cmdline.txt").write_text("root=PARTUUID=738a4d67-02\n")
    raspberry = (conf / "raspberry-pi.conf").read_text()
    raspberry = raspberry.replace("/boot/firmware/cmdline.txt", str(tmp_path / "cmdline.txt"))
    for text in (commented, raspberry):
        path = tmp_path / "moonsinterd.conf"
        path.write_text(text)
        path.chmod(0o600)
        done = subprocess.run([programs.MOONSINTERD, "--config", str(path), "--check-config"], capture_output=True,
                              text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
