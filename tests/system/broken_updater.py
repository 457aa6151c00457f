# SPDX-License-Identifier: MIT
"""Updaters that are broken on purpose: moonsinterd as it is built here, but for one edit in one of its sources."""
import pathlib
import shlex

import programs
from guest_tree import run


def build(folder, source, old, new):
    """Compiles that source with the edit and links it with the other objects of this build. Returns the program."""
    text = (programs.ROOT / source).read_text()
    assert text.count(old) == 1, f"{source} has {text.count(old)} places that read: {old}"
    folder.mkdir()
    edited = folder / pathlib.Path(source).name
    edited.write_text(text.replace(old, new))
    told = run("ninja", "-C", programs.BUILD, "-t", "commands", "daemon/moonsinterd")
    commands = [shlex.split(line) for line in told.splitlines()]
    compiling = next(words for words in commands if words[-1].endswith(f"/{source}") and "-c" in words)
    linking = next(words for words in commands if "-o" in words and words[words.index("-o") + 1] == "daemon/moonsinterd")
    whole, program, part = compiling[compiling.index("-o") + 1], folder / "moonsinterd", folder / "edited.o"
    run(*compiling[:compiling.index("-MD")], "-o", part, "-c", edited, cwd=programs.BUILD)
    run(*[{whole: part, "daemon/moonsinterd": program}.get(word, word) for word in linking], cwd=programs.BUILD)
    return program
