# SPDX-License-Identifier: MIT
"""Fixtures: a folder that is cleaned up, nginx, daemons, loop devices, mounts, images. See programs.py, web.py,
images.py, releases.py and loops.py for what they hand out."""
import contextlib
import glob
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import evil_server  # noqa: E402
import images  # noqa: E402
import keys  # noqa: E402
import loops as loop_devices  # noqa: E402
import programs  # noqa: E402
import releases  # noqa: E402
import web  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "fast: of the handful that tests/run fast runs")
    config.addinivalue_line("markers", "slow: takes more than some ten seconds")
    config.addinivalue_line("markers", "sanitized: also run with the sanitizer builds")
    config.addinivalue_line("markers", "one_thread: about what the loop's thread does, so not run with the ThreadSanitizer")
    config.addinivalue_line("markers", "patient: mostly waits, so that a sanitizer would see little in its time")


def pytest_sessionstart(session):
    # A shell has what it starts in the background ignore these signals, and all programs of the tests would do so, too.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for program in (programs.MOONSINTER, programs.MOONSINTERD):
        if not program.exists():
            pytest.exit(f"{program} is not built; tests/run builds it", returncode=3)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())



def make_folder():
    """An empty folder with room for images."""
    images.CACHE.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(prefix="test-", dir=images.CACHE))


def clear_folder(path, failed):
    """Removes a test's folder; if the test failed, leaves its small files (logs, configuration)."""
    if not failed:
        shutil.rmtree(path)
        return
    for file in path.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_size > 5_000_000:
            file.unlink()
    print(f"\nwhat the test left stays in {path}")


def has_failed(node):
    """Whether a test, which is about to end, has failed so far."""
    return any(getattr(node, f"report_{when}", None) and getattr(node, f"report_{when}").failed for when in ("setup", "call"))


@pytest.fixture
def folder(request):
    """An empty folder with room for images, removed at the end; after a failure its small files stay."""
    path = make_folder()
    yield path
    clear_folder(path, has_failed(request.node))


@pytest.fixture(autouse=True)
def sanitizer_reports(request, monkeypatch):
    """In a sanitizer build, fails a test if a program left a report, whatever its exit status was."""
    if not programs.SANITIZED:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="moonsinter-reports-") as reports:
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            monkeypatch.setenv(name, f"{os.environ.get(name, '')}:log_path={reports}/{name}")
        yield
        found = [pathlib.Path(path).read_text(errors="replace") for path in glob.glob(f"{reports}/*")]
        if found:
            pytest.fail("the sanitizer reports:\n" + "\n".join(text[:6000] for text in found), pytrace=False)


@pytest.fixture
def nginx(folder):
    """A server (web.Nginx)."""
    server = web.Nginx(folder / "nginx")
    yield server
    server.stop()


@pytest.fixture
def make_nginx(folder):
    """make_nginx(server_lines) starts one (web.Nginx) with these lines in its server block."""
    started = []

    def make(server_lines=""):
        server = web.Nginx(folder / f"nginx-{len(started)}", server_lines)
        started.append(server)
        return server
    yield make
    for server in started:
        server.stop()


@pytest.fixture
def server(folder):
    """A server that misbehaves on request (evil_server.EvilServer). It serves FOLDER/www, which is empty."""
    (folder / "www").mkdir()
    with evil_server.EvilServer(folder / "www") as made:
        yield made


@pytest.fixture
def key(folder):
    """The publisher's key pair (keys.Key)."""
    return keys.Key(folder / "publisher")


@pytest.fixture
def make_daemon(folder):
    """make_daemon(url, slots, ...) configures one (programs.Daemon); .start() starts it."""
    made = []

    def make(*arguments, **options):
        daemon = programs.Daemon(folder / f"daemon-{len(made)}", *arguments, **options)
        made.append(daemon)
        return daemon
    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture
def file_slots(folder):
    """The paths of two empty files as slots."""
    paths = (folder / "slot-a", folder / "slot-b")
    for path in paths:
        path.touch()
    return paths


@pytest.fixture
def loops(folder):
    """loops.attach(size) makes a loop device (loops.Loops); all are detached at the end."""
    devices = loop_devices.Loops(folder)
    yield devices
    devices.detach_all()


@pytest.fixture
def disks(folder):
    """disks(name, size) makes a loops.Disk with partitions of `size` bytes; all are pulled out at the end."""
    for tool in ("sfdisk", "partx"):
        if os.getuid() != 0 or not shutil.which(tool, path=loop_devices.PATH):
            pytest.skip(f"disks need root and {tool}")
    made = []

    def make(name, size):
        disk = loop_devices.Disk(folder, name, size)
        made.append(disk)
        disk.plug_in()
        return disk
    yield make
    for disk in made:
        disk.pull_out()


@pytest.fixture
def mount(folder):
    """mount(source, *options) mounts on a folder below the test's and returns its path."""
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    points = []

    def do_mount(source, *options):
        point = folder / f"mounted-{len(points)}"
        point.mkdir()
        done = subprocess.run(["mount", *options, str(source), str(point)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"this machine does not mount: {done.stderr.strip()}")
        points.append(point)
        return point
    yield do_mount
    for point in reversed(points):
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["umount", str(point)], check=True)


@pytest.fixture
def small_release(folder):
    """A release of 3 MB of noise: (path of the image, its bytes)."""
    content = images.noise(3_000_000, "small")
    return releases.make_release(folder / "release", content, version="1", serial=1), content


@pytest.fixture(scope="session")
def debian_images():
    """Three squashfs images of Debian packages, at least 150 MB each."""
    return images.debian_images()
