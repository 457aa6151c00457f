# SPDX-License-Identifier: MIT
"""moonsinter generate as a publisher meets it: what is refused, what is warned of, and that nothing half is ever published."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import images
import keys
from programs import SANITIZED, assert_failed, moonsinter, on_terminal, start_moonsinter, wait_until
from releases import make_empty_release


def warnings(result):
    """The codes, each of which has a sentence on standard error, too."""
    found = result.named("warning")
    assert all(warning["message"] in result.stderr for warning in found), result
    return [warning["what"] for warning in found]


def generate(image, *options):
    result = moonsinter("generate", image, *options)
    assert result.status == 0, result
    return result


@pytest.mark.sanitized
@pytest.mark.parametrize("options", [[], ["--pack"], ["--version", "3", "--serial", "3"]])
def test_an_empty_image_is_not_published(folder, options):
    image = folder / "image"
    image.write_bytes(b"")
    result = moonsinter("generate", image, *options)
    assert_failed(result, "empty")
    assert result.events[-1]["kind"] == "refused"
    assert [path.name for path in folder.iterdir()] == ["image"]


def test_an_empty_image_that_somebody_published_is_known(nginx, folder):
    """docs/manifest.md specifies it: whoever reads manifests has to know it."""
    image = make_empty_release(folder / "release")
    url = nginx.publish(image)
    (folder / "out").write_bytes(b"something")
    assert moonsinter("plan", url, folder / "out").status == 0
    assert moonsinter("clone", url, folder / "out").status == 0
    assert (folder / "out").read_bytes() == b""
    assert moonsinter("verify", folder / "out", f"{image}.json").status == 0


@pytest.mark.parametrize("options", [["--pack"], ["--pack", "--quiet"]], ids=["told", "quiet"])
def test_long_work_is_seen_on_a_terminal(folder, options):
    """A second or more of it: which stage it is in and how far; the last line is what came of it."""
    image = folder / "image"
    image.write_bytes(images.noise(24_000_000, 1))
    code, drawn = on_terminal("generate", str(image), *options)
    assert code == 0, drawn
    shown = [line for line in drawn.split("\r") if " % " in line]
    if "--quiet" in options:
        assert not shown, drawn
    else:
        assert any(line.startswith("packing [") for line in shown), drawn
        assert all(0 <= float(line.split(" %")[0].split()[-1]) <= 100 for line in shown), shown
    assert drawn.rstrip().splitlines()[-1].split("\x1b[K")[-1].startswith('{"event":"done"'), drawn


def test_warnings(folder):
    image, old = folder / "image", folder / "old"
    old.write_bytes(images.noise(1_000_000, "old"))
    image.write_bytes(images.changed(old.read_bytes(), "new", edits=5))
    assert warnings(generate(image, "--serial", "7", "--expires", "2999-01-01T00:00:00Z", "--base", old)) == []
    assert warnings(generate(image, "--serial", "7", "--expires", "2001-01-01T00:00:00Z")) == ["expires-past"]
    assert warnings(generate(image, "--serial", "6")) == ["serial-not-above"]
    assert warnings(generate(image)) == ["serial-missing"]
    os.link(old, folder / "linked")
    os.symlink(old, folder / "link")
    for other in ("old", "linked", "link"):
        assert warnings(generate(image, "--base", old, "--base", folder / other)) == ["base-twice"]
    assert warnings(generate(image, "--base", image)) == ["base-is-image"]
    old.write_bytes(images.noise(1_000_000, "foreign"))
    assert warnings(generate(image, "--base", old)) == ["base-useless"]


def read_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("suffix", [".json", ".chunks", ".pack", ".json.new"])
def test_no_half_publication_where_a_file_is_a_mount_point(folder, suffix):
    """Nothing is renamed to such a place, and the others would have been."""
    image = folder / "site" / "image"
    image.parent.mkdir()
    image.write_bytes(images.noise(2_000_000, "old"))
    generate(image, "--serial", "1", "--pack")
    image.write_bytes(images.noise(2_000_000, "new"))
    place, other = pathlib.Path(f"{image}{suffix}"), folder / "other"
    place.touch()
    shutil.copy(place, other)
    if subprocess.run(["mount", "--bind", other, place], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine allows no mount")
    try:
        before = read_files(image.parent)
        assert_failed(moonsinter("generate", image, "--serial", "2", "--pack"), f"image{suffix} is a mount point")
        assert read_files(image.parent) == before
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("hindrance", ["comment", "manifest is a folder", "signature is a folder", "missing base", "full"])
def test_no_half_publication(folder, mount, hindrance):
    place = mount("tmpfs", "-t", "tmpfs", "-o", "size=8m") if hindrance == "full" else folder / "site"
    place.mkdir(exist_ok=True)
    key = keys.Key(folder / "keys")
    image = place / ("new\nline.img" if hindrance == "comment" else "image")
    base = folder / "base"
    base.write_bytes(images.noise(2_000_000, "old"))
    image.write_bytes(base.read_bytes())
    generate(image, "--serial", "1", "--pack", *(["--sign", key.secret] if hindrance != "comment" else []))
    image.write_bytes(images.changed(base.read_bytes(), "new"))
    if hindrance == "manifest is a folder":
        os.unlink(f"{image}.json")
        os.mkdir(f"{image}.json")
    if hindrance == "signature is a folder":
        os.unlink(f"{image}.json.minisig")
        os.mkdir(f"{image}.json.minisig")
    if hindrance == "missing base":
        base.unlink()
    if hindrance == "full":
        (place / "other").write_bytes(bytes(2_500_000))
    before = read_files(place)
    result = moonsinter("generate", image, "--serial", "2", "--pack", "--base", base, "--sign", key.secret)
    assert_failed(result)
    assert read_files(place) == before


def test_the_second_generate_on_an_image_is_refused(nginx, folder):
    image = folder / "release" / "image"
    image.parent.mkdir()
    image.write_bytes(images.noise(8_000_000, "new"))
    first = start_moonsinter("generate", image, "--pack")
    wait_until(lambda: os.path.exists(f"{image}.pack.new"), "the pack is not begun")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        for options in (["--pack", "--average", "16K"], []):
            assert_failed(moonsinter("generate", image, *options), "another generate is at work")
    finally:
        os.kill(first.pid, signal.SIGCONT)
    stdout, stderr = first.communicate()
    assert first.returncode == 0, stderr
    assert sorted(path.name for path in image.parent.iterdir()) == ["image", "image.chunks", "image.json", "image.pack"]
    content = image.read_bytes()
    url = nginx.publish(image)
    (nginx.www / "image").unlink()
    assert moonsinter("clone", url, folder / "out").status == 0
    assert (folder / "out").read_bytes() == content


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
int fsync(int fd)
{
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
"""


@pytest.mark.skipif(SANITIZED or not shutil.which("cc"), reason="a sanitizer wants to be loaded first, and a compiler is needed")
def test_a_folder_that_cannot_be_synced_is_passed_over(folder):
    """As on the shared folders of virtual machines, and some FUSE file systems."""
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    site = folder / "site"
    site.mkdir()
    image, old = site / "image", site / "old"
    old.write_bytes(images.noise(300_000, "old"))
    image.write_bytes(images.changed(old.read_bytes(), "new", edits=3))
    environment = {**os.environ, "LD_PRELOAD": str(folder / "shim.so")}
    assert moonsinter("generate", image, "--pack", env=environment).status == 0
    assert {path.name for path in site.iterdir()} == {"image", "old", "image.chunks", "image.json", "image.pack"}
    assert moonsinter("diff", image, old, "--report", site / "page", env=environment).status == 0
