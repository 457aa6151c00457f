"""Media that cannot be read in one way or another, and what they cost."""
import os
import shutil
import subprocess

import pytest

import images
import media
from programs import MOONSINTER, Result, assert_failed, moonsinter
from releases import make_release


@pytest.fixture
def bad(folder):
    """bad((path, fault), ...) gives the environment of a program that sees these faults."""
    return lambda *faults: media.environment(folder, faults)


# ---- past the page cache ----

@pytest.mark.parametrize("fault", ("no-direct", "refuse-direct"))
def test_a_file_that_knows_no_o_direct_is_read_back_otherwise_and_that_is_said(nginx, small_release, folder, bad, fault):
    image, content = small_release
    output = folder / "output"
    environment = bad((output, fault))
    result = moonsinter("clone", nginx.publish(image), output, env=environment)
    assert result.status == 0 and output.read_bytes() == content, result
    assert len(result.named("read_back_cached")) == 1, result
    result = moonsinter("verify", output, f"{image}.json", env=environment)
    assert result.status == 0 and len(result.named("read_back_cached")) == 1, result


def test_nothing_is_said_where_the_cache_can_be_passed_by(nginx, small_release, loops):
    device = loops.attach(8 << 20)
    result = moonsinter("clone", nginx.publish(small_release[0]), device)
    assert result.status == 0 and not result.named("read_back_cached"), result


@pytest.mark.parametrize("fault", ("no-direct", "refuse-direct"))
def test_a_block_device_that_knows_no_o_direct_is_refused_before_the_first_write(nginx, small_release, loops, bad, fault):
    image, _ = small_release
    device = loops.attach(8 << 20)
    environment = bad((device, fault))
    assert_failed(moonsinter("clone", nginx.publish(image), device, env=environment), device, "page cache")
    assert nginx.requests("/image") == []
    assert loops.backing(device).read_bytes() == bytes(8 << 20)
    moonsinter("clone", nginx.url("image"), device)
    assert_failed(moonsinter("verify", device, f"{image}.json", env=environment), device, "page cache")


def test_on_a_real_union_file_system(nginx, small_release, folder):
    """unionfs-fuse opens with O_DIRECT and then cannot read."""
    program = shutil.which("unionfs-fuse") or shutil.which("unionfs")
    if not program or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no unionfs-fuse, or no /dev/fuse")
    image, content = small_release
    branch, union = folder / "branch", folder / "union"
    branch.mkdir()
    union.mkdir()
    mounted = subprocess.run([program, f"{branch}=RW", union], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no FUSE here: {mounted.stderr.strip()}")
    try:
        result = moonsinter("clone", nginx.publish(image), union / "output")
        assert result.status == 0 and (branch / "output").read_bytes() == content, result
        assert moonsinter("verify", union / "output", f"{image}.json").status == 0
    finally:
        subprocess.run(["umount", union], check=True)


# ---- without /proc ----

def without_proc(*arguments):
    """Runs the command where /proc is an empty folder."""
    if os.getuid() != 0:
        pytest.skip("a namespace of mounts needs root")
    script = 'mount -t tmpfs none /proc && exec "$@"'
    command = [str(MOONSINTER), *map(str, arguments)]
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    return Result(command, done.returncode, done.stdout, done.stderr, 0)


@pytest.mark.parametrize("kind", ("file", "block device"))
def test_all_works_without_proc(nginx, small_release, folder, loops, kind):
    image, content = small_release
    output = folder / "output" if kind == "file" else loops.attach(8 << 20)
    result = without_proc("clone", nginx.publish(image), output)
    assert result.status == 0, result
    with open(output, "rb") as file:
        assert file.read(len(content)) == content
    assert without_proc("verify", output, f"{image}.json").status == 0
