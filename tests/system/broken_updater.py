# SPDX-License-Identifier: MIT
"""Updaters that are broken on purpose: moonsinterd as it is built here, but for an edit in one of its sources or several."""
import pathlib
import shlex

import programs
from guest_tree import run

ARMS_BEFORE_IT_WRITES = [("daemon/parts/boot_task.c", "return boot_invalidate(task->boot, task->slot, error);",
                          "task->kind = BOOT_TASK_ARM;\n        return boot_arm(task->boot, task->slot, error);")]
# It takes the first image of a set for the last one, and nobody asks whether all are held.
ARMS_AFTER_THE_FIRST_PART = [
    ("common/sinter/clone_set.c", "return image == &image->set->images[image->set->settings.count - 1];",
     "return image == &image->set->images[0];"),
    ("daemon/parts/installer.c", "for (unsigned i = 0; i < installer->settings.count; i++) {\n        struct installer_image *image = &installer->view.images[i];",
     "for (unsigned i = 0; i < 1; i++) {\n        struct installer_image *image = &installer->view.images[i];"),
    ("daemon/daemon_trust.c", "static bool allows_arming(const struct daemon *daemon, const struct targets *held, struct error *error)\n{\n",
     "static bool allows_arming(const struct daemon *daemon, const struct targets *held, struct error *error)\n{\n    if (held)\n        return true;\n")]


def build(folder, edits):
    """Compiles each source with its edit (old text, new text) and links it before the libraries, so that their own is not
    taken. Returns the program."""
    folder.mkdir()
    commands = [shlex.split(line) for line in run("ninja", "-C", programs.BUILD, "-t", "commands", "daemon/moonsinterd").splitlines()]
    made = []
    for source, old, new in edits:
        text = (programs.ROOT / source).read_text()
        assert text.count(old) == 1, f"{source} has {text.count(old)} places that read: {old}"
        edited = folder / pathlib.Path(source).name
        edited.write_text(text.replace(old, new))
        compiling = next(words for words in commands if words[-1].endswith(f"/{source}") and "-c" in words)
        made.append(edited.with_suffix(".o"))
        run(*compiling[:compiling.index("-MD")], "-o", made[-1], "-c", edited, cwd=programs.BUILD)
    linking = next(words for words in commands if "-o" in words and words[words.index("-o") + 1] == "daemon/moonsinterd")
    program = folder / "moonsinterd"
    at = linking.index("daemon/libmoonsinter-daemon.a")
    linking[linking.index("-o") + 1] = program
    run(*linking[:at], *made, *linking[at:], cwd=programs.BUILD)
    return program
