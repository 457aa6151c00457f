# SPDX-License-Identifier: MIT
"""moonsinterd: from a URL to a flipped slot, again and again, whatever comes between."""
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import images
import programs
import web
from programs import installed
from releases import make_release

sanitized = pytest.mark.sanitized


def booted(version, slot):
    """The release runs from the slot, is good, and nothing is under way."""
    def condition(status):
        entry = status["slots"][slot]
        return (entry["version"] == version and entry["role"] == "active" and entry["state"] == "good" and
                status["state"] == "idle")
    return condition


def armed(version, slot):
    """The release stands in the slot, and the next boot takes it."""
    def condition(status):
        return (status["slots"][slot]["version"] == version and status["boot"]["next"] == slot and
                status["state"] == "reboot-pending")
    return condition


def failed_with(*kinds):
    def condition(status):
        return (status["last_error"] or {}).get("kind") in kinds and status["state"] in ("idle", "held")
    return condition


def starts_with(path, image):
    """Whether a slot holds the image, byte for byte, as cmp sees it."""
    size = os.path.getsize(image)
    return subprocess.run(["cmp", "-s", "-n", str(size), str(path), str(image)], check=False).returncode == 0


def sent(nginx, path=None):
    return sum(request.body_bytes for request in nginx.requests(path))


# --- the main job -------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_the_main_job_twice_on_block_devices_with_a_real_image(nginx, debian_images, folder, loops, make_daemon):
    """Generate, serve, poll, scan, copy, download, verify, flip, boot, mark good; then again the other way."""
    made = [make_release(folder / f"release-{number}", path, version=f"{number}.0", serial=number)
            for number, path in enumerate(debian_images, 1)]
    sizes = [os.path.getsize(path) for path in made]
    assert min(sizes) >= 150_000_000
    slots = [loops.attach(max(sizes) + (32 << 20)) for _ in range(2)]
    daemon = make_daemon(nginx.publish(made[0]), slots, mode="reboot").start()
    status = daemon.wait(booted("1.0", "b"), "release 1 boots from slot B", timeout=120)
    assert status["boot"]["backend"] == "file" and status["boot"]["next"] == "b"
    assert status["slots"]["a"]["role"] == "inactive"
    assert status["last_update"]["result"] == "installed"
    assert starts_with(slots[1], made[0])
    # Files that stand in the image twice are fetched once.
    assert sizes[0] * 0.9 <= sent(nginx) <= sizes[0] * 1.01

    for number, slot in ((1, "a"), (2, "b")):
        nginx.wait_for_silence()
        nginx.forget()
        nginx.publish(made[number])
        daemon.post("check")
        status = daemon.wait(booted(f"{number + 1}.0", slot), f"release {number + 1} boots from slot {slot}", timeout=120)
        assert starts_with(slots["ab".index(slot)], made[number])
        nginx.wait_for_silence()
        assert sent(nginx) < sizes[number] / 2, "only what changed is fetched"
        assert status["last_update"]["bytes_downloaded"] <= sent(nginx)
        assert status["last_update"]["from"] == f"{number}.0" and status["last_update"]["to"] == f"{number + 1}.0"
    code, history = daemon.request("GET", "/v1/history")
    assert code == 200 and "3.0" in str(history)
    assert daemon.stop() == 0


@sanitized
@pytest.mark.fast
def test_install_mode_arms_and_leaves_the_boot_to_others(nginx, small_release, file_slots, make_daemon):
    image, content = small_release
    daemon = make_daemon(nginx.publish(image), file_slots, mode="install").start()
    status = daemon.wait(armed("1", "b"), "release 1 is armed")
    assert status["slots"]["a"]["role"] == "active"
    assert file_slots[1].read_bytes() == content
    assert file_slots[0].read_bytes() == b"", "the running slot is never written"
    # With this backend the daemon's own start is the boot.
    assert daemon.stop() == 0
    daemon.start()
    daemon.wait(booted("1", "b"), "release 1 boots from slot B")


@sanitized
def test_a_file_is_not_what_this_machine_runs(nginx, small_release, file_slots, make_daemon):
    """So the host's os-release says nothing of it."""
    status = make_daemon(nginx.publish(small_release[0]), file_slots, mode="check").start().status()
    assert status["slots"]["a"]["version"] is None and status["slots"]["a"]["version_from"] is None


