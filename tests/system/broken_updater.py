# SPDX-License-Identifier: MIT
"""Updaters that are broken on purpose: moonsinterd as it is built here, but for one edit in one of its sources."""
import pathlib
import shlex

import programs
from guest_tree import run


def build(folder, source, old, new):
    """Compiles that source with the edit and links it before the daemon's library, so that the library's own is not taken.
    Returns the program."""
    text = (programs.ROOT / source).read_text()
    assert text.count(old) == 1, f"{source} has {text.count(old)} places that read: {old}"
    folder.mkdir()
    edited = folder / pathlib.Path(source).name
    edited.write_text(text.replace(old, new))
    told = run("ninja", "-C", programs.BUILD, "-t", "commands", "daemon/moonsinterd")
    commands = [shlex.split(line) for line in told.splitlines()]
    compiling = next(words for words in commands if words[-1].endswith(f"/{source}") and "-c" in words)
    linking = next(words for words in commands if "-o" in words and words[words.index("-o") + 1] == "daemon/moonsinterd")
    program, part, library = folder / "moonsinterd", folder / "edited.o", "daemon/libmoonsinter-daemon.a"
    run(*compiling[:compiling.index("-MD")], "-o", part, "-c", edited, cwd=programs.BUILD)
    at = linking.index(library)
    linking[linking.index("-o") + 1] = program
    run(*linking[:at], part, *linking[at:], cwd=programs.BUILD)
    return program
