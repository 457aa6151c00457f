# SPDX-License-Identifier: MIT
"""moonsinterd and what comes between: slots that cannot be written, servers that are gone, a medium that forgets, signals,
and a state folder that was lost."""
import os
import signal
import subprocess
import time

import pytest

import images
import programs
import web
from conditions import armed, blocks, failed_with
from loader_machines import PRIVATE, need_namespaces
from releases import make_release

sanitized = pytest.mark.sanitized


# --- trouble with the slot ----------------------------------------------------------------------------------------

@sanitized
def test_an_image_larger_than_the_slot_is_refused_before_the_first_write(nginx, folder, loops, make_daemon):
    slots = [loops.attach(1 << 20) for _ in range(2)]
    pattern = b"\x5a" * (1 << 20)
    for slot in slots:
        loops.backing(slot).write_bytes(pattern)
    release = make_release(folder / "1", images.noise((1 << 20) + 512, 1), version="1", serial=1)
    daemon = make_daemon(nginx.publish(release), slots).start()
    for action in (None, "check", "install"):
        # The first look may be over by now.
        judged = daemon.log.count("-> held: ") if action else 0
        if action:
            daemon.post(action)
        status = daemon.wait(lambda status, judged=judged: status["state"] == "held" and
                             daemon.log.count("-> held: ") > judged, "the same answer, whoever asks")
        assert [block["what"] for block in status["blocked_by"]] == ["slot-too-small"]
        assert str((1 << 20) + 512) in status["blocked_by"][0]["why"]
        assert status["last_check"]["result"] == "update" and status["last_error"] is None
    assert [loops.backing(slot).read_bytes() for slot in slots] == [pattern, pattern]
    assert nginx.sent("/image") == 0


@sanitized
def test_a_mounted_slot_is_never_written(nginx, small_release, loops, mount, make_daemon):
    slots = [loops.attach(8 << 20) for _ in range(2)]
    subprocess.run(["mkfs.ext4", "-q", slots[1]], check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})
    point = mount(slots[1])
    (point / "precious").write_text("kept")
    daemon = make_daemon(nginx.publish(small_release[0]), slots).start()
    status = daemon.wait(lambda status: status["blocked_by"] or status["last_error"], "the refusal")
    assert str(point) in str(status["blocked_by"]) + str(status["last_error"]), "the holder is named"
    assert (point / "precious").read_text() == "kept"
    assert status["boot"]["next"] == "a"


@sanitized
def test_a_slot_held_by_another_program_is_never_written(nginx, small_release, loops, make_daemon):
    slots = [loops.attach(8 << 20) for _ in range(2)]
    holder = os.open(slots[1], os.O_RDWR | os.O_EXCL)
    try:
        daemon = make_daemon(nginx.publish(small_release[0]), slots).start()
        status = daemon.wait(lambda status: status["blocked_by"] or status["last_error"], "the refusal")
        assert slots[1] in str(status["blocked_by"]) + str(status["last_error"])
        assert loops.backing(slots[1]).read_bytes() == bytes(8 << 20)
    finally:
        os.close(holder)
    daemon.post("install")
    daemon.wait(armed("1", "b"), "it installs once the holder is gone")


@sanitized
@pytest.mark.parametrize("kind", ["missing", "missing device", "folder", "same"])
def test_a_slot_that_cannot_be_one_is_said(nginx, small_release, folder, file_slots, make_daemon, kind):
    slots = [file_slots[0], folder / "slot-x"]
    if kind == "missing device":
        slots[1] = f"/dev/moonsinter-slot-x-{os.getpid()}"
    elif kind == "folder":
        slots[1].mkdir()
    elif kind == "same":
        slots[1].symlink_to(file_slots[0])
    daemon = make_daemon(nginx.publish(small_release[0]), slots)
    daemon.start(wait=False)
    deadline = time.monotonic() + 20 * programs.PATIENCE
    while time.monotonic() < deadline:
        if daemon.process.poll() is not None:
            assert daemon.process.returncode == 1
            assert "slot-x" in daemon.log
            return
        try:
            status = daemon.status()
        except OSError:
            status = {}
        if status.get("blocked_by") or status.get("last_error"):
            assert "slot-x" in str(status["blocked_by"]) + str(status["last_error"])
            assert file_slots[0].read_bytes() == b""
            assert kind not in ("missing", "missing device") or not os.path.exists(slots[1])
            return
        time.sleep(0.05)
    pytest.fail(f"nothing was said:\n{daemon.log}")


@sanitized
def test_a_full_medium_is_an_error_and_mends_by_itself(nginx, small_release, mount, make_daemon):
    image, content = small_release
    place = mount("tmpfs", "-t", "tmpfs", "-o", "size=2m")
    slots = (place / "a", place / "b")
    for slot in slots:
        slot.touch()
    daemon = make_daemon(nginx.publish(image), slots).start()
    status = daemon.wait(failed_with("system", "refused"), "the error is told")
    assert "space" in status["last_error"]["message"].lower()
    assert status["slots"]["b"]["state"] == "invalid" and status["boot"]["next"] == "a"
    subprocess.run(["mount", "-o", "remount,size=16m", str(place)], check=True)
    daemon.post("install")
    daemon.wait(armed("1", "b"), "it installs once there is room")
    assert slots[1].read_bytes() == content


