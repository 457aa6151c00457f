# SPDX-License-Identifier: MIT
"""What may and may not be written to."""
import fcntl
import os
import signal
import stat
import subprocess

import pytest

import images
import programs
from programs import assert_failed, moonsinter
from releases import make_release

pytestmark = pytest.mark.sanitized

DISK = 8 << 20


def marked(loops, size=DISK):
    """A loop device full of a pattern, to see that nothing was written."""
    device = loops.attach(size)
    loops.backing(device).write_bytes(b"\xa5" * size)
    return device


def assert_untouched(loops, device, size=DISK):
    assert loops.backing(device).read_bytes() == b"\xa5" * size


def test_a_block_device_gets_the_image_and_keeps_what_lies_behind(nginx, small_release, loops):
    image, content = small_release
    device = marked(loops)
    assert moonsinter("clone", nginx.publish(image), device).status == 0
    data = loops.backing(device).read_bytes()
    assert data[:len(content)] == content
    assert data[len(content):] == b"\xa5" * (DISK - len(content))


def test_an_image_larger_than_the_device_is_refused_before_the_first_write(nginx, folder, loops):
    device = marked(loops, 1 << 20)
    url = nginx.publish(make_release(folder / "release", images.noise((1 << 20) + 1, "too large")))
    assert_failed(moonsinter("clone", url, device), device)
    assert_untouched(loops, device, 1 << 20)
    assert nginx.requests("/image") == []


def test_a_mounted_device_is_refused_with_its_mount_point(nginx, small_release, loops, mount):
    device = loops.attach(DISK)
    programs_run("mkfs.ext4", "-q", device)
    point = mount(device)
    (point / "precious").write_text("kept")
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), device), device, str(point))
    assert (point / "precious").read_text() == "kept"


def programs_run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})


def test_a_device_that_is_swap_is_refused(nginx, small_release, loops):
    device = loops.attach(DISK)
    programs_run("mkswap", device)
    try:
        programs_run("swapon", device)
    except subprocess.CalledProcessError:
        pytest.skip("swap cannot be switched on here")
    try:
        assert_failed(moonsinter("clone", nginx.publish(small_release[0]), device), device, "swap")
    finally:
        programs_run("swapoff", device)


def test_a_device_held_by_another_program_is_refused_and_the_holder_named(nginx, small_release, loops):
    device = marked(loops)
    holder = os.open(device, os.O_RDWR | os.O_EXCL)
    try:
        assert_failed(moonsinter("clone", nginx.publish(small_release[0]), device), device, str(os.getpid()))
        assert_untouched(loops, device)
    finally:
        os.close(holder)


def test_a_read_only_device_is_refused(nginx, small_release, loops):
    device = loops.attach(DISK, read_only=True)
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), device), device)


def test_a_folder_is_refused(nginx, small_release, folder):
    out = folder / "out"
    out.mkdir()
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), out), str(out))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kind", ["fifo", "character", "dangling"])
def test_other_things_are_refused(nginx, small_release, folder, kind):
    out = folder / "out"
    if kind == "fifo":
        os.mkfifo(out)
    elif kind == "character":
        out = "/dev/null"
    else:
        out.symlink_to(folder / "missing" / "further")
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), out, timeout=20), str(out))


def test_a_missing_folder_is_an_error(nginx, small_release, folder):
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), folder / "missing" / "out"), "missing/out")


def test_a_missing_device_does_not_become_a_file(nginx, small_release):
    path = f"/dev/moonsinter-test-{os.getpid()}"
    try:
        assert_failed(moonsinter("clone", nginx.publish(small_release[0]), path), path)
        assert not os.path.exists(path)
    finally:
        if os.path.exists(path):
            os.unlink(path)


def test_a_read_only_file_system_is_an_error(nginx, small_release, mount):
    place = mount("tmpfs", "-t", "tmpfs", "-o", "size=8m,ro")
    assert_failed(moonsinter("clone", nginx.publish(small_release[0]), place / "out"), str(place / "out"))