@sanitized
@pytest.mark.fast
def test_check_mode_plans_and_writes_nothing(nginx, small_release, file_slots, make_daemon):
    image, content = small_release
    daemon = make_daemon(nginx.publish(image), file_slots, mode="check").start()
    code, answer = daemon.request("GET", "/v1/plan")
    if code != 200:
        assert (code, answer["error"]["code"]) == (409, "no-plan")
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] == "held", "the release is held")
    assert "mode" in [block["what"] for block in status["blocked_by"]]
    programs.wait_until(lambda: daemon.request("GET", "/v1/plan")[0] == 200, "there is a plan")
    code, plan = daemon.request("GET", "/v1/plan")
    assert plan["bytes_to_download"] >= len(content) and plan["bytes_kept"] == 0
    assert [path.read_bytes() for path in file_slots] == [b"", b""]
    assert sent(nginx, "/image") == 0
    nginx.forget()
    daemon.post("install")
    daemon.wait(armed("1", "b"), "release 1 is installed when asked for")
    assert file_slots[1].read_bytes() == content
    assert sent(nginx, "/image") + sent(nginx, "/image.chunks") <= plan["bytes_to_download"]


@sanitized
def test_what_runs_is_not_installed_again(nginx, folder, file_slots, make_daemon):
    first = make_release(folder / "1", images.noise(1_000_000, 1), version="1", serial=1)
    daemon = make_daemon(nginx.publish(first), file_slots, mode="reboot").start()
    daemon.wait(booted("1", "b"), "release 1 boots")
    nginx.forget()
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] == "idle" and nginx.requests("/image.json"), "the check")
    assert status["last_check"]["result"] == "up-to-date"
    assert nginx.requests("/image") == []
    # The ancestor flipped to the other slot when the running one matched.
    assert status["boot"]["next"] == "b" and file_slots[0].read_bytes() == b""


@sanitized
def test_an_unchanged_image_costs_one_small_request_and_reads_no_slot(nginx, folder, file_slots, make_daemon):
    release = make_release(folder / "1", images.noise(8_000_000, 1), version="1", serial=1)
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Update={"Interval": "1s"}).start()
    daemon.wait(booted("1", "b"), "release 1 boots")
    begin = len(nginx.requests())
    programs.wait_until(lambda: len(nginx.requests()) >= begin + 2, "it polls")
    read = bytes_read(daemon.pid)
    begin = len(nginx.requests())
    programs.wait_until(lambda: len(nginx.requests()) >= begin + 3, "it polls")
    polls = nginx.requests()[begin:]
    assert {(poll.path, poll.status) for poll in polls} == {("/image.json", 304)}
    assert all(poll.sent_bytes < 1000 and poll.body_bytes == 0 for poll in polls)
    assert bytes_read(daemon.pid) - read < 200_000, "a slot was read"


def bytes_read(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as counters:
        return int(counters.readline().split()[1])


@sanitized
@pytest.mark.fast
def test_a_lower_serial_is_held_and_says_why(nginx, folder, file_slots, make_daemon):
    newer = make_release(folder / "2", images.noise(1_000_000, 2), version="2", serial=2)
    older = make_release(folder / "1", images.noise(1_000_000, 1), version="1", serial=1)
    daemon = make_daemon(nginx.publish(newer), file_slots, mode="reboot").start()
    daemon.wait(booted("2", "b"), "release 2 boots")
    nginx.publish(older)
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] == "held", "the older release is held")
    assert any("serial" in block["why"] for block in status["blocked_by"])
    assert file_slots[0].read_bytes() == b""


@sanitized
def test_a_release_for_other_devices_is_held(nginx, folder, file_slots, make_daemon):
    release = make_release(folder / "1", images.noise(100_000, 1), version="1", serial=1,
                           options=["--compatible", "other-board"])
    daemon = make_daemon(nginx.publish(release), file_slots, Update={"Compatible": "this-board"}).start()
    status = daemon.wait(lambda status: status["state"] == "held", "the release is held")
    assert "compatible" in [block["what"] for block in status["blocked_by"]]
    assert sent(nginx, "/image") == 0


@sanitized
def test_an_ancestors_manifest_installs(nginx, folder, file_slots, make_daemon):
    import ancestor
    from releases import write_manifest
    content = images.noise(900_000, "ancestor")
    image = folder / "image"
    image.write_bytes(content)
    write_manifest(image, ancestor.manifest(content))
    daemon = make_daemon(nginx.publish(image), file_slots).start()
    daemon.wait(lambda status: status["state"] == "reboot-pending", "it is armed")
    assert file_slots[1].read_bytes() == content


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
    assert sent(nginx, "/image") == 0


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
        equal = starts_with(backing, image)
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
    assert sent(nginx, "/image") <= len(content) + (8 << 20)


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


