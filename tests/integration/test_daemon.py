# SPDX-License-Identifier: MIT
"""moonsinterd: from a URL to a flipped slot, again and again."""
import os
import re
import threading

import pytest

import images
import programs
from conditions import armed, booted
from releases import make_release

sanitized = pytest.mark.sanitized


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
    assert images.starts_with(slots[1], made[0])
    # Files that stand in the image twice are fetched once.
    assert sizes[0] * 0.9 <= nginx.sent() <= sizes[0] * 1.01

    for number, slot in ((1, "a"), (2, "b")):
        nginx.wait_for_silence()
        nginx.forget()
        nginx.publish(made[number])
        daemon.post("check")
        status = daemon.wait(booted(f"{number + 1}.0", slot), f"release {number + 1} boots from slot {slot}", timeout=120)
        assert images.starts_with(slots["ab".index(slot)], made[number])
        nginx.wait_for_silence()
        assert nginx.sent() < sizes[number] / 2, "only what changed is fetched"
        assert status["last_update"]["bytes_downloaded"] <= nginx.sent()
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
    assert nginx.sent("/image") == 0
    nginx.forget()
    daemon.post("install")
    daemon.wait(armed("1", "b"), "release 1 is installed when asked for")
    assert file_slots[1].read_bytes() == content
    assert nginx.sent("/image") + nginx.sent("/image.chunks") <= plan["bytes_to_download"]


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
    assert nginx.sent("/image") == 0


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


# --- signals ------------------------------------------------------------------------------------------------------

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
    assert nginx.sent("/image") <= len(content) + (8 << 20)


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