def test_a_file_without_permission_is_an_error(nginx, small_release, folder):
    out = folder / "out"
    out.write_bytes(b"kept")
    out.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    if os.getuid() == 0:
        # Root may write to any file; what stops it as well is a file that is immutable.
        done = subprocess.run(["chattr", "+i", out], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no immutable files here: {done.stderr.strip()}")
    try:
        assert_failed(moonsinter("clone", nginx.publish(small_release[0]), out), str(out))
        assert out.read_bytes() == b"kept"
    finally:
        if os.getuid() == 0:
            subprocess.run(["chattr", "-i", out], check=True)


def test_a_full_file_system_is_an_error_and_nothing_is_lost(nginx, small_release, mount):
    image, content = small_release
    place = mount("tmpfs", "-t", "tmpfs", "-o", "size=2m")
    url = nginx.publish(image)
    assert_failed(moonsinter("clone", url, place / "out"), str(place / "out"), ("space", "full"))
    nginx.wait_for_silence()
    programs_run("mount", "-o", "remount,size=16m", place)
    result = moonsinter("clone", url, place / "out")
    assert result.status == 0, result
    assert (place / "out").read_bytes() == content
    nginx.wait_for_silence()
    assert sum(request.body_bytes for request in nginx.requests("/image")) <= len(content) + (8 << 20)


def test_two_clones_into_one_file_do_not_mix(make_nginx, folder):
    nginx = make_nginx("limit_rate 2m;")
    content = images.noise(8_000_000, "exclusive")
    url = nginx.publish(make_release(folder / "release", content))
    first = programs.start_moonsinter("clone", url, folder / "out")
    try:
        for line in first.stdout:
            if '"dl_chunk"' in line:
                break
        assert first.poll() is None
        assert_failed(moonsinter("clone", url, folder / "out"), str(folder / "out"))
    finally:
        first.communicate(timeout=60 * programs.PATIENCE)
    assert first.returncode == 0
    assert (folder / "out").read_bytes() == content


def test_a_file_locked_by_somebody_is_refused(nginx, small_release, folder):
    out = folder / "out"
    out.write_bytes(b"locked")
    with open(out, "r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert_failed(moonsinter("clone", nginx.publish(small_release[0]), out), str(out))
    assert out.read_bytes() == b"locked"


def test_a_symbolic_link_is_followed(nginx, small_release, folder):
    image, content = small_release
    (folder / "real").touch()
    (folder / "out").symlink_to("real")
    assert moonsinter("clone", nginx.publish(image), folder / "out").status == 0
    assert (folder / "real").read_bytes() == content
    assert (folder / "out").is_symlink()


def test_success_is_said_only_of_what_the_medium_holds(make_nginx, folder, loops):
    """The backing file of the device is altered behind its back while the clone is stopped, after its last write."""
    nginx = make_nginx()
    content = images.noise(64_000_000, "read back")
    url = nginx.publish(make_release(folder / "release", content))
    device = loops.attach(64 << 20)
    backing = loops.backing(device)
    for _ in range(5):
        process = programs.start_moonsinter("clone", url, device)
        planned = stopped = False
        for line in process.stdout:
            planned = planned or '"total_chunks"' in line
            # The first such event tells of the scan, the one after the plan of the read-back.
            if planned and '"output_file_hash_start"' in line:
                process.send_signal(signal.SIGSTOP)
                stopped = True
                break
        if stopped:
            programs.wait_until(lambda: programs.is_stopped(process.pid), "it has stopped")
            with open(backing, "r+b") as medium:
                medium.seek(len(content) - 4096)
                last = medium.read(4096)
                if last == content[-4096:]:
                    medium.seek(len(content) - 4096)
                    medium.write(bytes(4096))
                    medium.flush()
                    os.fsync(medium.fileno())
        process.send_signal(signal.SIGCONT)
        stdout, stderr = process.communicate(timeout=60 * programs.PATIENCE)
        equal = backing.read_bytes()[:len(content)] == content
        assert equal == (process.returncode == 0), f"status {process.returncode}, equal: {equal}\n{stderr}{stdout[-500:]}"
        if '"clone_again"' in stdout:
            assert equal, "the second round has mended it"
            return
    pytest.fail("the moment between the last write and the read-back was never met")