@sanitized
def test_sighup_takes_good_settings_and_refuses_bad_ones(nginx, folder, file_slots, make_daemon):
    first = make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)
    second = make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2)
    daemon = make_daemon(nginx.publish(first, "first"), file_slots, mode="check").start()
    daemon.wait(lambda status: status["state"] == "held", "the first look")

    daemon.write_config(extra="[Update]\nNoSuchKey=1\n")
    daemon.reload()
    programs.wait_until(lambda: "NoSuchKey" in daemon.log, "the bad settings are told")
    assert daemon.status()["update"]["url"].endswith("/first"), "the old settings stay"

    daemon.settings["Update"]["Url"] = nginx.publish(second, "second")
    daemon.settings["Update"]["Mode"] = "install"
    daemon.write_config()
    daemon.reload()
    daemon.wait(lambda status: (status["update"]["url"] or "").endswith("/second"), "the new settings are taken")
    daemon.wait(armed("2", "b"), "the new release is installed")
    code, config = daemon.request("GET", "/v1/config")
    assert code == 200 and "second" in str(config) and str(daemon.config) in str(config)


# --- requests -----------------------------------------------------------------------------------------------------

@sanitized
def test_cancel_stops_it_and_install_goes_on(make_nginx, folder, file_slots, make_daemon):
    nginx = make_nginx("limit_rate 3m;")
    content = images.noise(24_000_000, "cancel")
    image = make_release(folder / "1", content, version="1", serial=1)
    daemon = make_daemon(nginx.publish(image), file_slots).start()
    daemon.wait(lambda status: status["update"]["progress"]["bytes_downloaded"] > 3_000_000, "the download runs")
    daemon.post("cancel")
    status = daemon.wait(lambda status: status["state"] in ("idle", "held"), "it stops")
    assert status["last_update"]["result"] == "cancelled"
    assert status["boot"]["next"] == "a" and status["slots"]["b"]["state"] == "invalid"
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] == "held", "the cancelled release is held")
    assert "cancelled" in str(status["blocked_by"])
    daemon.post("install")
    daemon.wait(armed("1", "b"), "it goes on")
    assert file_slots[1].read_bytes() == content
    nginx.wait_for_silence()
    assert sent(nginx, "/image") <= len(content) + (8 << 20)


@sanitized
def test_requests_that_do_not_fit_the_state_are_409(nginx, small_release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(small_release[0]), file_slots, mode="check").start()
    daemon.wait(lambda status: status["state"] == "held", "the first look")
    for action in ("cancel", "mark-bad", "rollback"):
        code, answer = daemon.request("POST", f"/v1/{action}")
        assert code == 409, (action, answer)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", answer["error"]["code"]) and answer["error"]["message"]


@sanitized
def test_the_events_tell_the_whole_story(nginx, folder, file_slots, make_daemon):
    content = images.noise(30_000_000, "story")
    image = make_release(folder / "1", content, version="1", serial=1)
    daemon = make_daemon(nginx.publish(image), file_slots, mode="check", Transfer={"RateLimit": "20M"}).start()
    daemon.wait(lambda status: status["state"] == "held", "the first look")
    seen = []
    ready = threading.Event()

    def listen():
        for status in daemon.events():
            seen.append(status)
            ready.set()
            if status["state"] == "reboot-pending":
                return
    listener = threading.Thread(target=listen)
    listener.start()
    assert ready.wait(20), "the first line is the snapshot"
    daemon.post("install")
    listener.join(60 * programs.PATIENCE)
    assert not listener.is_alive()
    states = [status["state"] for status in seen]
    order = [states.index(state) for state in ("held", "checking", "installing", "activating", "reboot-pending")]
    assert order == sorted(order)
    phases = [status["phase"] for status in seen if status["phase"]]
    assert phases.index("scanning") < phases.index("transferring") < phases.index("verifying")
    for key in ("percent", "bytes_downloaded", "bytes_written", "bytes_verified"):
        values = [status["update"]["progress"][key] for status in seen if status["state"] == "installing"]
        assert values == sorted(values), f"{key} goes back"
    assert any(0 < status["update"]["progress"]["percent"] < 100 for status in seen)


@sanitized
@pytest.mark.fast
def test_the_commands_of_the_client(nginx, small_release, file_slots, make_daemon):
    image, content = small_release
    daemon = make_daemon(nginx.publish(image), file_slots, mode="check").start()
    daemon.wait(lambda status: status["state"] == "held", "the first look")

    def command(*arguments):
        return programs.moonsinter(*arguments, "--socket", daemon.socket)
    result = command("status")
    assert result.status == 0 and '"held"' in result.stdout, result
    assert command("check").status == 0
    assert command("install").status == 0
    daemon.wait(armed("1", "b"), "it installs")
    # What waits for the next boot can still be taken back, once.
    assert command("cancel").status == 0
    daemon.wait(lambda status: status["state"] == "held" and status["boot"]["next"] == "a", "it is taken back")
    programs.assert_failed(command("cancel"))
    daemon.stop()
    result = command("status")
    programs.assert_failed(result, daemon.socket)


