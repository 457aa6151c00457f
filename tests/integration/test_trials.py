# SPDX-License-Identifier: MIT
"""moonsinterd: trials, falling back, taking back, and machines that were installed by other means."""
import datetime
import json
import os
import time

import pytest

import images
from conditions import is_armed, whats
from releases import make_release

pytestmark = pytest.mark.sanitized


@pytest.fixture
def release(folder):
    return make_release(folder / "1", images.noise(500_000, 1), version="1", serial=1)


def runs_b(status):
    return status["slots"]["b"]["role"] == "active" and status["state"] == "idle"


def change_selection(daemon, **members):
    """What a boot loader that was at it meanwhile left behind."""
    path = daemon.folder / "state" / "boot-selection.json"
    selection = json.loads(path.read_text())
    selection.update(members)
    path.write_text(json.dumps(selection))


def test_a_release_that_never_came_up_is_remembered_and_held(nginx, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install").start()
    daemon.wait(is_armed, "it is armed")
    assert daemon.stop() == 0
    change_selection(daemon, tries_left=0)
    daemon.start()
    status = daemon.wait(lambda status: status["state"] == "held", "it is not installed again")
    assert whats(status) == ["failed-before"]
    assert status["last_update"]["result"] == "fell-back" and status["last_update"]["reason"]
    assert status["slots"]["a"]["role"] == "active" and status["slots"]["b"]["state"] == "bad"
    # It is remembered across another restart, until an operator says so.
    assert daemon.stop() == 0
    daemon.start()
    daemon.wait(lambda status: whats(status) == ["failed-before"], "it is remembered")
    daemon.post("install")
    daemon.wait(is_armed, "an operator's word counts more")


def test_a_newer_release_ends_the_hold(nginx, folder, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install").start()
    daemon.wait(is_armed, "it is armed")
    assert daemon.stop() == 0
    change_selection(daemon, tries_left=0)
    daemon.start()
    daemon.wait(lambda status: status["state"] == "held", "it is held")
    nginx.publish(make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2))
    daemon.post("check")
    daemon.wait(lambda status: is_armed(status) and status["slots"]["b"]["version"] == "2", "the newer one is armed")


def test_rolling_back_returns_and_is_remembered(nginx, folder, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot").start()
    daemon.wait(runs_b, "release 1 runs")
    daemon.post("rollback")
    status = daemon.wait(lambda status: status["slots"]["a"]["role"] == "active" and status["state"] == "held",
                         "slot A runs again")
    assert whats(status) == ["failed-before"]
    assert status["slots"]["b"]["state"] == "bad" and status["last_update"]["result"] == "fell-back"
    assert "operator" in status["last_update"]["reason"]
    code, answer = daemon.request("POST", "/v1/rollback")
    assert code == 409, answer
    daemon.post("check")
    status = daemon.wait(lambda status: status["state"] == "held", "what was rolled back is not installed again")
    assert "failed-before" in whats(status)


def test_an_armed_update_can_be_taken_back(nginx, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install").start()
    daemon.wait(is_armed, "it is armed")
    daemon.post("cancel")
    status = daemon.wait(lambda status: status["state"] == "held", "it is taken back")
    assert whats(status) == ["cancelled"] and status["boot"]["next"] == "a"
    assert status["slots"]["b"]["state"] == "invalid" and status["last_update"]["result"] == "cancelled"
    assert daemon.stop() == 0
    daemon.start()
    status = daemon.wait(lambda status: status["state"] == "held", "it stays so after a restart")
    assert status["slots"]["a"]["role"] == "active" and whats(status) == ["cancelled"]


def test_a_newer_release_replaces_the_armed_one(nginx, folder, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install").start()
    daemon.wait(is_armed, "release 1 is armed")
    nginx.publish(make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2))
    daemon.post("check")
    status = daemon.wait(lambda status: is_armed(status) and status["slots"]["b"]["version"] == "2", "release 2 is armed")
    assert status["slots"]["a"]["role"] == "active"
    assert daemon.stop() == 0
    daemon.start()
    daemon.wait(runs_b, "it runs")


def local_time_zone(hour, minute, second):
    """A TZ= in which the clock shows this now, so that no test waits for a full minute."""
    behind = (time.time() - (hour * 3600 + minute * 60 + second)) % 86400
    return f"TST{int(behind) // 3600:02}:{int(behind) // 60 % 60:02}:{int(behind) % 60:02}"


def wait_for_the_window(daemon, before_s):
    """Starts the daemon so long before its window opens. Returns the status while it waits for that; None where a busy
    machine installed the release too late to have to wait."""
    daemon.start(env={**os.environ, "TZ": local_time_zone(11, 59, 60 - before_s)})
    status = daemon.wait(lambda status: (is_armed(status) and status["blocked_by"]) or runs_b(status), "it waits for its window")
    return status if is_armed(status) else None


def test_a_window_holds_the_reboot_until_it_opens(nginx, release, file_slots, make_daemon):
    url = nginx.publish(release)
    for before_s in (5, 60):
        daemon = make_daemon(url, file_slots, mode="reboot", Reboot={"Window": "12:00-13:00"})
        if status := wait_for_the_window(daemon, before_s):
            break
        daemon.kill()
    (block,) = status["blocked_by"]
    until = datetime.datetime.fromisoformat(block["until"].replace("Z", "+00:00")).timestamp()
    assert block["what"] == "reboot-window" and "12:00" in block["why"] and until % 1 == 0
    daemon.wait(runs_b, "it reboots", timeout=90)
    assert until <= time.time()


def test_a_window_far_off_gives_way_to_an_operator_and_to_new_settings(nginx, folder, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot", Reboot={"Window": "12:00-13:00"})
    daemon.start(env={**os.environ, "TZ": local_time_zone(14, 0, 0)})
    status = daemon.wait(lambda status: is_armed(status) and status["blocked_by"], "it waits for tomorrow")
    assert whats(status) == ["reboot-window"]
    daemon.post("reboot")
    daemon.wait(runs_b, "it reboots at once")
    nginx.publish(make_release(folder / "2", images.noise(500_000, 2), version="2", serial=2))
    daemon.post("check")
    daemon.wait(lambda status: status["state"] == "reboot-pending" and whats(status) == ["reboot-window"], "it waits again")
    daemon.settings["Reboot"]["Window"] = "12:00-16:00"
    daemon.write_config()
    daemon.reload()
    status = daemon.wait(lambda status: status["slots"]["a"]["role"] == "active" and status["state"] == "idle",
                         "the new window is open")
    assert status["slots"]["a"]["version"] == "2"


def test_a_reload_tells_what_takes_a_restart(folder, file_slots, make_daemon):
    """Whatever the boot loader is."""
    for name in ("autoboot.txt", "other.txt"):
        (folder / name).write_text("[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=2\n"
                                   "# moonsinter: armed in boot 00000000\n")
    daemon = make_daemon("http://127.0.0.1:1/image", file_slots,
                         Boot={"Backend": "rpi-tryboot", "AutobootFile": folder / "autoboot.txt"}).start()
    for number, (section, key, value, told) in enumerate([("Update", "Mode", "check", 0), ("Boot", "BootPartitionB", "4", 1),
                                                          ("Boot", "AutobootFile", folder / "other.txt", 2)]):
        daemon.settings[section][key] = value
        daemon.write_config()
        daemon.reload()
        daemon.wait(lambda _, number=number: daemon.log.count("new settings are in use") == number + 1, "they are in use")
        assert daemon.log.count("change with the next start only") == told


def test_what_runs_is_recognized_on_a_machine_installed_by_other_means(nginx, release, file_slots, make_daemon):
    file_slots[0].write_bytes(release.read_bytes() + b"\0" * 4096)
    daemon = make_daemon(nginx.publish(release), file_slots, mode="reboot").start()
    status = daemon.wait(lambda status: status["last_check"]["result"], "the first check")
    assert status["last_check"]["result"] == "up-to-date" and status["state"] == "idle"
    assert status["slots"]["a"]["version"] == "1" and status["slots"]["a"]["state"] == "good"
    assert nginx.requests("/image") == [] and file_slots[1].read_bytes() == b""


def test_a_byte_budget_holds_what_costs_more(nginx, release, file_slots, make_daemon):
    daemon = make_daemon(nginx.publish(release), file_slots, mode="install", Update={"Interval": "1s"},
                         Transfer={"MaxBytesPerUpdate": "100K"}).start()
    status = daemon.wait(lambda status: status["state"] == "held", "it is held")
    assert whats(status) == ["max-bytes"]
    assert nginx.requests("/image") == [] and file_slots[1].read_bytes() == b""
    code, plan = daemon.request("GET", "/v1/plan")
    assert code == 200 and plan["bytes_to_download"] > 100 * 1024
    polls = len(nginx.requests("/image.json"))
    daemon.wait(lambda status: len(nginx.requests("/image.json")) > polls + 2, "it goes on asking the server")
    assert daemon.log.count("the plan: ") == 1, "but does not scan the slots again for each answer"