@sanitized
def test_a_slot_that_may_not_get_larger_is_an_error_of_writing(nginx, small_release, file_slots, make_daemon):
    """LimitFSIZE= of its unit, say. SIGXFSZ ends a process that does not say otherwise; so would a line of a log that is
    full, which its own thread writes."""
    image, content = small_release
    assert len(content) > 1_000_000
    daemon = make_daemon(nginx.publish(image), file_slots)
    daemon.log_path.write_bytes(b"\n" * 1_000_000)
    daemon.start(prefix=["prlimit", "--fsize=1000000"])
    status = daemon.wait(failed_with("system"), "the error is told")
    assert str(file_slots[1]) in status["last_error"]["message"]
    assert status["slots"]["b"]["state"] == "invalid" and status["boot"]["next"] == "a"
    assert daemon.stop() == 0
    daemon.start()
    daemon.wait(armed("1", "b"), "it installs without the limit")


# --- trouble with the machine -------------------------------------------------------------------------------------

@pytest.mark.skipif(os.getuid() != 0, reason="a mount namespace needs root")
def test_without_proc_it_says_why_it_does_not_know_what_runs(nginx, small_release, folder, file_slots, make_daemon):
    need_namespaces()
    grubenv = folder / "grubenv"
    grubenv.write_bytes(b"# GRUB Environment Block\n".ljust(1024, b"#"))
    daemon = make_daemon(nginx.publish(small_release[0]), file_slots, Boot={"Backend": "grub", "GrubenvFile": grubenv})
    daemon.start(prefix=[*PRIVATE, "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"])
    status = daemon.wait(lambda status: "running-slot-unknown" in blocks(status) and status["state"] == "held", "it is held")
    assert "/proc" in blocks(status)["running-slot-unknown"]
    daemon.post("install")
    daemon.wait(lambda status: status["update"]["version"] == "1" and status["state"] == "held", "it is held still")
    assert file_slots[1].read_bytes() == b"" and nginx.requests("/image") == []
    assert daemon.stop() == 0


# --- trouble with the network -------------------------------------------------------------------------------------

@sanitized
def test_a_server_that_comes_back_is_found_again(make_nginx, small_release, folder, file_slots, make_daemon):
    image, content = small_release
    port = web.free_port()
    daemon = make_daemon(f"http://127.0.0.1:{port}/image", file_slots, Update={"Interval": "1s"}).start()
    status = daemon.wait(lambda status: status["last_error"], "the error is told")
    assert status["last_error"]["kind"] == "network" and str(port) in status["last_error"]["message"]
    assert status["last_check"]["result"] == "failed"
    nginx = make_nginx(f"listen 127.0.0.1:{port};")
    nginx.publish(image)
    daemon.wait(armed("1", "b"), "it installs by itself", timeout=90)
    assert file_slots[1].read_bytes() == content


@sanitized
def test_a_missing_manifest_is_told_and_kept_for_later(nginx, small_release, file_slots, make_daemon):
    daemon = make_daemon(nginx.url("image"), file_slots).start()
    status = daemon.wait(lambda status: status["last_error"], "the error is told")
    assert status["last_error"]["kind"] == "remote" and "404" in status["last_error"]["message"]
    nginx.publish(small_release[0])
    daemon.post("check")
    daemon.wait(armed("1", "b"), "it installs once there is one")


def test_an_image_replaced_under_way_ends_with_the_new_one(make_nginx, folder, file_slots, make_daemon):
    nginx = make_nginx("limit_rate 4m;")
    old = images.noise(40_000_000, "first")
    new = images.changed(old, "second")
    first = make_release(folder / "1", old, version="1", serial=1)
    second = make_release(folder / "2", new, version="2", serial=2)
    daemon = make_daemon(nginx.publish(first), file_slots, Update={"Interval": "2s"}).start()
    daemon.wait(lambda status: status["update"]["progress"]["bytes_downloaded"] > 4_000_000, "the download runs")
    nginx.publish(second)
    daemon.wait(armed("2", "b"), "the second release is installed", timeout=120)
    assert file_slots[1].read_bytes() == new


# --- read back from the medium ------------------------------------------------------------------------------------