@sanitized
def test_watch_follows_until_it_is_ended(nginx, small_release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(small_release[0]), file_slots, mode="check").start()
    watch = programs.start_moonsinter("watch", "--socket", daemon.socket)
    try:
        first = watch.stdout.readline()
        assert first.startswith("{"), first
        daemon.post("install")
        for line in watch.stdout:
            if '"reboot-pending"' in line:
                break
        else:
            pytest.fail("watch ended by itself")
    finally:
        watch.terminate()
        watch.communicate(timeout=20 * programs.PATIENCE)


# --- across restarts ----------------------------------------------------------------------------------------------

@sanitized
def test_history_floor_and_slots_outlive_a_restart(nginx, folder, file_slots, make_daemon):
    first = make_release(folder / "1", images.noise(500_000, 1), version="1", serial=5)
    daemon = make_daemon(nginx.publish(first), file_slots, mode="reboot").start()
    before = daemon.wait(booted("1", "b"), "release 1 boots")
    assert daemon.stop() == 0
    daemon.start()
    after = daemon.wait(lambda status: status["state"] == "idle", "it is up again")
    assert after["slots"]["b"] == before["slots"]["b"]
    assert after["last_update"] == before["last_update"]
    nginx.publish(make_release(folder / "0", images.noise(500_000, 0), version="0", serial=4))
    daemon.post("check")
    daemon.wait(lambda status: status["state"] == "held", "the floor is remembered")


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


@pytest.mark.slow
def test_kill_9_at_50_random_moments(nginx, debian_images, folder, loops, make_daemon):
    """Each update is killed at random moments within a little more than its usual length; then it has to end equal,
    with no more fetched than its plan and 8 MiB for each kill."""
    import random
    source = random.Random(os.environ.get("MOONSINTER_TEST_SEED", "50 kills"))
    made = [make_release(folder / str(number), path, version=str(number), serial=number)
            for number, path in enumerate(debian_images[:2], 1)]
    size = max(os.path.getsize(path) for path in made) + (1 << 20)
    slots = [loops.attach(size) for _ in range(2)]
    url = nginx.publish(made[0])
    backing = [loops.backing(slot) for slot in slots]

    def blank(number):
        """A daemon of its own, its running slot A holding release 1 or nothing, slot B nothing."""
        for path, keep in ((backing[0], number % 2), (backing[1], 0)):
            os.truncate(path, 0)
            os.truncate(path, size)
        if number % 2:
            with open(made[0], "rb") as image, open(slots[0], "wb") as slot:
                while block := image.read(1 << 20):
                    slot.write(block)
                os.fsync(slot.fileno())
        nginx.publish(made[number % 2])
        nginx.wait_for_silence()
        nginx.forget()
        return make_daemon(url, slots, mode="check")

    # How long each kind of update takes undisturbed, and what it plans.
    cycles, plans = {}, {}
    for kind in (0, 1):
        daemon = blank(kind).start()
        daemon.wait(lambda status: status["state"] == "held", "the first look")
        daemon.post("check")
        programs.wait_until(lambda: daemon.request("GET", "/v1/plan")[0] == 200, "there is a plan")
        plans[kind] = daemon.request("GET", "/v1/plan")[1]["bytes_to_download"]
        begin = time.monotonic()
        daemon.post("install")
        daemon.wait(armed(str(kind + 1), "b"), "the undisturbed update")
        cycles[kind] = time.monotonic() - begin
        daemon.close()
        assert starts_with(backing[1], made[kind])

    kills = number = 0
    while kills < 50:
        kind = number % 2
        daemon = blank(kind)
        number += 1
        killed = 0
        for _ in range(source.randrange(1, 5)):
            daemon.settings["Update"]["Mode"] = "install"
            daemon.write_config()
            daemon.start(wait=False)
            time.sleep(source.uniform(0, 1.1 * cycles[kind] + 0.1))
            assert daemon.process.poll() is None, daemon.log
            daemon.kill()
            killed += 1
        daemon.start()
        # It is done when slot B was verified, armed, and (as a kill may have come later) perhaps booted.
        daemon.wait(installed(str(kind + 1), "b"), f"update {number} ends", timeout=60)
        daemon.stop()
        assert starts_with(backing[1], made[kind]), f"after {killed} kills, seed {source}"
        nginx.wait_for_silence()
        fetched = sent(nginx, "/image") + sent(nginx, "/image.chunks")
        assert fetched <= plans[kind] + killed * (8 << 20), f"update {number}, {killed} kills: {fetched} of {plans[kind]}"
        kills += killed
        daemon.close()
    print(f"{kills} kills in {number} updates")
