# SPDX-License-Identifier: MIT
"""What can be left out of the command when it is built: -Dpublishing= and -Dreports=, in a build folder of their own."""
import subprocess

import pytest

import images
import programs
import test_man

pytestmark = pytest.mark.slow


class Build:
    """The command and its manual page, built with options of its own."""

    def __init__(self, folder):
        self.folder, self.command = folder, folder / "cli" / "moonsinter"

    def configure(self, **features):
        again = ["--reconfigure"] if (self.folder / "build.ninja").exists() else []
        options = [f"-D{name}={value}" for name, value in {"publishing": "auto", "reports": "auto", **features}.items()]
        # Nothing is optimized: that would take most of the time.
        return self.run("meson", "setup", *again, self.folder, "-Dtests=disabled", "-Dbuildtype=plain", *options)

    def make(self, **features):
        for done in (self.configure(**features), self.run("ninja", "-C", self.folder, "cli/moonsinter", "docs/moonsinter.1")):
            assert done.returncode == 0, done.stdout

    @staticmethod
    def run(*arguments):
        return subprocess.run(list(map(str, arguments)), cwd=programs.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)

    def moonsinter(self, *arguments):
        return programs.moonsinter(*arguments, program=self.command)

    def verbs(self):
        return test_man.COMMAND.findall(test_man.help_text(self.command))

    def page(self):
        return test_man.page("moonsinter.1", self.folder / "docs")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return Build(tmp_path_factory.mktemp("build"))


def assert_left_out(result, name):
    """It says so, and is no failure of the work: nothing was begun."""
    programs.assert_failed(result, name, status=2)
    event, = result.events
    assert event["event"] == "failed" and event["kind"] == "refused" and "built without" in event["message"], result


def test_a_command_without_publishing(build, folder, nginx, small_release):
    build.make(publishing="disabled")
    assert set(test_man.COMMAND.findall(test_man.help_text(programs.MOONSINTER))) - set(build.verbs()) == {"generate", "diff"}
    for verb in ("generate", "diff"):
        for arguments in ([], ["--help"], [small_release[0], small_release[0]]):
            assert_left_out(build.moonsinter(verb, *arguments), verb)
    test_man.compare_options(build.command, build.page())
    assert "generate" not in build.page() and "TMPDIR" not in build.page()
    # The rest is all there.
    image, content = small_release
    assert build.moonsinter("clone", nginx.publish(image), folder / "out").status == 0
    assert (folder / "out").read_bytes() == content
    assert build.moonsinter("verify", folder / "out", f"{image}.json").status == 0


def test_a_command_without_reports(build, folder):
    build.make(reports="disabled")
    (folder / "new").write_bytes(images.noise(100_000, "new"))
    (folder / "old").write_bytes(images.noise(100_000, "old"))
    assert_left_out(build.moonsinter("diff", folder / "new", folder / "old", "--report", folder / "page"), "--report")
    assert not (folder / "page").exists()
    assert "--report" not in test_man.help_text(build.command, "diff")
    test_man.compare_options(build.command, build.page())
    assert build.moonsinter("diff", folder / "new", folder / "old").events[-1]["event"] == "done"
    assert build.moonsinter("generate", folder / "new", "--pack", "--base", folder / "old").events[-1]["event"] == "done"


def test_reports_need_publishing(build):
    done = build.configure(publishing="disabled", reports="enabled")
    assert done.returncode != 0 and "reports need -Dpublishing=enabled" in done.stdout, done.stdout