@pytest.mark.slow
def test_what_the_medium_lost_after_the_write_is_noticed(nginx, folder, loops, make_daemon):
    """The backing file is altered behind the device's back while the daemon stands still between its last write and
    the end of its read-back. The page cache of the device still has the right bytes."""
    size = 400 << 20
    release = folder / "noise"
    images.write_noise(release, size, "read back")
    image = make_release(folder / "1", release, version="1", serial=1)
    slots = [loops.attach(size + 4096) for _ in range(2)]
    backing = loops.backing(slots[1])
    daemon = make_daemon(nginx.publish(image), slots, mode="check").start()
    daemon.wait(lambda status: status["state"] == "held", "the first look")
    for _ in range(6):
        daemon.post("install")
        altered = False
        for status in daemon.events():
            if status.get("phase") == "verifying":
                daemon.process.send_signal(signal.SIGSTOP)
                time.sleep(0.02)
                with open(backing, "r+b") as medium:
                    medium.seek(size - 4096)
                    medium.write(bytes(4096))
                    medium.flush()
                    os.fsync(medium.fileno())
                altered = True
                daemon.process.send_signal(signal.SIGCONT)
                break
            if status["state"] == "reboot-pending":
                break
        assert altered, "the phase 'verifying' was never seen"
        status = daemon.wait(lambda status: status["state"] != "installing" and status["state"] != "checking",
                             "the end of the installation", timeout=60)
        equal = images.starts_with(backing, image)
        if status["state"] == "reboot-pending" and not equal:
            # The read-back may have been over already when the bytes were altered; then the log says so in order.
            verified = status["update"]["progress"]["bytes_verified"]
            assert verified == size
            daemon.stop()
            daemon.start()
            continue
        if not equal:
            assert status["last_error"]["kind"] == "mismatch", status["last_error"]
            assert status["boot"]["next"] == "a" and status["slots"]["b"]["state"] != "good"
        else:
            # Noticed and mended within the same installation.
            assert "mismatch" in daemon.log.lower() or status["update"]["progress"]["bytes_verified"] > size
        return
    pytest.fail("the moment between the last write and the read-back was never met")


# --- signals ------------------------------------------------------------------------------------------------------

@sanitized
def test_sigterm_during_the_download_stops_at_once_and_loses_nothing(make_nginx, folder, file_slots, make_daemon):
    nginx = make_nginx("limit_rate 3m;")
    content = images.noise(24_000_000, "sigterm")
    image = make_release(folder / "1", content, version="1", serial=1)
    daemon = make_daemon(nginx.publish(image), file_slots).start()
    daemon.wait(lambda status: status["update"]["progress"]["bytes_downloaded"] > 6_000_000, "the download runs")
    # Its own end: after 10 s it would leave with status 1.
    assert daemon.stop() == 0
    assert not os.path.exists(daemon.socket)
    daemon.start()
    daemon.wait(armed("1", "b"), "it goes on where it was")
    assert file_slots[1].read_bytes() == content
    nginx.wait_for_silence()
    assert nginx.sent("/image") <= len(content) + (8 << 20)


@sanitized
@pytest.mark.parametrize("moment", ["idle", "no server", "at once"])
def test_sigterm_ends_with_status_0_at_any_moment(nginx, small_release, file_slots, make_daemon, moment):
    url = f"http://127.0.0.1:{web.free_port()}/image" if moment == "no server" else nginx.publish(small_release[0])
    daemon = make_daemon(url, file_slots).start(wait=moment != "at once")
    if moment == "idle":
        daemon.wait(armed("1", "b"), "it is armed")
    elif moment == "no server":
        daemon.wait(lambda status: status["last_error"], "the error is told")
    else:
        # From the very start until it is up, in steps.
        for delay in (0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16):
            time.sleep(delay)
            if daemon.process is None:
                daemon.start(wait=False)
                time.sleep(delay)
            status = daemon.stop()
            # Before its handler stands, the signal's default ends it.
            assert status in (0, -signal.SIGTERM)
        return
    assert daemon.stop() == 0
    assert not os.path.exists(daemon.socket)


# --- across restarts ----------------------------------------------------------------------------------------------

@sanitized
@pytest.mark.parametrize("harm", ["empty", "garbage", "truncated", "removed"])
def test_a_lost_state_folder_does_not_stop_it(nginx, folder, file_slots, make_daemon, harm):
    first = make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)
    daemon = make_daemon(nginx.publish(first), file_slots, mode="install").start()
    daemon.wait(armed("1", "b"), "release 1 is armed")
    daemon.stop()
    state = daemon.folder / "state"
    for path in list(state.iterdir()):
        data = path.read_bytes()
        if harm == "removed":
            path.unlink()
        else:
            path.write_bytes({"empty": b"", "garbage": b"\0\xffgarbage" * 50, "truncated": data[:len(data) // 2]}[harm])
    daemon.start(wait=False)
    # Either it starts and says what it lost, or it refuses with a sentence; it does not crash.
    deadline = time.monotonic() + 20 * programs.PATIENCE
    while time.monotonic() < deadline:
        if daemon.process.poll() is not None:
            assert daemon.process.returncode == 1 and str(state) in daemon.log, daemon.log
            return
        try:
            daemon.status()
            break
        except OSError:
            time.sleep(0.05)
    # It may look at the server by itself just now.
    programs.wait_until(lambda: daemon.request("POST", "/v1/check")[0] == 202, "it takes an order")
    daemon.wait(lambda status: status["state"] in ("idle", "held", "reboot-pending"), "it goes on")
